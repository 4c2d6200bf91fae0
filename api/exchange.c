/*
 * The life of an exchange, seen from microhttpd's calls of its access handler:
 *
 *   head     the first call. It is checked again (framing.c), then the route, the content type and
 *            the length are looked up. What is wrong is answered here when the client may still be
 *            sending a large body, which ends the connection; else at the end of the request.
 *   body     each piece is taken whole: into the request, or into the bin. An upload that is read
 *            as it arrives suspends the connection while too much of it waits.
 *   answer   the handler runs. The first call of this phase returns without suspending: microhttpd
 *            then no longer reads from the socket, so a client that has closed its sending side
 *            gets its answer, and a quick handler needs no suspend and resume. The next call suspends.
 *   sent     microhttpd has the answer, or pulls it out of `out`.
 *
 * - A suspended exchange has `suspended` set; it is resumed once, by way of api.woken.
 * - microhttpd, the handler and a streamed answer each hold one reference.
 * - Resets by the peer are watched for only while the handler waits for something long, or streams.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/exchange_state.h"
#include "daemon/base/log.h"

struct exchange *exchange_begin(struct connection *c, const char *target)
{
    struct exchange *x = calloc(1, sizeof(*x));

    if (!x)
        return NULL;
    x->target = strdup(target);
    if (!x->target) {
        free(x);
        return NULL;
    }
    x->refs = 1;
    x->api = c->api;
    x->connection = c;
    x->method = "?";
    x->request.service = c->api->service;
    x->request.options = &c->api->options;
    x->reply = (struct reply)REPLY_INIT;
    list_init(&x->woken);
    co_condition_init(&x->moved);
    c->exchange = x;
    c->api->n_exchanges++;
    connection_head_begins(c);
    return x;
}

void exchange_unref(struct exchange *x)
{
    if (--x->refs > 0)
        return;
    list_remove(&x->woken);
    request_done(&x->request);
    x->request.body.n = 0;
    x->handler_holds = 0;
    exchange_account(x);
    exchange_account_answer(x, 0);
    x->api->n_waiters -= x->waits;
    reply_done(&x->reply);
    buf_done(&x->out);
    free(x->target);
    if (--x->api->n_exchanges == 0)
        co_condition_notify_all(&x->api->quiet);
    free(x);
}

void exchange_account(struct exchange *x)
{
    int64_t now = x->handler_holds + (int64_t)x->request.body.n, before = x->held;

    x->held = now;
    x->api->request_bytes += now - before;
    if (now < before)
        co_condition_notify_all(&x->api->less_held);
}

bool exchange_is_too_much(const struct exchange *x, int64_t more)
{
    int64_t all = x->api->request_bytes + more, own = x->held + more;
    int64_t most = x->api->options.request_memory_bytes;

    if (own > EXCHANGE_SMALL_BYTES)
        most -= most / 4;
    return all > most && all > own;
}

void exchange_account_answer(struct exchange *x, size_t n)
{
    x->api->answer_bytes += (int64_t)n - x->answer_held;
    x->answer_held = (int64_t)n;
}

bool exchange_answers_are_too_large(const struct exchange *x)
{
    int64_t all = x->api->answer_bytes;

    return all > x->api->options.answer_memory_bytes && all > x->answer_held;
}

void exchange_suspend(struct exchange *x)
{
    if (x->suspended)
        return;
    x->suspended = true;
    connection_suspend(x->connection);
    if (x->waiting || x->streaming)
        connection_watch_reset(x->connection, true);
}

/* microhttpd calls us again, from its next run. */
void exchange_wake(struct exchange *x)
{
    if (!x->connection)
        return;
    if (x->suspended && list_empty(&x->woken))
        list_append(&x->api->woken, &x->woken);
    api_kick(x->api);
}

void exchange_resume(struct list *node)
{
    struct exchange *x = list_entry(node, struct exchange, woken);

    list_remove(node);
    if (!x->suspended)
        return;
    x->suspended = false;
    if (x->waiting || x->streaming)
        connection_watch_reset(x->connection, false);
    if (x->phase == EXCHANGE_BODY)
        connection_body_moves(x->connection);
    connection_resume(x->connection);
}

static void exchange_set_gone(struct exchange *x)
{
    x->gone = true;
    if (x->waiting)
        co_scope_cancel(x->waiting);
    co_condition_notify_all(&x->moved);
}

void exchange_gone(struct exchange *x)
{
    exchange_set_gone(x);
    exchange_wake(x);
}

/* Who asked for something quick gets it yet: the peer may have closed its sending side only. */
void exchange_hung_up(struct exchange *x)
{
    if (x->waiting || x->streaming)
        exchange_gone(x);
}

void exchange_stop(struct exchange *x)
{
    if (x->waiting)
        co_scope_cancel(x->waiting);
}

void exchange_abandon(struct exchange *x)
{
    exchange_gone(x);
    if (!x->suspended && x->connection)
        connection_shut(x->connection);
}

void exchange_end(struct exchange *x)
{
    struct connection *c = x->connection;

    log_debug("%s %s: %u%s", x->method, x->target, x->status,
            x->phase == EXCHANGE_SENT ? "" : ", not answered");
    x->body_cut = !x->body_ended;
    if (x->phase != EXCHANGE_SENT || (x->streaming && !x->stream_ended))
        exchange_set_gone(x);
    co_condition_notify_all(&x->moved);
    list_remove(&x->woken);
    x->suspended = false;
    x->connection = NULL;
    c->exchange = NULL;
    connection_idles(c);
    connection_look_again(c);
    exchange_unref(x);
}

/* The path as it was meant, without the query: that may hold what is nobody's business. */
static void exchange_name(const struct exchange *x)
{
    char name[CO_NAME_SIZE];

    snprintf(name, sizeof(name), "%s %s", x->method, x->request.path);
    co_name_set(name);
}

static int exchange_main(void *arg)
{
    struct exchange *x = arg;
    int rc;

    exchange_name(x);
    rc = x->handle(&x->request, &x->reply);
    if (x->streaming) {
        x->stream_ended = true;
        x->stream_whole = rc == 0;
    } else {
        if (rc < 0)
            reply_error(&x->reply, x->request.service, rc);
        if (rc == -ECANCELED)
            x->reply.close = true;
        x->ready = true;
    }
    exchange_wake(x);
    exchange_unref(x);
    return 0;
}

void exchange_spawn(struct exchange *x)
{
    int rc = -ESHUTDOWN;

    x->refs++;
    if (x->api->handlers)
        rc = co_group_spawn(x->api->handlers, x->route->path, exchange_main, x, NULL);
    if (rc == 0)
        return;
    x->refs--;
    reply_error(&x->reply, x->request.service, rc);
    x->ready = true;
}

bool exchange_call(
        struct exchange *x, const char *method, const char *version, const char *data, size_t n)
{
    switch (x->phase) {
    case EXCHANGE_HEAD:
        return intake_head(x, method, version);
    case EXCHANGE_BODY:
        if (data)
            return intake_body(x, data, n);
        intake_end(x);
        return x->ready ? answer_send(x) : true;
    case EXCHANGE_ANSWER:
        if (x->gone)
            return false;
        if (x->ready)
            return answer_send(x);
        exchange_suspend(x);
        return true;
    case EXCHANGE_SENT:
        return false;
    }
    return false;
}
