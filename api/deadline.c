#include "api/deadline.h"

#include "daemon/base/clock.h"

static void deadline_queue_expired(struct loop_timer *t)
{
    struct deadline_queue *q = CONTAINER_OF(t, struct deadline_queue, timer);
    int64_t now_us = clock_mono_us();

    while (!list_empty(&q->items)) {
        struct deadline *d = list_entry(q->items.next, struct deadline, node);

        if (d->at_us > now_us) {
            loop_timer_set(&q->timer, d->at_us - now_us);
            return;
        }
        deadline_stop(d);
        q->expired(d);
    }
}

void deadline_queue_init(struct deadline_queue *q, struct loop *loop, int64_t timeout_us,
        void (*expired)(struct deadline *d))
{
    list_init(&q->items);
    q->timeout_us = timeout_us;
    q->expired = expired;
    loop_timer_init(&q->timer, loop, deadline_queue_expired);
}

void deadline_queue_done(struct deadline_queue *q)
{
    loop_timer_stop(&q->timer);
}

void deadline_init(struct deadline *d)
{
    list_init(&d->node);
    d->queue = NULL;
}

void deadline_start(struct deadline *d, struct deadline_queue *q)
{
    bool first;

    deadline_stop(d);
    first = list_empty(&q->items);
    d->at_us = clock_mono_us() + q->timeout_us;
    d->queue = q;
    list_append(&q->items, &d->node);
    if (first)
        loop_timer_set(&q->timer, q->timeout_us);
}

void deadline_stop(struct deadline *d)
{
    struct deadline_queue *q = d->queue;

    if (!q)
        return;
    list_remove(&d->node);
    d->queue = NULL;
    if (list_empty(&q->items))
        loop_timer_stop(&q->timer);
}
