#include "daemon/model/pack.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define PACK_VERSION 1
#define PACK_MORE    3 /* two NULs, and the version before the first one */
#define ROOM_MIN     256

void blob_done(struct blob *b)
{
    free(b->data);
    *b = (struct blob){ 0 };
}

int blob_copy(const void *data, size_t n, struct blob *ret)
{
    struct blob b = { .n = n };

    if (n > 0) {
        b.data = malloc(n);
        if (!b.data)
            return -ENOMEM;
        memcpy(b.data, data, n);
    }
    *ret = b;
    return 0;
}

int blob_reserve(struct blob *b, size_t *room, size_t more)
{
    size_t n = *room ? *room : ROOM_MIN;
    char *data;

    if (more <= *room && b->n <= *room - more)
        return 0;
    while (n < b->n + more)
        n *= 2;
    data = realloc(b->data, n);
    if (!data)
        return -ENOMEM;
    b->data = data;
    *room = n;
    return 0;
}

/* There is room for it. */
static void pack_put(
        struct blob *headers, const char *name, size_t n_name, const char *value, size_t n_value)
{
    char *p = headers->data + headers->n;

    if (headers->n == 0)
        *p++ = PACK_VERSION;
    p = mempcpy(p, name, n_name);
    *p++ = '\0';
    p = mempcpy(p, value, n_value);
    *p++ = '\0';
    headers->n = (size_t)(p - headers->data);
}

int pack_header(struct blob *headers, const char *name, const char *value)
{
    size_t n_name = strlen(name), n_value = strlen(value);
    char *data = realloc(headers->data, headers->n + n_name + n_value + PACK_MORE);

    if (!data)
        return -ENOMEM;
    headers->data = data;
    pack_put(headers, name, n_name, value, n_value);
    return 0;
}

int pack_header_n(struct blob *headers, size_t *room, const char *name, size_t n_name,
        const char *value, size_t n_value)
{
    int rc = blob_reserve(headers, room, n_name + n_value + PACK_MORE);

    if (rc == 0)
        pack_put(headers, name, n_name, value, n_value);
    return rc;
}

bool pack_header_next(
        const struct blob *headers, size_t *at, const char **ret_name, const char **ret_value)
{
    if (*at == 0)
        *at = 1;
    if (*at >= headers->n)
        return false;
    *ret_name = headers->data + *at;
    *ret_value = *ret_name + strlen(*ret_name) + 1;
    *at += (size_t)(*ret_value - *ret_name) + strlen(*ret_value) + 1;
    return true;
}

const char *pack_header_find(const struct blob *headers, const char *name)
{
    const char *it_name, *it_value;

    for (size_t at = 0; pack_header_next(headers, &at, &it_name, &it_value);)
        if (strcmp(it_name, name) == 0)
            return it_value;
    return NULL;
}

int pack_headers_check(const struct blob *headers)
{
    size_t strings = 0;

    if (headers->n == 0)
        return 0;
    if (headers->data[0] != PACK_VERSION || headers->data[headers->n - 1] != 0)
        return -EBADMSG;
    for (size_t i = 1; i < headers->n; i++)
        strings += headers->data[i] == 0;
    return strings % 2 == 0 ? 0 : -EBADMSG;
}

bool status_ranges_has(const struct status_ranges *s, unsigned status)
{
    for (unsigned i = 0; i < s->n; i++)
        if (status >= s->range[i].first && status <= s->range[i].last)
            return true;
    return false;
}

/* A version byte, then first and last of each range, big endian. */
int pack_status_ranges(const struct status_ranges *s, struct blob *ret)
{
    unsigned char bytes[1 + STATUS_RANGES_MAX * 4], *p = bytes;

    *p++ = PACK_VERSION;
    for (unsigned i = 0; i < s->n; i++) {
        *p++ = (unsigned char)(s->range[i].first >> 8);
        *p++ = (unsigned char)s->range[i].first;
        *p++ = (unsigned char)(s->range[i].last >> 8);
        *p++ = (unsigned char)s->range[i].last;
    }
    return blob_copy(bytes, (size_t)(p - bytes), ret);
}

int unpack_status_ranges(const void *data, size_t n, struct status_ranges *ret)
{
    struct status_ranges s = { 0 };
    const unsigned char *p = data;

    if (n < 1 || p[0] != PACK_VERSION || (n - 1) % 4 != 0 || (n - 1) / 4 > STATUS_RANGES_MAX)
        return -EBADMSG;
    for (p++; s.n < (n - 1) / 4; s.n++, p += 4) {
        s.range[s.n].first = (uint16_t)(p[0] << 8 | p[1]);
        s.range[s.n].last = (uint16_t)(p[2] << 8 | p[3]);
    }
    *ret = s;
    return 0;
}
