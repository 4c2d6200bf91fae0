#include "daemon/transfer/head.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "daemon/transfer/flight.h"

#define LENGTH_MAX (INT64_C(1) << 53) /* what JSON numbers and everybody's arithmetic can hold */

static bool head_refuse(struct flight *f, const char *why)
{
    f->record.bad = why;
    return false;
}

static bool head_fail(struct flight *f, int rc)
{
    f->record.failed = rc;
    return false;
}

/* "HTTP/1.1 200 OK": an interim answer before it is forgotten. */
static bool head_take_status(struct flight *f, const char *line, size_t n)
{
    struct attempt *a = &f->answer->attempt;
    const char *end = line + n, *p = line + strlen("HTTP/");
    unsigned status = 0;

    a->http_version = 0;
    while (p < end && *p != ' ') {
        if (isdigit((unsigned char)*p))
            a->http_version = a->http_version * 10 + (unsigned)(*p - '0');
        p++;
    }
    if (a->http_version > 0 && a->http_version < 10)
        a->http_version *= 10;
    while (p < end && *p == ' ')
        p++;
    for (int digits = 0; digits < 3 && p < end && isdigit((unsigned char)*p); digits++)
        status = status * 10 + (unsigned)(*p++ - '0');
    a->status = status;
    blob_done(&f->answer->headers);
    f->record.header_room = 0;
    f->record.directs = false;
    f->record.content_length = -1;
    if (status == 101)
        return head_refuse(f, "it switches the protocol (101), and nobody asked it to");
    return true;
}

/* RFC 9110 section 8.6; two of them must agree. */
static bool head_take_length(struct flight *f, const char *value)
{
    int64_t length = 0;

    if (!*value)
        return head_refuse(f, "its Content-Length is empty");
    for (const char *p = value; *p; p++) {
        if (!isdigit((unsigned char)*p))
            return head_refuse(f, "its Content-Length is not a number");
        length = length * 10 + (*p - '0');
        if (length > LENGTH_MAX)
            return head_refuse(f, "its Content-Length is larger than 2^53");
    }
    if (f->record.content_length >= 0 && f->record.content_length != length)
        return head_refuse(f, "it has two different Content-Lengths");
    f->record.content_length = length;
    return true;
}

/* RFC 9112 section 5.2: a folded line goes on behind one space. */
static bool head_unfold(struct flight *f, const char *text, size_t n)
{
    struct blob *headers = &f->answer->headers;
    int rc;

    if (headers->n == 0)
        return head_refuse(f, "its header begins with a folded line");
    if (f->record.framing)
        return head_refuse(f, "its Content-Length or Transfer-Encoding is folded");
    rc = blob_reserve(headers, &f->record.header_room, n + 1);
    if (rc < 0)
        return head_fail(f, rc);
    headers->data[headers->n - 1] = ' ';
    memcpy(headers->data + headers->n, text, n);
    headers->n += n + 1;
    headers->data[headers->n - 1] = '\0';
    return true;
}

static bool head_is(const char *name, size_t n, const char *known)
{
    return n == strlen(known) && memcmp(name, known, n) == 0;
}

/* What the exchange itself goes by. */
static bool head_note(struct flight *f, const char *name, size_t n, const char *value)
{
    struct record *r = &f->record;
    bool length = head_is(name, n, "content-length");

    r->framing = length || head_is(name, n, "transfer-encoding");
    r->directs = r->directs || head_is(name, n, "location") || head_is(name, n, "retry-after");
    return !length || head_take_length(f, value);
}

static bool head_take_field(struct flight *f, const char *line, size_t n)
{
    struct blob *headers = &f->answer->headers;
    const char *colon = memchr(line, ':', n), *value, *end = line + n;
    size_t n_name;
    char *name;
    int rc;

    if (!colon)
        return head_refuse(f, "a line of its header has no colon");
    for (n_name = (size_t)(colon - line); n_name > 0 && isblank((unsigned char)line[n_name - 1]);)
        n_name--;
    if (n_name == 0)
        return head_refuse(f, "a line of its header has no name");
    for (value = colon + 1; value < end && isblank((unsigned char)*value);)
        value++;
    rc = pack_header_n(headers, &f->record.header_room, line, n_name, value, (size_t)(end - value));
    if (rc < 0)
        return head_fail(f, rc);
    value = headers->data + headers->n - (end - value) - 1;
    name = (char *)value - n_name - 1;
    for (size_t i = 0; i < n_name; i++)
        name[i] = (char)tolower((unsigned char)name[i]);
    return head_note(f, name, n_name, value);
}

static bool head_take_end(struct flight *f)
{
    if (f->answer->attempt.status >= 200) {
        f->record.headers_ended = true;
        f->body.expected = f->record.content_length;
    }
    return true;
}

bool head_take(struct flight *f, const char *line, size_t n)
{
    struct record *r = &f->record;

    r->n_lines++;
    r->header_bytes += (int64_t)n;
    if (r->n_lines > HEAD_MAX_LINES || r->header_bytes > HEAD_MAX_BYTES)
        return head_refuse(f, "its header has more than 128 lines or 64 KiB");
    if (r->headers_ended)
        return true; /* trailers */
    if (memchr(line, '\0', n))
        return head_refuse(f, "its header has a NUL byte");
    while (n > 0 && isspace((unsigned char)line[n - 1]))
        n--;
    if (n >= 5 && memcmp(line, "HTTP/", 5) == 0)
        return head_take_status(f, line, n);
    if (n == 0)
        return head_take_end(f);
    if (f->answer->attempt.status < 200)
        return true;
    if (isblank((unsigned char)*line)) {
        while (isblank((unsigned char)*line)) {
            line++;
            n--;
        }
        return head_unfold(f, line, n);
    }
    return head_take_field(f, line, n);
}
