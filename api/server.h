/*
 * The HTTP control API: listeners of our own, libmicrohttpd behind them, one coroutine for each
 * request (DESIGN sections 4, 8 and 9).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/co/suspends.h"

struct api;
struct loop;
struct service;

struct api_options {
    const char *const *
            listen; /* "127.0.0.1:8470", "[::1]:8470", "unix:/run/baedald/api.sock"; NULL-terminated */
    int64_t max_wait_us;    /* cap of ?wait= and Prefer: wait */
    int64_t max_body_bytes; /* of a JSON request */
    int64_t max_bulk_bytes; /* of an NDJSON upload */
    unsigned max_lines;     /* of an NDJSON upload */
    unsigned max_connections;
    unsigned max_connections_per_client; /* see client.h */
    unsigned max_waiters;                /* requests that wait for a job, or stream results */
    int64_t request_memory_bytes;        /* of requests' bodies, all together */
    int64_t answer_memory_bytes;         /* of answers that wait for their clients, all together */
    int64_t header_timeout_us;           /* to send a whole request header */
    int64_t body_timeout_us;  /* between two pieces of EXCHANGE_PROGRESS_BYTES of a body */
    int64_t write_timeout_us; /* in which some of an answer, or the next request, must move */
};

/* Binds the listeners (or takes those that the service manager handed over) and serves nothing yet.
 * -EADDRINUSE and the like with one clear line, naming the address. */
int api_new(struct loop *loop, const struct api_options *options, struct api **ret,
        struct error *ret_why);
/* Starts to accept and to answer. From the main coroutine, once the service has started. */
CO_SUSPENDS int api_start(struct api *a, struct service *s);
/* Suspends. Stops accepting, ends what waits, lets answers go out until `deadline_ns`. */
CO_SUSPENDS int api_stop(struct api *a, int64_t deadline_ns);
/* After api_stop(), or without api_start(). */
struct api *api_free(struct api *a);
