/* One client connection: its deadlines, and whether its peer is still there. */
#pragma once

#include <stdbool.h>

#include "api/context.h"

struct MHD_Connection;
struct exchange;

struct connection {
    struct api *api;
    struct MHD_Connection *mhd;
    struct list node;       /* in api.connections */
    int fd;                 /* microhttpd's */
    bool local;             /* a Unix socket */
    struct client *client;  /* counts it; NULL: it was evicted */
    bool evicted;           /* counted in api.n_evicted */
    struct loop_watch peer; /* for its end */
    bool hung_up;           /* the peer sends nothing any more */
    bool lingers;           /* its client may still be sending when it is closed */
    struct deadline deadline;
    struct exchange *exchange; /* the request that is under way; NULL: none */
};

/* Counts from now until the first request's head is whole. NULL: no memory. */
struct connection *connection_new(
        struct api *a, struct MHD_Connection *mhd, int fd, const struct sockaddr *address);
void connection_free(struct connection *c);

/* From the loop's stack. microhttpd looks at the connection again in its next run only. */
void connection_suspend(struct connection *c);
void connection_resume(struct connection *c);
/* The header fields of the request that is under way; they are microhttpd's. */
void connection_fields(struct connection *c, struct framing_head *ret);

/* A request's first line is here; the head must follow. */
void connection_head_begins(struct connection *c);
/* Of its first request, or of one that has begun, the head is not whole. */
bool connection_awaits_head(const struct connection *c);
void connection_body_moves(struct connection *c);
/* What comes next may take as long as it likes. */
void connection_no_deadline(struct connection *c);
void connection_idles(struct connection *c);

/*
 * exchange_hung_up() is called when the peer closes its side. Resets are noticed too while this is
 * on, which is for suspended connections: it costs a call for each request that is pipelined.
 */
void connection_watch_reset(struct connection *c, bool on);
/* Lets microhttpd read up to the end, if the peer has hung up. After each read that may be the last. */
void connection_look_again(struct connection *c);
/*
 * Sends a problem past microhttpd, which takes no answer in the middle of a request. Nothing of
 * another may have been written.
 */
void connection_refuse(struct connection *c, unsigned status, const char *detail);
/* microhttpd will see the end of the connection and free it. */
void connection_shut(struct connection *c);
/*
 * Makes room for a new one: shuts down the connection that has been without a whole head for the
 * longest, or else the one that has been idle for the longest, of that client (NULL: of all). False:
 * none of them has had CONNECTION_GRACE_US, or CONNECTION_EVICTED_MAX are not freed yet.
 */
#define CONNECTION_GRACE_US    1000000
#define CONNECTION_EVICTED_MAX 128
bool connection_evict(struct api *a, const struct client *client);

void connection_queues_init(struct api *a);
void connection_queues_done(struct api *a);
