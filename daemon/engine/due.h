/* Due times: what is to happen at a daemon time, and one timer for the earliest. */
#pragma once

#include <stdint.h>

#include "daemon/base/clock.h"
#include "daemon/base/heap.h"
#include "daemon/base/loop.h"

/* A member of its owner. */
struct due_item {
    struct heap_item place;
    void (*due)(struct due_item *i); /* out of the heap by then; must not suspend */
};

struct due {
    struct heap heap;
    struct loop_timer timer;
    const struct clock *clock;
    int64_t armed_us; /* what the timer is set for; CLOCK_NEVER: not set */
};

void due_init(struct due *d, struct loop *loop, const struct clock *clock);
void due_done(struct due *d);
void due_item_init(struct due_item *i, void (*due)(struct due_item *i));
/* -ENOMEM. */
int due_add(struct due *d, struct due_item *i, int64_t at_us);
/*
 * After daemon time went on while timers did not (clock_watch): sets the timer anew. What is over
 * by now comes in the loop's next turns.
 */
void due_recheck(struct due *d);
/* Idempotent. */
void due_remove(struct due *d, struct due_item *i);
