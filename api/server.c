/*
 * microhttpd 0.9.75 in external epoll mode without a listening socket (reference: reliability 0.1,
 * 0.2, 0.9 and 4). It runs when its epoll descriptor is readable, when its own timeout is over, and
 * in the turn after anything was done to it from outside, because it wakes nobody by itself.
 * It runs on the loop's stack only, and never inside one of its own callbacks.
 */
#include "api/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/connection.h"
#include "api/context.h"
#include "api/exchange.h"
#include "api/listener.h"
#include "api/reply.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"

#define CONNECTION_MEMORY \
    32768 /* microhttpd's, for one: half of it receives, all of it is cleared after each request */

void api_kick(struct api *a)
{
    if (a->kicked)
        return;
    a->kicked = true;
    loop_timer_set(&a->mhd_timer, 0);
}

/* On the loop's stack. */
static void api_run(void *arg)
{
    struct api *a = arg;
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    struct list *node;

    a->kicked = false;
    while ((node = a->woken.next) != &a->woken)
        exchange_resume(node);
    MHD_run(a->mhd);
    if (a->kicked)
        return;
    if (MHD_get_timeout(a->mhd, &timeout_ms) != MHD_YES)
        loop_timer_stop(&a->mhd_timer);
    else
        loop_timer_set(&a->mhd_timer, (int64_t)timeout_ms * 1000);
}

static void api_readable(struct loop_watch *w, unsigned events)
{
    (void)events;
    api_run(CONTAINER_OF(w, struct api, mhd_watch));
}

static void api_due(struct loop_timer *t)
{
    api_run(CONTAINER_OF(t, struct api, mhd_timer));
}

static struct connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info ? info->socket_context : NULL;
}

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context,
        enum MHD_ConnectionNotificationCode what)
{
    const union MHD_ConnectionInfo *fd =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    int connect_fd = fd ? fd->connect_fd : -1;
    const union MHD_ConnectionInfo *address =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        *context = address ? connection_new(arg, mhd, connect_fd, address->client_addr) : NULL;
    else
        connection_free(*context);
}

/* MHD_OPTION_URI_LOG_CALLBACK: what it returns is the request's context. */
static void *on_request_line(void *arg, const char *uri, struct MHD_Connection *mhd)
{
    struct connection *c = connection_of(mhd);

    (void)arg;
    return c ? exchange_begin(c, uri ? uri : "") : NULL;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *mhd, const char *url,
        const char *method, const char *version, const char *data, size_t *n, void **context)
{
    (void)arg;
    (void)mhd;
    (void)url;
    if (!*context || !exchange_call(*context, method, version, *n > 0 ? data : NULL, *n))
        return MHD_NO;
    *n = 0;
    return MHD_YES;
}

static void on_request_end(
        void *arg, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode why)
{
    (void)arg;
    (void)mhd;
    (void)why;
    if (*context)
        exchange_end(*context);
    *context = NULL;
}

__attribute__((format(printf, 2, 0))) static void on_log(
        void *arg, const char *format, va_list args)
{
    char text[512];
    int n = vsnprintf(text, sizeof(text), format, args);

    (void)arg;
    if (n > 0 && (size_t)n < sizeof(text) && text[n - 1] == '\n')
        text[n - 1] = 0;
    log_debug("microhttpd: %s", text);
}

static void on_panic(void *arg, const char *file, unsigned int line, const char *reason)
{
    (void)arg;
    log_error("microhttpd fails at %s:%u: %s", file, line, reason ? reason : "");
    abort();
}

static void api_accept(void *arg, int fd, const struct sockaddr *address, socklen_t address_n)
{
    struct api *a = arg;
    const struct client *full;

    if (a->stopping) {
        listener_refuse(fd, 503, reply_error_detail(-ESHUTDOWN));
        return;
    }
    full = clients_find_full(&a->clients, fd, address);
    if (full && !connection_evict(a, full)) {
        listener_refuse(fd, 429,
                "this client has as many connections as it may "
                "(api.max_connections_per_client)");
        return;
    }
    if (a->n_connections - a->n_evicted >= a->options.max_connections &&
            !connection_evict(a, NULL)) {
        listener_refuse(fd, 503,
                "the daemon has as many connections as it may "
                "(api.max_connections)");
        return;
    }
    /* It closes the descriptor when it fails. */
    if (MHD_add_connection(a->mhd, fd, address, address_n) != MHD_YES)
        log_debug("a connection could not be added");
    api_kick(a);
}

int api_new(struct loop *loop, const struct api_options *options, struct api **ret,
        struct error *ret_why)
{
    struct api *a = calloc(1, sizeof(*a));
    int rc;

    if (!a)
        return error_set(ret_why, -ENOMEM, "out of memory");
    a->loop = loop;
    a->options = *options;
    a->options.listen = NULL; /* the caller's strings */
    list_init(&a->woken);
    list_init(&a->connections);
    co_condition_init(&a->quiet);
    co_lock_init(&a->heavy);
    co_event_init(&a->ready);
    co_event_init(&a->end);
    loop_timer_init(&a->mhd_timer, loop, api_due);
    co_condition_init(&a->less_held);
    a->clients.max_connections = options->max_connections_per_client;
    connection_queues_init(a);
    rc = listener_new(loop, options->listen, &a->listener, ret_why);
    if (rc == 0) {
        rc = listener_hosts(a->listener, &a->hosts);
        if (rc < 0)
            error_set(ret_why, rc, "out of memory");
    }
    if (rc < 0)
        api_free(a);
    else
        *ret = a;
    return rc;
}

static int api_start_mhd(struct api *a)
{
    const union MHD_DaemonInfo *info;

    MHD_set_panic_func(on_panic, NULL);
    a->mhd = MHD_start_daemon(
            MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG,
            0, NULL, NULL, on_request, a, /* the logger first: the others may log */
            MHD_OPTION_EXTERNAL_LOGGER, on_log, a, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, a,
            MHD_OPTION_NOTIFY_CONNECTION, on_connection, a, MHD_OPTION_NOTIFY_COMPLETED,
            on_request_end, a, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
            MHD_OPTION_CONNECTION_LIMIT,
            a->options.max_connections + 2 * CONNECTION_EVICTED_MAX /* ours says 503 */,
            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(a->options.write_timeout_us / CLOCK_US_PER_S),
            MHD_OPTION_END);
    info = a->mhd ? MHD_get_daemon_info(a->mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info)
        return -ENOMEM;
    loop_watch_init(&a->mhd_watch, a->loop, info->epoll_fd, api_readable);
    return loop_watch_set(&a->mhd_watch, LOOP_READ);
}

/* The parent of all handlers. */
CO_SUSPENDS static int api_main(void *arg)
{
    struct api *a = arg;
    struct co_group group;
    int rc;

    co_group_open(&group);
    a->handlers = &group;
    co_event_set(&a->ready);
    rc = co_event_wait(&a->end);
    a->handlers = NULL;
    co_group_cancel(&group);
    co_group_close(&group, rc);
    return 0;
}

int api_start(struct api *a, struct service *s)
{
    int rc;

    a->service = s;
    rc = co_spawn("api", api_main, a, &a->task);
    if (rc == 0)
        rc = co_event_wait(&a->ready);
    if (rc == 0)
        rc = api_start_mhd(a);
    return rc < 0 ? rc : listener_start(a->listener, api_accept, a);
}

/* Ends what waits for something that may take long, and what has not sent a whole head. */
static void api_hurry(struct api *a)
{
    list_for_each_safe (it, &a->connections) {
        struct connection *c = list_entry(it, struct connection, node);

        if (!c->exchange || connection_awaits_head(c))
            connection_shut(c);
        else
            exchange_stop(c->exchange);
    }
}

CO_SUSPENDS static int api_wait_quiet(struct api *a, int64_t deadline_ns)
{
    struct co_scope scope;
    int rc = 0;

    co_scope_open(&scope, deadline_ns, 0);
    while (a->n_exchanges > 0 && rc == 0)
        rc = co_condition_wait(&a->quiet);
    return co_scope_close(&scope, rc);
}

/* On the loop's stack: no handler is left, so nothing stays suspended after one more run. */
static void api_stop_mhd(void *arg)
{
    struct api *a = arg;

    list_for_each_safe (it, &a->connections) {
        struct connection *c = list_entry(it, struct connection, node);

        if (c->exchange)
            exchange_abandon(c->exchange);
        else
            connection_shut(c);
    }
    api_run(a);
    loop_watch_done(&a->mhd_watch);
    loop_timer_stop(&a->mhd_timer);
    MHD_stop_daemon(a->mhd);
    a->mhd = NULL;
}

int api_stop(struct api *a, int64_t deadline_ns)
{
    int rc;

    a->stopping = true;
    listener_stop(a->listener);
    api_hurry(a);
    rc = api_wait_quiet(a, deadline_ns);
    co_event_set(&a->end);
    if (a->task.gen)
        co_await(a->task, NULL);
    a->task = (struct co_task){ 0 };
    if (a->mhd)
        co_on_loop(api_stop_mhd, a);
    return rc == -ETIMEDOUT ? 0 : rc;
}

struct api *api_free(struct api *a)
{
    if (!a)
        return NULL;
    loop_timer_stop(&a->mhd_timer);
    connection_queues_done(a);
    listener_free(a->listener);
    host_list_done(&a->hosts);
    table_done(&a->clients.table);
    free(a);
    return NULL;
}
