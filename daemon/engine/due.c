#include "daemon/engine/due.h"

#include "daemon/base/cleanup.h"

/* One pass calls at most so many, so that a burst leaves the loop's other work its turn. */
#define DUE_AT_ONCE 256

static void due_arm(struct due *d)
{
    int64_t at_us, in_us;

    if (!heap_first(&d->heap, &at_us)) {
        loop_timer_stop(&d->timer);
        d->armed_us = CLOCK_NEVER;
        return;
    }
    if (at_us == d->armed_us)
        return;
    in_us = at_us - clock_now_us(d->clock);
    loop_timer_set(&d->timer, in_us > 0 ? in_us : 0);
    d->armed_us = at_us;
}

static void due_expired(struct loop_timer *t)
{
    struct due *d = CONTAINER_OF(t, struct due, timer);
    int64_t now_us = clock_now_us(d->clock), at_us;
    struct heap_item *first;

    d->armed_us = CLOCK_NEVER;
    for (int i = 0; i < DUE_AT_ONCE; i++) {
        first = heap_first(&d->heap, &at_us);
        if (!first || at_us > now_us)
            break;
        heap_remove(&d->heap, first);
        CONTAINER_OF(first, struct due_item, place)
                ->due(CONTAINER_OF(first, struct due_item, place));
    }
    due_arm(d);
}

void due_init(struct due *d, struct loop *loop, const struct clock *clock)
{
    *d = (struct due){ .clock = clock, .armed_us = CLOCK_NEVER };
    loop_timer_init(&d->timer, loop, due_expired);
}

void due_done(struct due *d)
{
    loop_timer_stop(&d->timer);
    heap_done(&d->heap);
}

void due_item_init(struct due_item *i, void (*due)(struct due_item *i))
{
    heap_item_init(&i->place);
    i->due = due;
}

int due_add(struct due *d, struct due_item *i, int64_t at_us)
{
    int rc = heap_add(&d->heap, &i->place, at_us);

    if (rc == 0)
        due_arm(d);
    return rc;
}

void due_remove(struct due *d, struct due_item *i)
{
    heap_remove(&d->heap, &i->place);
    due_arm(d);
}

void due_recheck(struct due *d)
{
    d->armed_us = CLOCK_NEVER;
    due_arm(d);
}
