#include "daemon/transfer/wire.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/buf.h"

struct wire_head {
    uint32_t type, bytes; /* those behind it */
};

void wire_begin(struct wire *w, struct buf *b, enum wire_type type)
{
    struct wire_head head = { .type = type };

    *w = (struct wire){ .buf = b, .at = b->n };
    w->rc = buf_append(b, &head, sizeof(head));
}

static void wire_append(struct wire *w, const void *data, size_t n)
{
    if (w->rc == 0)
        w->rc = buf_append(w->buf, data, n);
}

void wire_put(struct wire *w, int64_t value)
{
    wire_append(w, &value, sizeof(value));
}

void wire_put_bytes(struct wire *w, const void *data, size_t n)
{
    wire_put(w, data ? (int64_t)n : -1);
    if (data)
        wire_append(w, data, n);
}

void wire_put_text(struct wire *w, const char *text)
{
    wire_put_bytes(w, text, text ? strlen(text) + 1 : 0);
}

int wire_end(struct wire *w)
{
    size_t bytes = w->buf->n - w->at - sizeof(struct wire_head);
    uint32_t n = (uint32_t)bytes;

    if (w->rc == 0 && n != bytes)
        w->rc = -ENOMEM;
    if (w->rc < 0)
        w->buf->n = w->at;
    else
        memcpy(w->buf->data + w->at + offsetof(struct wire_head, bytes), &n, sizeof(n));
    return w->rc;
}

int64_t wire_next(const char *data, size_t n, size_t most, struct wire_view *ret)
{
    struct wire_head head;

    if (n < sizeof(head))
        return 0;
    memcpy(&head, data, sizeof(head));
    if (head.type >= WIRE_TYPE_MAX || head.bytes > most)
        return -EPROTO;
    if (n - sizeof(head) < head.bytes)
        return 0;
    *ret = (struct wire_view){
        .type = (enum wire_type)head.type, .at = data + sizeof(head), .left = head.bytes
    };
    return (int64_t)sizeof(head) + head.bytes;
}

size_t wire_missing(const char *data, size_t n)
{
    struct wire_head head;

    if (n < sizeof(head))
        return sizeof(head) - n;
    memcpy(&head, data, sizeof(head));
    return sizeof(head) + head.bytes - n;
}

int64_t wire_get(struct wire_view *v)
{
    int64_t value;

    if (v->left < sizeof(value)) {
        v->bad = true;
        return 0;
    }
    memcpy(&value, v->at, sizeof(value));
    v->at += sizeof(value);
    v->left -= sizeof(value);
    return value;
}

int64_t wire_get_between(struct wire_view *v, int64_t least, int64_t most)
{
    int64_t value = wire_get(v);

    if (value >= least && value <= most)
        return value;
    v->bad = true;
    return least;
}

const char *wire_get_bytes(struct wire_view *v, size_t *ret_n)
{
    int64_t n = wire_get(v);
    const char *data = v->at;

    *ret_n = 0;
    if (n == -1)
        return NULL;
    if (v->bad || n < 0 || (uint64_t)n > v->left) {
        v->bad = true;
        return NULL;
    }
    v->at += n;
    v->left -= (size_t)n;
    *ret_n = (size_t)n;
    return data;
}

const char *wire_get_text(struct wire_view *v)
{
    size_t n;
    const char *text = wire_get_bytes(v, &n);

    if (!text)
        return NULL;
    if (n > 0 && memchr(text, '\0', n) == text + n - 1)
        return text;
    v->bad = true;
    return NULL;
}

int wire_close(const struct wire_view *v)
{
    return v->bad || v->left > 0 ? -EPROTO : 0;
}
