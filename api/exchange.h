/*
 * One request and its answer: microhttpd's callbacks on one side, a handler coroutine on the other.
 * Includes nothing of microhttpd; the callbacks' own types stay in exchange.c and server.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct MHD_Connection;
struct connection;
struct exchange;

/* So many bytes of a body within the body's deadline are progress. */
#define EXCHANGE_PROGRESS_BYTES 16384

/* The request line is here; `target` is copied. NULL: no memory. */
struct exchange *exchange_begin(struct connection *c, const char *target);
/* False: close the connection. A piece of the body is taken whole; `data` NULL: no piece. */
bool exchange_call(
        struct exchange *x, const char *method, const char *version, const char *data, size_t n);
/* The answer is out, or the connection has ended; it is not called again. */
void exchange_end(struct exchange *x);
/* The client has closed its side of the connection. */
void exchange_hung_up(struct exchange *x);
/* Ends what the handler awaits; the answer is what there is then. */
void exchange_stop(struct exchange *x);
/* The connection is closed without an answer. */
void exchange_abandon(struct exchange *x);
/* For those in api.woken: lets microhttpd go on with it. */
struct list;
void exchange_resume(struct list *node);
