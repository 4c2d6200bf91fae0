/* The inside of an exchange, for exchange.c, intake.c and answer.c; nothing else includes it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "api/connection.h"
#include "api/exchange.h"
#include "api/request.h"
#include "api/route.h"

/* Requests up to this size have the last quarter of the memory to themselves. */
#define EXCHANGE_SMALL_BYTES 65536

enum exchange_phase { EXCHANGE_HEAD, EXCHANGE_BODY, EXCHANGE_ANSWER, EXCHANGE_SENT };

enum body_use { BODY_WHOLE, BODY_STREAM, BODY_DISCARD };

struct exchange {
    struct request request;
    struct api *api;
    struct connection *connection; /* NULL: ended */
    unsigned refs;
    enum exchange_phase phase;
    char *target;
    const char *method; /* a literal of the route table, or "?" */
    const struct route *route;
    route_handler handle;
    enum body_use use;
    int64_t received, body_max, progress;
    bool body_ended, body_cut, body_too_large;
    bool suspended;
    struct list woken; /* in api.woken */
    bool ready;        /* `reply` may be sent */
    struct reply reply;
    unsigned status; /* of what was sent */
    bool streaming, stream_ended, stream_whole;
    struct buf out;
    size_t out_at;
    int64_t held;              /* its share of api.request_bytes */
    int64_t handler_holds;     /* of that: what the handler has taken, and made of it */
    int64_t answer_held;       /* its share of api.answer_bytes */
    bool waits;                /* counted in api.n_waiters */
    struct co_condition moved; /* body arrived, `out` was drained, or it is over */
    struct co_scope *waiting;  /* what the handler awaits may be cut short; NULL: it may not */
    bool gone;                 /* the client */
};

void exchange_unref(struct exchange *x);
/* Starts the handler, or makes the reply say why it can't be. */
void exchange_spawn(struct exchange *x);
void exchange_suspend(struct exchange *x);
/* microhttpd calls us again, from its next run. */
void exchange_wake(struct exchange *x);
/* Nobody waits for the answer any more. */
void exchange_gone(struct exchange *x);

/* After its body, or what was made of it, has grown or shrunk. */
void exchange_account(struct exchange *x);
/* With `more` bytes of it, requests would take more memory than they may, and not this one alone. */
bool exchange_is_too_much(const struct exchange *x, int64_t more);
/* The same of answers. */
void exchange_account_answer(struct exchange *x, size_t n);
bool exchange_answers_are_too_large(const struct exchange *x);

/* intake.c. False: close the connection. */
bool intake_head(struct exchange *x, const char *method, const char *version);
bool intake_body(struct exchange *x, const char *data, size_t n);
void intake_end(struct exchange *x);

/* answer.c: queues x->reply, or what is streamed after it. False: close the connection. */
bool answer_send(struct exchange *x);
