/*
 * microhttpd's own timeout counts idle time, which a byte a second resets for ever, and it does not
 * look at suspended connections at all (reference: reliability 0.9 and 4.4). It also overlooks a
 * hang-up that arrives together with the last bytes: its epoll is edge triggered, and it does not
 * read again after a short read, so it is made to look again. So each phase in which a client can
 * dawdle has a deadline of ours, and every connection is watched for its peer's end.
 */
#include "api/connection.h"

#include <microhttpd.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "api/exchange.h"
#include "api/reply.h"
#include "daemon/base/clock.h"

#define EVICT_LOOK_MAX  256
#define IDLE_TIMEOUT_US (75 * CLOCK_US_PER_S) /* until the next request's first line is whole */

/* After the peer's end it makes the descriptor readable anew, for an edge triggered epoll. */
void connection_look_again(struct connection *c)
{
    if (c->hung_up)
        shutdown(c->fd, SHUT_RD);
}

static void connection_peer_ready(struct loop_watch *w, unsigned events)
{
    struct connection *c = CONTAINER_OF(w, struct connection, peer);
    struct pollfd p = { .fd = c->fd, .events = POLLRDHUP };

    /* A reset comes as LOOP_READ, like the next request that a client has pipelined. */
    if (!(events & LOOP_CLOSED) && poll(&p, 1, 0) <= 0)
        return;
    c->hung_up = true;
    loop_watch_done(&c->peer);
    connection_look_again(c);
    if (c->exchange)
        exchange_hung_up(c->exchange);
}

struct connection *connection_new(
        struct api *a, struct MHD_Connection *mhd, int fd, const struct sockaddr *address)
{
    struct connection *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->client = clients_enter(&a->clients, fd, address);
    if (!c->client) {
        free(c);
        return NULL;
    }
    c->api = a;
    c->mhd = mhd;
    c->fd = fd;
    c->local = address->sa_family == AF_UNIX;
    loop_watch_init(&c->peer, a->loop, fd, connection_peer_ready);
    connection_watch_reset(c, false);
    deadline_init(&c->deadline);
    deadline_start(&c->deadline, &a->header_deadlines);
    list_append(&a->connections, &c->node);
    a->n_connections++;
    return c;
}

void connection_free(struct connection *c)
{
    if (!c)
        return;
    loop_watch_done(&c->peer);
    deadline_stop(&c->deadline);
    if (c->lingers && !c->api->stopping)
        linger_begin(&c->api->lingers, c->fd);
    list_remove(&c->node);
    c->api->n_connections--;
    c->api->n_evicted -= c->evicted;
    if (c->client)
        clients_leave(&c->api->clients, c->client);
    free(c);
}

void connection_suspend(struct connection *c)
{
    MHD_suspend_connection(c->mhd);
}

void connection_resume(struct connection *c)
{
    MHD_resume_connection(c->mhd);
}

static enum MHD_Result collect_field(void *arg, enum MHD_ValueKind kind, const char *name,
        size_t name_n, const char *value, size_t value_n)
{
    struct framing_head *head = arg;

    (void)kind;
    if (head->n < FRAMING_HEADERS_MAX)
        head->fields[head->n] = (struct framing_field){ name, value ? value : "", name_n, value_n };
    head->n++;
    return head->n > FRAMING_HEADERS_MAX ? MHD_NO : MHD_YES;
}

void connection_fields(struct connection *c, struct framing_head *ret)
{
    MHD_get_connection_values_n(c->mhd, MHD_HEADER_KIND, collect_field, ret);
}

bool connection_awaits_head(const struct connection *c)
{
    return c->deadline.queue == &c->api->header_deadlines;
}

void connection_head_begins(struct connection *c)
{
    if (!connection_awaits_head(c))
        deadline_start(&c->deadline, &c->api->header_deadlines);
}

void connection_body_moves(struct connection *c)
{
    deadline_start(&c->deadline, &c->api->body_deadlines);
}

void connection_no_deadline(struct connection *c)
{
    deadline_stop(&c->deadline);
}

void connection_idles(struct connection *c)
{
    deadline_start(&c->deadline, &c->api->idle_deadlines);
}

void connection_watch_reset(struct connection *c, bool on)
{
    /* Without memory for the watch, a client that leaves is noticed when it is answered. */
    if (!c->hung_up)
        (void)loop_watch_set(&c->peer, on ? LOOP_READ | LOOP_CLOSED : LOOP_CLOSED);
}

void connection_shut(struct connection *c)
{
    shutdown(c->fd, SHUT_RDWR);
}

/* Shuts down the oldest one in the queue, of `client` if that is not NULL. */
static bool evict_from(struct deadline_queue *q, const struct client *client)
{
    int64_t latest_us = clock_mono_us() + q->timeout_us - CONNECTION_GRACE_US;
    unsigned looked = 0;

    list_for_each (it, &q->items) {
        struct deadline *d = list_entry(it, struct deadline, node);
        struct connection *c = CONTAINER_OF(d, struct connection, deadline);

        if (d->at_us > latest_us || ++looked > EVICT_LOOK_MAX)
            return false;
        if (client && c->client != client)
            continue;
        deadline_stop(d);
        c->evicted = true;
        c->api->n_evicted++;
        clients_leave(&c->api->clients, TAKE_PTR(c->client));
        connection_shut(c);
        return true;
    }
    return false;
}

bool connection_evict(struct api *a, const struct client *client)
{
    return a->n_evicted < CONNECTION_EVICTED_MAX &&
           (evict_from(&a->header_deadlines, client) || evict_from(&a->idle_deadlines, client));
}

void connection_refuse(struct connection *c, unsigned status, const char *detail)
{
    char text[512];
    size_t n = reply_format_raw(status, detail, text, sizeof(text));

    (void)!send(c->fd, text, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void connection_too_slow(struct deadline *d)
{
    struct connection *c = CONTAINER_OF(d, struct connection, deadline);

    connection_refuse(c, 408, "the request did not arrive in time");
    connection_shut(c);
}

static void connection_idled(struct deadline *d)
{
    connection_shut(CONTAINER_OF(d, struct connection, deadline));
}

void connection_queues_init(struct api *a)
{
    deadline_queue_init(
            &a->header_deadlines, a->loop, a->options.header_timeout_us, connection_too_slow);
    deadline_queue_init(
            &a->body_deadlines, a->loop, a->options.body_timeout_us, connection_too_slow);
    deadline_queue_init(&a->idle_deadlines, a->loop, IDLE_TIMEOUT_US, connection_idled);
    lingers_init(&a->lingers, a->loop);
}

void connection_queues_done(struct api *a)
{
    deadline_queue_done(&a->header_deadlines);
    deadline_queue_done(&a->body_deadlines);
    deadline_queue_done(&a->idle_deadlines);
    lingers_done(&a->lingers);
}
