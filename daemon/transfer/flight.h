/*
 * An exchange on its way: made by transfer_run(), lent to a pump by a mail, or to a crew, and
 * back by the same mail. In between only the thread that carries it touches it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/heap.h"
#include "daemon/base/list.h"
#include "daemon/base/mailbox.h"
#include "daemon/co/sync.h"
#include "daemon/transfer/address.h"
#include "daemon/transfer/body.h"
#include "daemon/transfer/transfer.h"

struct co_loop;
struct easy;
struct egress;
struct pump;
struct seat;

/* What libcurl's callbacks saw. They decide nothing but to stop. */
struct record {
    int64_t begun_ns;    /* when its carrier took it */
    int64_t writable_ns; /* a socket that connected had an outcome; the last one */
    bool handshaking;    /* libcurl was seen waiting for the other side of a TLS handshake */
    int64_t asked_ns;    /* the request was about to be sent; 0: never */
    int64_t sent_ns;     /* all of it was with the kernel; 0: not seen */
    bool sending;        /* some of it is not */
    unsigned n_opened;   /* sockets */
    unsigned n_sends;    /* 1: the request was let go */
    unsigned n_lines;    /* of all headers, interim answers and trailers too */
    int64_t header_bytes;
    size_t header_room;     /* of answer->headers, see blob_reserve() */
    int64_t content_length; /* -1: none */
    bool framing;           /* the line before was about the length of the body */
    bool directs;           /* it has a Location or a Retry-After */
    bool headers_ended;     /* of the final answer */
    bool stopped;           /* by us, on demand */
    bool resent;            /* libcurl was about to send it again by itself */
    bool too_large;
    bool blocked;       /* `peer` is refused by the rules */
    int failed;         /* -errno of memory, disk or descriptors */
    bool full;          /* it was the disk, and that has no space left */
    const char *bad;    /* what is wrong with the answer */
    union address peer; /* the last one that was tried; family 0: none */
};

/* body_sink_add() failed. */
static inline void record_body_failed(struct record *r, int rc)
{
    r->failed = rc;
    r->full = body_is_full(rc);
}

struct flight {
    /* The caller's. */
    const struct exchange *x;
    struct egress *egress; /* referenced */
    struct answer *answer;
    struct co_loop *home;
    struct co_event landed; /* every mail is back */
    struct pump *pump;
    uint64_t origin;   /* a number that stands for it */
    struct seat *seat; /* of a crew; NULL: none has it. The crew's lock is over it */
    struct list node;  /* of those that are to start, or to be sent home */
    struct mail start, stop;
    unsigned n_out;   /* mails that are with the pump */
    char *pin;        /* for CURLOPT_RESOLVE: the vetted addresses of the name; NULL: a literal */
    int64_t dns_us;   /* PHASE_NOT_TAKEN: nothing was looked up */
    int64_t limit_us; /* what is left for this exchange when it starts, to tell people */
    /* The carrier's. */
    void (*asked)(
            struct flight *f); /* the request is about to be sent; NULL: goes without saying */
    struct easy *easy;         /* NULL: not under way */
    struct heap_item due;      /* of the pump's deadlines */
    struct body_sink body;
    struct record record;
};
