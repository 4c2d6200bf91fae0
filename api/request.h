/*
 * A request as a handler sees it. The handler is a coroutine; it is given the request when its head
 * is checked and, for JSON, its body is whole.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/faults.h"
#include "api/reply.h"
#include "api/server.h"
#include "daemon/base/buf.h"
#include "daemon/base/clock.h"
#include "daemon/base/uuid7.h"
#include "daemon/co/co.h"

struct request_parameter {
    char *name, *value; /* decoded; owned */
};

struct request {
    struct faults faults; /* of the query, so far */
    struct service *service;
    const struct api_options *options;
    bool head;   /* HEAD: like GET, without the body of the answer */
    char *path;  /* decoded; owned */
    char *query; /* as it came, without the question mark; owned; NULL: none */
    struct request_parameter *parameters;
    size_t n_parameters;
    char *prefer;    /* the header; owned; NULL: none */
    char *id_text;   /* what stands for {id} in the path; owned; NULL: none */
    struct buf body; /* of a JSON request: all of it */
};

void request_done(struct request *r);

/* Splits and decodes the target (path and query). -EINVAL with the reason, -ENOMEM. */
int request_parse_target(struct request *r, const char *target, const char **ret_why);
/* The first of that name, or NULL. */
const char *request_parameter(const struct request *r, const char *name);
/* Lists what is not in `allowed` (NULL-terminated) and what came twice. */
void request_check_parameters(struct request *r, const char *const *allowed);
/* After all parameters were read: true when one of them is wrong, and then the reply says so. */
bool request_query_is_bad(const struct request *r, struct reply *reply);
/* The readers of single parameters add to r->faults what is wrong with them. */

/* -ENOENT when the path names no possible id. */
int request_id(const struct request *r, struct uuid7 *ret);
/*
 * How long the client wants to wait: ?wait= or Prefer: wait=N (RFC 7240), capped by the options;
 * 0: not at all. *ret_preferred: by Prefer, so Preference-Applied is due.
 */
void request_wait_time(struct request *r, int64_t *ret_us, bool *ret_preferred);
/* True for "true" or "1"; false for "false", "0" and when it is not given. */
bool request_flag(struct request *r, const char *name);
/* ?limit= from 1 to `most`. */
size_t request_limit(struct request *r, size_t usual, size_t most);
/* ?cursor= of an earlier answer; 0 without one. */
int64_t request_cursor(struct request *r);
#define REQUEST_CURSOR_SIZE 24
void request_format_cursor(int64_t from, char text[REQUEST_CURSOR_SIZE]);
/* Appends Link: rel="next", this request's target with the cursor. -ENOMEM. */
int request_link_next(const struct request *r, const char *cursor, struct reply *reply);

/* The rest is exchange.c's. */

/*
 * Suspends. For an upload that is read as it arrives: appends what is there to `into`. 1: some
 * bytes; 0: the end; -ECONNRESET: cut off; -EFBIG: more than the options allow.
 */
int request_read(struct request *r, struct buf *into);
/*
 * What is awaited between these two ends with -ECANCELED as soon as the client has gone
 * (request_gone()) or the daemon stops (request_stopping()).
 */
void request_wait_open(struct request *r, struct co_scope *scope);
int request_wait_close(struct request *r, struct co_scope *scope, int rc);
bool request_gone(const struct request *r);
bool request_stopping(const struct request *r);
/* Begins an answer that is sent while it is written; takes the reply over (its body goes first). */
void request_stream(struct request *r, struct reply *reply);
/* Suspends while the client is slow. -ECANCELED also when it has gone. */
int request_write(struct request *r, const void *data, size_t n);
