/* What server.c, connection.c and exchange.c share; nothing else includes it. */
#pragma once

#include <stdbool.h>

#include "api/client.h"
#include "api/deadline.h"
#include "api/framing.h"
#include "api/linger.h"
#include "api/server.h"
#include "daemon/base/list.h"
#include "daemon/base/loop.h"
#include "daemon/co/co.h"

struct MHD_Daemon;
struct listener;

struct api {
    struct loop *loop;
    struct service *service; /* NULL before api_start() */
    struct api_options options;
    struct listener *listener;
    struct host_list hosts;
    struct MHD_Daemon *mhd;
    struct loop_watch mhd_watch; /* microhttpd's own epoll descriptor */
    struct loop_timer mhd_timer; /* when it wants to run next */
    bool kicked;                 /* that is at once */
    struct list woken;           /* exchanges to be resumed in the next run */
    struct list connections;
    unsigned n_connections;
    unsigned n_evicted; /* connections that are shut down to make room, and not freed yet */
    struct clients clients;
    unsigned n_waiters;            /* requests, see options.max_waiters */
    int64_t request_bytes;         /* see options.request_memory_bytes */
    int64_t answer_bytes;          /* see options.answer_memory_bytes */
    struct co_condition less_held; /* request_bytes has fallen */
    unsigned n_exchanges;          /* requests begun and not answered to the end */
    struct lingers lingers;
    struct deadline_queue header_deadlines, body_deadlines, idle_deadlines;
    struct co_task task;        /* parent of all handlers; {0}: none */
    struct co_group *handlers;  /* on its stack; NULL: no new ones */
    struct co_condition quiet;  /* n_exchanges fell to 0 */
    struct co_lock heavy;       /* see request_heavy_lock() */
    struct co_event ready, end; /* of the task: it has its group; it is to cancel it */
    bool stopping;
};

/* Lets microhttpd run in the next turn of the loop. */
void api_kick(struct api *a);
