#include "api/reply.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/faults.h"
#include "daemon/base/cleanup.h"
#include "daemon/co/co.h"
#include "daemon/engine/service.h"

static const struct {
    unsigned status;
    const char *title;
} titles[] = {
    { 200, "OK" },
    { 201, "Created" },
    { 202, "Accepted" },
    { 400, "Bad Request" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 410, "Gone" },
    { 413, "Content Too Large" },
    { 414, "URI Too Long" },
    { 415, "Unsupported Media Type" },
    { 417, "Expectation Failed" },
    { 421, "Misdirected Request" },
    { 422, "Unprocessable Content" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 503, "Service Unavailable" },
    { 507, "Insufficient Storage" },
};

static const struct {
    int rc;
    unsigned status;
    const char *detail;
    unsigned retry_after_s; /* 0: never */
    bool measured;          /* the service knows better when */
} errors[] = {
    { -ENOENT, 404, "there is no such resource", 0 },
    { -ENODATA, 404, "there is no such body", 0 },
    { -EBUSY, 409, "it has not ended yet", 0 },
    { -EALREADY, 409, "it has ended already", 0 },
    { -EFBIG, 413, "the request is larger than this daemon takes", 0 },
    { -EAGAIN, 503, "the queue is full (store.max_jobs)", 5, true },
    { -EUSERS, 503, "jobs of too many origins have not ended (scheduler.max_lanes)", 5, true },
    { -ESHUTDOWN, 503, "the daemon is shutting down", 5, true },
    { -ECANCELED, 503, "the daemon is shutting down", 5, true },
    { -EMLINK, 503, "as many requests wait as may (api.max_waiters)", 5 },
    { -ENOBUFS, 503, "requests take as much memory as they may (api.request_memory)", 5 },
    { -EOVERFLOW, 503, "answers take as much memory as they may (api.answer_memory)", 5 },
    { -EIO, 503, "the store does not take anything", 30 },
    { -ENOMEM, 503, "the daemon is out of memory", 5 },
    { -EMFILE, 503, "the daemon is out of file descriptors", 5 },
    { -ENFILE, 503, "the daemon is out of file descriptors", 5 },
    { -ENOSPC, 507, "the disk has too little free space (store.min_free)", 30, true },
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

struct reply_slice {
    const struct reply_items *items;
    size_t next;
    json_t *array;
};

static void reply_make_slice(void *arg)
{
    struct reply_slice *s = arg;
    const struct reply_items *items = s->items;

    if (s->next == 0)
        s->array = json_array();
    for (size_t i = 0; i < items->slice && s->next < items->n; i++)
        shape_push(&s->array, items->item(items->from, s->next++));
}

static void reply_drop(void *arg)
{
    json_t *value = arg;

    json_decref(value);
}

int reply_items(const struct reply_items *items, json_t **ret)
{
    struct reply_slice s = { .items = items };
    int rc = 0;

    do {
        if (s.next > 0)
            rc = co_yield();
        if (rc == 0)
            co_on_loop(reply_make_slice, &s);
    } while (rc == 0 && s.array && s.next < items->n);
    if (rc < 0)
        co_on_loop(reply_drop, s.array);
    else
        *ret = s.array;
    return rc < 0 || s.array ? rc : -ENOMEM;
}

struct reply_text {
    json_t *(*make)(void *arg);
    void *arg;
    json_t *value;
    struct buf *out;
    int rc;
};

static void reply_make(void *arg)
{
    struct reply_text *t = arg;

    t->value = t->make(t->arg);
}

static int reply_write(void *arg)
{
    struct reply_text *t = arg;

    t->rc = shape_write_line(TAKE_PTR(t->value), t->out);
    return 0;
}

static void reply_write_here(void *arg)
{
    reply_write(arg);
}

static void reply_make_and_write(void *arg)
{
    reply_make(arg);
    reply_write(arg);
}

int reply_json(struct reply *r, unsigned status, json_t *(*make)(void *arg), void *arg)
{
    struct reply_text t = { .make = make, .arg = arg, .out = &r->body };

    co_on_loop(reply_make_and_write, &t);
    r->status = status;
    return t.rc < 0 ? t.rc : reply_set_type(r, REPLY_JSON);
}

int reply_json_large(struct reply *r, unsigned status, json_t *(*make)(void *arg), void *arg)
{
    struct reply_text t = { .make = make, .arg = arg, .out = &r->body };
    int rc;

    co_on_loop(reply_make, &t);
    rc = co_to_thread(reply_write, &t, NULL);
    if (rc == -EAGAIN) {
        co_on_loop(reply_write_here, &t);
        rc = 0;
    }
    if (t.value)
        co_on_loop(reply_drop, t.value);
    r->status = status;
    if (rc == 0)
        rc = t.rc;
    return rc < 0 ? rc : reply_set_type(r, REPLY_JSON);
}

struct problem {
    unsigned status;
    const char *detail;
    const struct faults *faults;
};

static json_t *problem_json(void *arg)
{
    const struct problem *p = arg;
    json_t *o = json_object();

    shape_set(&o, "type", shape_text("about:blank"));
    shape_set(&o, "title", shape_text(reply_status_title(p->status)));
    shape_set(&o, "status", json_integer(p->status));
    shape_set(&o, "detail", shape_text(p->detail));
    if (p->faults)
        shape_set(&o, "errors", faults_json(p->faults));
    return o;
}

void reply_problem(
        struct reply *r, unsigned status, const struct faults *faults, const char *format, ...)
{
    char detail[512];
    va_list args;

    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);

    reply_clear(r);
    reply_json(r, status, problem_json,
            &(struct problem){ .status = status, .detail = detail, .faults = faults });
    reply_set_type(r, REPLY_PROBLEM);
    /*
     * microhttpd takes some broken framings for good ones (a folded or cut Content-Length, say), and
     * what then fails is what it makes of them: what follows may be part of a body.
     */
    r->close = status == 400;
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

unsigned reply_error_retry_after_s(const struct service *s, int rc)
{
    size_t i = error_index(rc);

    if (i == ARRAY_LEN(errors))
        return 0;
    if (!s || !errors[i].measured)
        return errors[i].retry_after_s;
    return service_retry_after_s(s, rc == -ECANCELED ? -ESHUTDOWN : rc);
}

void reply_error(struct reply *r, const struct service *s, int rc)
{
    unsigned retry_after_s = reply_error_retry_after_s(s, rc);

    reply_problem(r, reply_error_status(rc), NULL, "%s", reply_error_detail(rc));
    r->close = rc == -ESHUTDOWN;
    if (retry_after_s > 0)
        reply_add_header(r, "Retry-After", "%u", retry_after_s);
}

size_t reply_format_raw(unsigned status, const char *detail, char *text, size_t size)
{
    struct reply r = REPLY_INIT;
    int n;

    reply_problem(&r, status, NULL, "%s", detail);
    n = snprintf(text, size,
            "HTTP/1.1 %u %s\r\nContent-Type: " REPLY_PROBLEM
            "\r\nContent-Length: %zu\r\n%sConnection: close\r\n\r\n%.*s",
            status, reply_status_title(status), r.body.n,
            status == 503 || status == 429 ? "Retry-After: 5\r\n" : "", (int)r.body.n,
            r.body.n ? r.body.data : "");
    reply_done(&r);
    return (size_t)n < size ? (size_t)n : size - 1;
}
