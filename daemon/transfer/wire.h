/*
 * What the daemon and a worker process say to each other over their socket: frames of numbers, each
 * eight bytes, and of counted bytes. Both ends are the same program on the same machine, so nothing
 * is converted; but what a worker says is checked, for it may have been taken over.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

enum wire_type {
    WIRE_HELLO,  /* to the worker, first: what holds for all exchanges */
    WIRE_ORDER,  /* an exchange (order.h) */
    WIRE_STOP,   /* end it */
    WIRE_READY,  /* from the worker, first: what sandbox_enter() said */
    WIRE_ASKED,  /* the request is about to be sent */
    WIRE_BODY,   /* some of the answer's body */
    WIRE_REPORT, /* what came of the exchange (report.h) */
    WIRE_TYPE_MAX,
};

/* A frame that is being written at the end of a buffer; an error sticks. */
struct wire {
    struct buf *buf;
    size_t at; /* where it begins */
    int rc;
};

void wire_begin(struct wire *w, struct buf *b, enum wire_type type);
void wire_put(struct wire *w, int64_t value);
/* NULL is told from empty. */
void wire_put_bytes(struct wire *w, const void *data, size_t n);
void wire_put_text(struct wire *w, const char *text);
/* -ENOMEM: nothing was written. */
int wire_end(struct wire *w);

/* A frame that came. Reading past its end, or what is no such thing, makes it bad. */
struct wire_view {
    enum wire_type type;
    const char *at;
    size_t left;
    bool bad;
};

/* The frame at the beginning of `data`. The bytes that it takes; 0: it is not all there; -EPROTO. */
int64_t wire_next(const char *data, size_t n, size_t most, struct wire_view *ret);
/* How much of the frame is surely still to come; 0: it is all there. */
size_t wire_missing(const char *data, size_t n);
int64_t wire_get(struct wire_view *v);
/* Bad outside of the two. */
int64_t wire_get_between(struct wire_view *v, int64_t least, int64_t most);
/* Within the frame; NULL as it was put. */
const char *wire_get_bytes(struct wire_view *v, size_t *ret_n);
const char *wire_get_text(struct wire_view *v);
/* 0 when all of it was read and nothing was bad; -EPROTO. */
int wire_close(const struct wire_view *v);
