#include "daemon/transfer/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/transfer/transfer.h"

#define USER_AGENT "User-Agent: baedald/" BAEDAL_VERSION

/* Nodes and text of a list in one block: first measured, then written. */
struct lines {
    struct curl_slist *node; /* the next one; NULL while measuring */
    char *text;
    size_t n, bytes;
};

struct curl_slist *lines_default(void)
{
    /* libcurl only reads it. */
    static const struct curl_slist list = { (char *)USER_AGENT, NULL };

    return (struct curl_slist *)&list;
}

static void lines_put(struct lines *l, const char *name, const char *separator, const char *value)
{
    size_t n_name = strlen(name), n_separator = strlen(separator), n_value = strlen(value);

    l->n++;
    l->bytes += n_name + n_separator + n_value + 1;
    if (!l->node)
        return;
    l->node->data = l->text;
    l->node->next = l->node + 1;
    l->node++;
    l->text = mempcpy(l->text, name, n_name);
    l->text = mempcpy(l->text, separator, n_separator);
    l->text = mempcpy(l->text, value, n_value);
    *l->text++ = '\0';
}

/* "name:" would take a header of libcurl's away; an empty one is written "name;". */
static void lines_put_all(struct lines *l, const struct exchange *x)
{
    const char *name, *value;
    bool agent = false, type = false, key = false;

    for (size_t at = 0; x->headers && pack_header_next(x->headers, &at, &name, &value);) {
        lines_put(l, name, *value ? ": " : ";", value);
        agent = agent || strcmp(name, "user-agent") == 0;
        type = type || strcmp(name, "content-type") == 0;
        key = key || strcmp(name, "idempotency-key") == 0;
    }
    if (!agent)
        lines_put(l, USER_AGENT, "", "");
    if (x->idempotency_key && !key)
        lines_put(l, "Idempotency-Key", ": ", x->idempotency_key);
    /* What libcurl would add to a body by itself. */
    if (!type)
        lines_put(l, "Content-Type", ":", "");
    lines_put(l, "Expect", ":", "");
}

static bool lines_are_default(const struct exchange *x)
{
    return (!x->headers || x->headers->n == 0) && !x->idempotency_key &&
           strcmp(x->method, "GET") == 0 && x->body_bytes == 0;
}

int lines_new(const struct exchange *x, struct curl_slist **ret)
{
    struct lines l = { NULL };
    struct curl_slist *list;
    size_t n;

    if (lines_are_default(x)) {
        *ret = NULL;
        return 0;
    }
    lines_put_all(&l, x);
    n = l.n;
    list = malloc(n * sizeof(*list) + l.bytes);
    if (!list)
        return -ENOMEM;
    l = (struct lines){ .node = list, .text = (char *)(list + n) };
    lines_put_all(&l, x);
    list[n - 1].next = NULL;
    *ret = list;
    return 0;
}
