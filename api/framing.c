#include "api/framing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/fields.h"
#include "daemon/base/cleanup.h"

/* The fields that are looked at, each at most once in a request, but for the last two. */
enum known_field {
    FIELD_HOST,
    FIELD_ORIGIN,
    FIELD_SEC_FETCH_SITE,
    FIELD_CONTENT_LENGTH,
    FIELD_TRANSFER_ENCODING,
    FIELD_CONTENT_TYPE,
    FIELD_EXPECT,
    FIELD_IDEMPOTENCY_KEY,
    FIELD_PREFER,
    FIELD_ACCEPT,
    FIELD_MAX
};

static const char *const known_names[FIELD_MAX] = {
    [FIELD_HOST] = "host",
    [FIELD_ORIGIN] = "origin",
    [FIELD_SEC_FETCH_SITE] = "sec-fetch-site",
    [FIELD_CONTENT_LENGTH] = "content-length",
    [FIELD_TRANSFER_ENCODING] = "transfer-encoding",
    [FIELD_CONTENT_TYPE] = "content-type",
    [FIELD_EXPECT] = "expect",
    [FIELD_IDEMPOTENCY_KEY] = "idempotency-key",
    [FIELD_PREFER] = "prefer",
    [FIELD_ACCEPT] = "accept",
};

int host_list_add(struct host_list *l, const char *name)
{
    char **names = reallocarray(l->names, l->n + 1, sizeof(*names));

    if (!names)
        return -ENOMEM;
    l->names = names;
    names[l->n] = strdup(name);
    if (!names[l->n])
        return -ENOMEM;
    l->n++;
    return 0;
}

void host_list_done(struct host_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->names[i]);
    free(l->names);
    *l = (struct host_list){ 0 };
}

static bool fault(struct framing_fault *ret, unsigned status, const char *detail)
{
    *ret = (struct framing_fault){ status, detail };
    return false;
}

static bool field_is(const struct framing_field *f, const char *text)
{
    return f->value_n == strlen(text) && strncasecmp(f->value, text, f->value_n) == 0;
}

/* Optional white space at the end stays in microhttpd's values. */
static void trim(struct framing_field *f)
{
    while (f->value_n > 0 && strchr(" \t", f->value[f->value_n - 1]))
        f->value_n--;
}

static bool check_line(const struct framing_head *head, struct framing_fault *ret)
{
    size_t n = strlen(head->target);

    if (strcmp(head->version, "HTTP/1.1") != 0 && strcmp(head->version, "HTTP/1.0") != 0)
        return fault(ret, 400, "the version must be HTTP/1.1 or HTTP/1.0");
    if (n > FRAMING_TARGET_MAX_BYTES)
        return fault(ret, 414, "the request target is longer than 8 KiB");
    if (head->target[0] != '/')
        return fault(ret, 400, "the request target must begin with a slash");
    for (size_t i = 0; i < n; i++)
        if (head->target[i] <= 0x20 || head->target[i] >= 0x7f)
            return fault(ret, 400, "the request target has a character that must be escaped");
    return true;
}

static bool sort_fields(const struct framing_head *head, struct framing_field known[FIELD_MAX],
        struct framing_fault *ret)
{
    size_t bytes = 0;

    if (head->n > FRAMING_HEADERS_MAX)
        return fault(ret, 431, "there are more than 100 header fields");
    for (size_t i = 0; i < head->n; i++) {
        const struct framing_field *f = &head->fields[i];

        bytes += f->name_n + f->value_n + 4;
        if (bytes > FRAMING_HEADERS_MAX_BYTES)
            return fault(ret, 431, "the header fields are larger than 16 KiB");
        if (!field_is_token(f->name, f->name_n))
            return fault(ret, 400, "a header field's name is no token");
        if (!field_is_header_value(f->value, f->value_n))
            return fault(ret, 400, "a header field's value has a control character");
        for (size_t k = 0; k < FIELD_MAX; k++) {
            if (f->name_n != strlen(known_names[k]) ||
                    strncasecmp(f->name, known_names[k], f->name_n) != 0)
                continue;
            if (known[k].value && k < FIELD_PREFER)
                return fault(ret, 400, "a header field that may come once came twice");
            if (known[k].value)
                continue;
            known[k] = *f;
            trim(&known[k]);
        }
    }
    return true;
}

static bool check_length(const struct framing_head *head, const struct framing_field *known,
        struct framing *ret, struct framing_fault *ret_fault)
{
    const struct framing_field *length = &known[FIELD_CONTENT_LENGTH],
                               *encoding = &known[FIELD_TRANSFER_ENCODING];

    ret->content_length = -1;
    if (encoding->value) {
        if (strcmp(head->version, "HTTP/1.0") == 0)
            return fault(ret_fault, 400, "HTTP/1.0 has no Transfer-Encoding");
        if (length->value)
            return fault(ret_fault, 400, "Content-Length can't go with Transfer-Encoding");
        if (!field_is(encoding, "chunked"))
            return fault(ret_fault, 400, "the only Transfer-Encoding is chunked");
        ret->chunked = true;
    }
    if (length->value) {
        int64_t value = 0;

        for (size_t i = 0; i < length->value_n; i++) {
            if (length->value[i] < '0' || length->value[i] > '9' || value > INT64_MAX / 10 - 1)
                return fault(ret_fault, 400, "Content-Length must be a number");
            value = value * 10 + (length->value[i] - '0');
        }
        if (length->value_n == 0)
            return fault(ret_fault, 400, "Content-Length must be a number");
        ret->content_length = value;
    }
    return true;
}

static bool host_is_ours(const struct framing_field *host, const struct host_list *hosts)
{
    for (size_t i = 0; i < hosts->n; i++)
        if (field_is(host, hosts->names[i]))
            return true;
    return false;
}

/* Same origin as the Host that it asked for, whatever the scheme in front of us is. */
static bool origin_is_ours(const struct framing_field *origin, const struct framing_field *host)
{
    static const char *const schemes[] = { "http://", "https://" };

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t n = strlen(schemes[i]);

        if (origin->value_n == n + host->value_n && host->value_n > 0 &&
                strncasecmp(origin->value, schemes[i], n) == 0 &&
                strncasecmp(origin->value + n, host->value, host->value_n) == 0)
            return true;
    }
    return false;
}

static bool check_sender(const struct framing_head *head, const struct framing_field *known,
        const struct host_list *hosts, struct framing_fault *ret)
{
    const struct framing_field *host = &known[FIELD_HOST], *site = &known[FIELD_SEC_FETCH_SITE];

    if (!host->value && strcmp(head->version, "HTTP/1.1") == 0)
        return fault(ret, 400, "HTTP/1.1 needs a Host");
    if (host->value && !head->local && !host_is_ours(host, hosts))
        return fault(ret, 421, "this daemon does not go by the name in Host");
    if (known[FIELD_ORIGIN].value && !origin_is_ours(&known[FIELD_ORIGIN], host))
        return fault(ret, 403, "requests of other origins are refused");
    if (site->value && !field_is(site, "same-origin") && !field_is(site, "none"))
        return fault(ret, 403, "requests of other sites are refused");
    return true;
}

bool framing_check(const struct framing_head *head, const struct host_list *hosts,
        struct framing *ret, struct framing_fault *ret_fault)
{
    struct framing_field known[FIELD_MAX] = { 0 };

    *ret = (struct framing){ .content_length = -1 };
    if (!check_line(head, ret_fault) || !sort_fields(head, known, ret_fault) ||
            !check_length(head, known, ret, ret_fault) ||
            !check_sender(head, known, hosts, ret_fault))
        return false;
    if (known[FIELD_EXPECT].value) {
        if (!field_is(&known[FIELD_EXPECT], "100-continue"))
            return fault(ret_fault, 417, "the only expectation is 100-continue");
        ret->expect_continue = true;
    }
    ret->content_type = known[FIELD_CONTENT_TYPE];
    ret->idempotency_key = known[FIELD_IDEMPOTENCY_KEY];
    ret->prefer = known[FIELD_PREFER];
    ret->accept = known[FIELD_ACCEPT];
    return true;
}
