/*
 * One HTTP exchange as a suspending call (DESIGN section 6): names are resolved on the main loop,
 * every address is vetted, a thread or a worker process carries the exchange in its libcurl multi,
 * and what is recorded is what was on the wire.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/co/suspends.h"
#include "daemon/model/attempt.h"
#include "daemon/model/job.h"

struct egress;
struct loop;
struct transfer;

struct transfer_options {
    unsigned threads; /* 0: one per core */
    /* Open ones that wait for their next exchange, of all threads together; 0: as many as are of
     * use. Each thread keeps at least one. */
    unsigned idle_connections;
    int64_t connect_timeout_us; /* TCP and TLS together */
    /* At most, of blocking threads and of sandboxed worker processes; 0: none, the transfer threads
     * carry their exchanges, too. They start when they are needed. */
    unsigned executor_threads, executor_processes;
    int64_t body_memory_bytes; /* of all bodies being received; past it they go to files at once */
    int body_directory_fd;     /* where the files go; the caller's, stays open */
    /* The disk is full when one is written: true when space was freed, and it is tried once more.
     * Any thread; it may block. NULL: there is none to free. */
    bool (*more_space)(void *arg);
    void *more_space_arg;
    const char *name_servers; /* "127.0.0.1:5300,…" instead of those of resolv.conf; NULL: those */
};

/* Starts the threads. `e` is referenced. -errno with the reason. */
int transfer_new(struct loop *main_loop, const struct transfer_options *options, struct egress *e,
        struct transfer **ret, struct error *ret_why);
/* No exchange may be running. Joins the threads. */
struct transfer *transfer_free(struct transfer *t);
/* For the exchanges that start from now on. */
void transfer_set_egress(struct transfer *t, struct egress *e);

/*
 * Suspends, while all threads, or processes, of the executor are taken. 0: one is the caller's for
 * as many transfer_run() as it likes, one after another, until transfer_release(). For coroutines
 * there is nothing to wait for.
 */
CO_SUSPENDS int transfer_reserve(struct transfer *t, enum executor executor);
void transfer_release(struct transfer *t, enum executor executor);

/* What to send. Everything is borrowed until transfer_run() returns. */
struct exchange {
    const char *url; /* canonical */
    const char *method;
    const struct blob *headers;
    const char *idempotency_key; /* sent unless the headers have one; NULL: none */
    const void *body;            /* HEAD sends none */
    size_t body_bytes;
    int64_t deadline_ns;    /* CLOCK_MONOTONIC: end of this try, DNS and all */
    int64_t max_body_bytes; /* decoded */
    enum executor executor; /* what carries it; lookups and rules are the same for all */
    bool idempotent;        /* else only a connection that was idle less than 2 s is reused */
    char file[64];          /* name of the body's file, should it need one */
};

/* What came back. */
struct answer {
    /* url, method, n, hop, step, started_us and lane_wait_us are the caller's to set. */
    struct attempt attempt;
    struct blob headers;    /* packed; final answer only, no trailers */
    struct body body;       /* a file is synced, and so is its directory */
    char *redirect_url;     /* absolute target of a 3xx with Location; owned, else NULL */
    int64_t retry_after_us; /* of Retry-After in seconds or as a date; 0: none */
};

void answer_done(struct answer *a);

/*
 * Suspends. 0 also when the exchange failed: attempt.error says why then (attempt.error.failure;
 * a status is never a failure here), and headers and body hold what came. A failed exchange leaves
 * no file unless body.file says so. -ECANCELED: the exchange was stopped, and *ret holds what was
 * recorded until then. -ENOMEM.
 */
CO_SUSPENDS int transfer_run(struct transfer *t, const struct exchange *x, struct answer *ret);
