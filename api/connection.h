/* One client connection: its deadlines, and whether its peer is still there. */
#pragma once

#include <stdbool.h>

#include "api/context.h"

struct MHD_Connection;
struct exchange;

struct connection {
    struct api *api;
    struct MHD_Connection *mhd;
    struct list node; /* in api.connections */
    int fd;           /* microhttpd's */
    bool local;       /* a Unix socket */
    struct loop_watch closed;
    struct deadline deadline;
    struct exchange *exchange; /* the request that is under way; NULL: none */
};

/* Counts from now until the first request's head is whole. NULL: no memory. */
struct connection *connection_new(struct api *a, struct MHD_Connection *mhd, int fd, bool local);
void connection_free(struct connection *c);

/* From the loop's stack. microhttpd looks at the connection again in its next run only. */
void connection_suspend(struct connection *c);
void connection_resume(struct connection *c);
/* The header fields of the request that is under way; they are microhttpd's. */
void connection_fields(struct connection *c, struct framing_head *ret);

/* A request's first line is here; the head must follow. */
void connection_head_begins(struct connection *c);
void connection_body_moves(struct connection *c);
/* What comes next may take as long as it likes. */
void connection_no_deadline(struct connection *c);
void connection_idles(struct connection *c);

/* Whether to notice that the peer hangs up; exchange_gone() is called then. */
void connection_watch_peer(struct connection *c, bool on);
/* microhttpd will see the end of the connection and free it. */
void connection_shut(struct connection *c);

void connection_queues_init(struct api *a);
void connection_queues_done(struct api *a);
