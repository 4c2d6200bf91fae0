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
    char *prefer;          /* the header; owned; NULL: none */
    char *accept;          /* the same */
    char *idempotency_key; /* of Idempotency-Key, where that means something; owned; NULL: none */
    char *id_text;         /* what stands for {id} in the path; owned; NULL: none */
    struct buf body;       /* of a JSON request: all of it */
};

void request_done(struct request *r);

/* Splits and decodes the target (path and query). -EINVAL with the reason, -ENOMEM. */
int request_parse_target(struct request *r, const char *target, const char **ret_why);
/* -ENOENT when the path names no possible id. */
int request_id(const struct request *r, struct uuid7 *ret);
/*
 * Suspends. For an upload that is read as it arrives: appends what is there to `into`. 1: some
 * bytes; 0: the end; -ECONNRESET: cut off; -EFBIG: more than the options allow; -ENOBUFS: there was
 * no memory for the rest, or the daemon stops.
 */
CO_SUSPENDS int request_read(struct request *r, struct buf *into);
/* What the handler has read and made of it takes so many bytes now; request_read() adds to them. */
void request_holds(struct request *r, int64_t bytes);
/* The body is not needed any more. */
void request_drop_body(struct request *r);
/*
 * Before a request waits for long, or streams: it counts among those that do until it ends.
 * -EMLINK: there are too many.
 */
int request_may_wait(struct request *r);
/*
 * What is awaited between these two ends with -ECANCELED as soon as the client has gone
 * (request_gone()) or the daemon stops (request_stopping()).
 */
CO_SUSPENDS void request_wait_open(struct request *r, struct co_scope *scope);
CO_SUSPENDS int request_wait_close(struct request *r, struct co_scope *scope, int rc);
bool request_gone(const struct request *r);
bool request_stopping(const struct request *r);
/* To be held by a request that takes much memory to answer, as a look at all tasks does. */
struct co_lock *request_heavy_lock(const struct request *r);
/* Begins an answer that is sent while it is written; takes the reply over (its body goes first). */
void request_stream(struct request *r, struct reply *reply);
/* Suspends while the client is slow. -ECANCELED also when it has gone. */
CO_SUSPENDS int request_write(struct request *r, const void *data, size_t n);
