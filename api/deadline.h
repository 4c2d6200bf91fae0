/*
 * Deadlines that are all the same time away: a queue in order of time with one timer, which is set
 * only while somebody is in it.
 */
#pragma once

#include <stdint.h>

#include "daemon/base/list.h"
#include "daemon/base/loop.h"

struct deadline {
    struct list node;
    int64_t at_us;                /* monotonic */
    struct deadline_queue *queue; /* NULL: in none */
};

struct deadline_queue {
    struct list items;
    struct loop_timer timer;
    int64_t timeout_us;
    /* The item is out of the queue then. */
    void (*expired)(struct deadline *d);
};

void deadline_queue_init(struct deadline_queue *q, struct loop *loop, int64_t timeout_us,
        void (*expired)(struct deadline *d));
void deadline_queue_done(struct deadline_queue *q);

void deadline_init(struct deadline *d);
/* The whole time from now; leaves the queue that it was in. */
void deadline_start(struct deadline *d, struct deadline_queue *q);
/* Idempotent. */
void deadline_stop(struct deadline *d);
