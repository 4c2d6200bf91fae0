/*
 * An answer before it is sent: plain data. Errors are problem documents (RFC 9457); the one table
 * from -errno to a status is here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/shape.h"
#include "daemon/base/buf.h"
#include "daemon/co/suspends.h"

struct faults;
struct service;

#define REPLY_JSON        "application/json"
#define REPLY_NDJSON      "application/x-ndjson"
#define REPLY_PROBLEM     "application/problem+json"
#define REPLY_HEADERS_MAX 8

struct reply_header {
    const char *name; /* a literal */
    char *value;      /* owned */
};

struct reply {
    unsigned status;
    char *type; /* Content-Type; owned; NULL: none */
    struct buf body;
    int fd; /* a file that is the body instead; owned; -1: none */
    int64_t fd_bytes;
    struct reply_header headers[REPLY_HEADERS_MAX];
    size_t n_headers;
    bool close; /* end the connection after it */
};

#define REPLY_INIT \
    {              \
        .fd = -1   \
    }

void reply_done(struct reply *r);
/* -ENOMEM. */
int reply_set_type(struct reply *r, const char *type);
__attribute__((format(printf, 3, 4))) int reply_add_header(
        struct reply *r, const char *name, const char *format, ...);
/* A JSON array that is made `slice` items at a time, each on the loop's stack. */
struct reply_items {
    json_t *(*item)(const void *from, size_t i);
    const void *from;
    size_t n, slice;
};
/* Suspends between slices. *ret is the caller's. */
CO_SUSPENDS int reply_items(const struct reply_items *items, json_t **ret);
/* Makes *r a JSON answer: what `make` returns, which it does on the loop's stack. */
int reply_json(struct reply *r, unsigned status, json_t *(*make)(void *arg), void *arg);
/* Suspends. As reply_json(), but it becomes text on a pool thread. */
CO_SUSPENDS int reply_json_large(
        struct reply *r, unsigned status, json_t *(*make)(void *arg), void *arg);
/* Makes *r a problem; what it held before is dropped. `faults` may be NULL. */
__attribute__((format(printf, 4, 5))) void reply_problem(
        struct reply *r, unsigned status, const struct faults *faults, const char *format, ...);
/* The problem that a handler's -errno stands for. `s` says when to come back; NULL: not yet there. */
void reply_error(struct reply *r, const struct service *s, int rc);
/* The status of reply_error(), its text, and its Retry-After; 0: it has none. */
unsigned reply_error_status(int rc);
const char *reply_error_detail(int rc);
unsigned reply_error_retry_after_s(const struct service *s, int rc);
/* A whole HTTP/1.1 answer with a problem and Connection: close, for where there is nothing but a
 * descriptor; its length. */
size_t reply_format_raw(unsigned status, const char *detail, char *text, size_t size);
/* The standard's reason phrase, or "Error". */
const char *reply_status_title(unsigned status);
