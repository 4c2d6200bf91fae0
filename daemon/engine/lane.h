/*
 * Lanes: everything that goes to one origin, first come first served by priority, with a limit per
 * lane and one (the slots) over all; lanes that have work take turns (DESIGN section 4).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/heap.h"
#include "daemon/base/list.h"
#include "daemon/base/table.h"

struct lane;
struct lane_options;

/* What queues in a lane: a member of its owner. */
struct lane_entry {
    struct heap_item place; /* in the lane's queue */
    struct list hop;        /* in the lane's list of those that have a slot already */
    struct lane *lane;      /* queued in, or holding a permit of; NULL: neither */
    /* Called with a permit (and a slot, unless it had one) when its turn has come. Must not suspend. */
    void (*admit)(struct lane_entry *e);
    int64_t since_us; /* CLOCK_MONOTONIC: when it was queued */
};

struct lanes {
    struct table by_origin;
    struct list turns;                  /* lanes that could admit somebody if there was a slot */
    const struct lane_options *options; /* owned copy, sorted by origin */
    size_t n_options;
    unsigned concurrency; /* of an origin that the options do not name */
    unsigned free_slots;
    uint64_t next_place;
    void (*low)(struct lanes *l, int64_t key); /* fewer than `low_mark` queue in this lane now */
    unsigned low_mark;
    bool open; /* admits at all */
};

/* Closed at first. -ENOMEM. */
int lanes_init(struct lanes *l, unsigned slots, unsigned concurrency,
        const struct lane_options *options, size_t n_options);
/* Says when a lane has few left that queue. It may be called from within every call below. */
void lanes_set_low(struct lanes *l, unsigned low_mark, void (*low)(struct lanes *l, int64_t key));
/* Nothing may be queued or hold a permit. */
void lanes_done(struct lanes *l);
/* New limits, for what queues already too. -ENOMEM: nothing changed. */
int lanes_set_limits(struct lanes *l, unsigned concurrency, const struct lane_options *options,
        size_t n_options);
/* The lane_key() of a node of by_origin. */
int64_t lane_key_of(const struct table_node *node);
/* How many queue in the lanes of this lane_key(). */
size_t lanes_queued(const struct lanes *l, int64_t key);
/* Whether nobody queues in them, or holds a permit. */
bool lanes_is_idle(const struct lanes *l, int64_t key);
/* Whether nobody queues in them though there is a permit: the next one starts as soon as there is a slot. */
bool lanes_want_more(const struct lanes *l, int64_t key);
void lanes_open(struct lanes *l);
void lanes_close(struct lanes *l);

void lane_entry_init(struct lane_entry *e, void (*admit)(struct lane_entry *e));
/*
 * Queues the entry for `origin` and admits whom it can. A higher `priority` goes
 * first. `has_slot`: its owner runs already and needs a permit only; it goes before all others.
 * -ENOMEM.
 */
int lane_enter(
        struct lanes *l, struct lane_entry *e, const char *origin, int priority, bool has_slot);
/* Takes it out of the queue, if it is in one. */
void lane_withdraw(struct lanes *l, struct lane_entry *e);
/* Gives the permit back, if it holds one; somebody else is admitted. */
void lane_leave(struct lanes *l, struct lane_entry *e);
/* Gives a slot back; somebody else is admitted. */
void lanes_return_slot(struct lanes *l);
