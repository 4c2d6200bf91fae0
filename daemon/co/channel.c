/*
 * A sender hands its item to the first receiver that waits; a receiver takes the oldest item, and
 * the first sender that waits puts its own into the place. So nobody comes in between, and waiters
 * of both kinds are never there at once. What was handed over stays so: a task that was cancelled
 * meanwhile learns of it at its next call.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "daemon/co/ready.h"
#include "daemon/co/sync.h"

/* A sender and what it brings, or a receiver and what it got. */
struct channel_waiter {
    struct co_waiter waiter;
    void *item;
    bool refused; /* the channel was closed */
};

static struct channel_waiter *channel_choose(struct list *waiters)
{
    struct co_waiter *w = co_waiters_choose(waiters);

    return w ? CONTAINER_OF(w, struct channel_waiter, waiter) : NULL;
}

static void ring_put(struct co_channel *c, void *item)
{
    size_t last = c->first + c->n++;

    c->items[last < c->capacity ? last : last - c->capacity] = item;
}

static void *ring_get(struct co_channel *c)
{
    void *item = c->items[c->first];

    if (++c->first == c->capacity)
        c->first = 0;
    c->n--;
    return item;
}

int co_channel_init(struct co_channel *c, size_t capacity)
{
    *c = (struct co_channel){ .capacity = capacity };
    list_init(&c->senders);
    list_init(&c->receivers);
    if (capacity == 0)
        return 0;
    c->items = reallocarray(NULL, capacity, sizeof(void *));
    return c->items ? 0 : -ENOMEM;
}

void co_channel_done(struct co_channel *c)
{
    assert(list_empty(&c->senders) && list_empty(&c->receivers));
    free(c->items);
    c->items = NULL;
}

int co_channel_try_send(struct co_channel *c, void *item)
{
    struct channel_waiter *w;

    if (c->closed)
        return -EPIPE;
    w = channel_choose(&c->receivers);
    if (w)
        w->item = item;
    else if (c->n < c->capacity)
        ring_put(c, item);
    else
        return -EAGAIN;
    return 0;
}

int co_channel_try_receive(struct co_channel *c, void **ret_item)
{
    struct channel_waiter *w;

    if (c->n > 0) {
        *ret_item = ring_get(c);
        w = channel_choose(&c->senders);
        if (w)
            ring_put(c, w->item);
        return 0;
    }
    w = channel_choose(&c->senders); /* without capacity */
    if (!w)
        return c->closed ? -EPIPE : -EAGAIN;
    *ret_item = w->item;
    return 0;
}

static int channel_wait(struct channel_waiter *w, struct fiber *f, struct list *waiters,
        enum co_awaits awaits, const struct co_channel *c)
{
    if (!co_waiter_wait(&w->waiter, f, waiters, awaits, c))
        return -ECANCELED;
    return w->refused ? -EPIPE : 0;
}

int co_channel_send(struct co_channel *c, void *item)
{
    struct fiber *f = fiber_self();
    struct channel_waiter w = { .item = item };
    int rc = fiber_check(f);

    if (rc == 0)
        rc = co_channel_try_send(c, item);
    return rc == -EAGAIN ? channel_wait(&w, f, &c->senders, CO_AWAITS_SEND, c) : rc;
}

int co_channel_receive(struct co_channel *c, void **ret_item)
{
    struct fiber *f = fiber_self();
    struct channel_waiter w = { 0 };
    int rc = fiber_check(f);

    if (rc == 0)
        rc = co_channel_try_receive(c, ret_item);
    if (rc != -EAGAIN)
        return rc;
    rc = channel_wait(&w, f, &c->receivers, CO_AWAITS_RECEIVE, c);
    if (rc == 0)
        *ret_item = w.item;
    return rc;
}

static void channel_refuse(struct list *waiters)
{
    struct channel_waiter *w;

    while ((w = channel_choose(waiters)))
        w->refused = true;
}

void co_channel_close(struct co_channel *c, void (*drop)(void *item))
{
    c->closed = true;
    channel_refuse(&c->senders);
    channel_refuse(&c->receivers);
    while (drop && c->n > 0)
        drop(ring_get(c));
}
