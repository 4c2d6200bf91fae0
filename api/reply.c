#include "api/reply.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/faults.h"
#include "api/writer.h"
#include "daemon/base/cleanup.h"

static const struct {
    unsigned status;
    const char *title;
} titles[] = {
    { 200, "OK" },
    { 202, "Accepted" },
    { 400, "Bad Request" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 413, "Content Too Large" },
    { 414, "URI Too Long" },
    { 415, "Unsupported Media Type" },
    { 417, "Expectation Failed" },
    { 421, "Misdirected Request" },
    { 422, "Unprocessable Content" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 503, "Service Unavailable" },
    { 507, "Insufficient Storage" },
};

static const struct {
    int rc;
    unsigned status;
    const char *detail;
    unsigned retry_after_s; /* 0: no such header */
} errors[] = {
    { -ENOENT, 404, "there is no such resource", 0 },
    { -ENODATA, 404, "there is no such body", 0 },
    { -EBUSY, 409, "it has not ended yet", 0 },
    { -EALREADY, 409, "it has ended already", 0 },
    { -EFBIG, 413, "the request is larger than this daemon takes", 0 },
    { -EAGAIN, 503, "the queue is full", 5 },
    { -ESHUTDOWN, 503, "the daemon is shutting down", 5 },
    { -ECANCELED, 503, "the daemon is shutting down", 5 },
    { -EIO, 503, "the store does not take anything", 30 },
    { -ENOMEM, 503, "the daemon is out of memory", 5 },
    { -EMFILE, 503, "the daemon is out of file descriptors", 5 },
    { -ENFILE, 503, "the daemon is out of file descriptors", 5 },
    { -ENOSPC, 507, "the disk is full", 30 },
};

static void reply_clear(struct reply *r)
{
    free(r->type);
    r->type = NULL;
    buf_done(&r->body);
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    for (size_t i = 0; i < r->n_headers; i++)
        free(r->headers[i].value);
    r->n_headers = 0;
}

void reply_done(struct reply *r)
{
    reply_clear(r);
    *r = (struct reply)REPLY_INIT;
}

int reply_set_type(struct reply *r, const char *type)
{
    char *copy = strdup(type);

    if (!copy)
        return -ENOMEM;
    free(r->type);
    r->type = copy;
    return 0;
}

int reply_add_header(struct reply *r, const char *name, const char *format, ...)
{
    va_list args;
    char *value;
    int n;

    if (r->n_headers >= REPLY_HEADERS_MAX)
        return -ENOMEM;
    va_start(args, format);
    n = vasprintf(&value, format, args);
    va_end(args);
    if (n < 0)
        return -ENOMEM;
    r->headers[r->n_headers++] = (struct reply_header){ name, value };
    return 0;
}

const char *reply_status_title(unsigned status)
{
    for (size_t i = 0; i < ARRAY_LEN(titles); i++)
        if (titles[i].status == status)
            return titles[i].title;
    return "Error";
}

void reply_problem(
        struct reply *r, unsigned status, const struct faults *faults, const char *format, ...)
{
    struct writer w = writer_to(&r->body);
    char detail[512];
    va_list args;

    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);

    reply_clear(r);
    r->status = status;
    reply_set_type(r, REPLY_PROBLEM);
    writer_open(&w, '{');
    writer_key(&w, "type");
    writer_text(&w, "about:blank");
    writer_key(&w, "title");
    writer_text(&w, reply_status_title(status));
    writer_key(&w, "status");
    writer_int(&w, status);
    writer_key(&w, "detail");
    writer_text(&w, detail);
    if (faults) {
        writer_key(&w, "errors");
        faults_write(faults, &w);
    }
    writer_close(&w, '}');
    buf_append(&r->body, "\n", 1);
}

static size_t error_index(int rc)
{
    size_t i = 0;

    while (i < ARRAY_LEN(errors) && errors[i].rc != rc)
        i++;
    return i;
}

unsigned reply_error_status(int rc)
{
    size_t i = error_index(rc);

    return i < ARRAY_LEN(errors) ? errors[i].status : 500;
}

const char *reply_error_detail(int rc)
{
    size_t i = error_index(rc);

    return i < ARRAY_LEN(errors) ? errors[i].detail : strerror(-rc);
}

void reply_error(struct reply *r, int rc)
{
    size_t i = error_index(rc);

    reply_problem(r, reply_error_status(rc), NULL, "%s", reply_error_detail(rc));
    if (i < ARRAY_LEN(errors) && errors[i].retry_after_s > 0)
        reply_add_header(r, "Retry-After", "%u", errors[i].retry_after_s);
}

size_t reply_format_raw(unsigned status, const char *detail, char *text, size_t size)
{
    const char *title = reply_status_title(status);
    char body[256];
    int n = snprintf(body, sizeof(body),
            "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":\"%s\"}\n", title,
            status, detail);

    n = snprintf(text, size,
            "HTTP/1.1 %u %s\r\nContent-Type: " REPLY_PROBLEM
            "\r\nContent-Length: %d\r\n%sConnection: close\r\n\r\n%s",
            status, title, n, status == 503 ? "Retry-After: 5\r\n" : "", body);
    return (size_t)n < size ? (size_t)n : size - 1;
}
