/*
 * What tasks of one loop wait for. Waiters are served first come, first served; a hand-off is
 * ownership, so a waiter that is cancelled after it was chosen passes on what it got.
 * Setting, releasing and notifying never suspend and may be done from plain code on the loop.
 * See co.h for the rules.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "daemon/base/list.h"
#include "daemon/co/task.h"

/* A flag. */
struct co_event {
    struct list waiters;
    bool set;
};

void co_event_init(struct co_event *e);
/* All who wait go on. It stays set until it is cleared. */
void co_event_set(struct co_event *e);
void co_event_clear(struct co_event *e);
/* Suspends. At once when it is set. */
CO_SUSPENDS int co_event_wait(struct co_event *e);

/* A gate with a number of permits (asyncio's Semaphore). */
struct co_gate {
    struct list waiters;
    unsigned permits; /* free now */
};

void co_gate_init(struct co_gate *g, unsigned permits);
/* Suspends. Takes one permit. */
CO_SUSPENDS CO_MUST int co_gate_enter(struct co_gate *g);
void co_gate_leave(struct co_gate *g);

/* A lock that knows its owner. Tasks of one loop need it only around what suspends. */
struct co_lock {
    struct list waiters;
    struct co_task owner;
};

void co_lock_init(struct co_lock *l);
/* Suspends. -EDEADLK: it is the caller's already. */
CO_SUSPENDS CO_MUST int co_lock_enter(struct co_lock *l);
/* -EPERM: it is not the caller's. */
int co_lock_leave(struct co_lock *l);

/*
 * A condition: `while (!what_i_want) rc = co_condition_wait(&c);`. Nothing can come between the
 * check and the wait, so a lock goes with it only where one is held for other reasons.
 */
struct co_condition {
    struct list waiters;
};

void co_condition_init(struct co_condition *c);
/* Suspends. Until notified; the caller checks again what it waits for. */
CO_SUSPENDS int co_condition_wait(struct co_condition *c);
/*
 * Suspends. As co_condition_wait(), and the lock is given up for the time of the wait: it is the
 * caller's again whatever is returned. -EPERM if it was not before.
 */
CO_SUSPENDS int co_condition_wait_holding(struct co_condition *c, struct co_lock *lock);
void co_condition_notify(struct co_condition *c, unsigned n);
void co_condition_notify_all(struct co_condition *c);

/* A queue of pointers with room for `capacity`; with 0 each sender waits for its receiver. */
struct co_channel {
    struct list senders, receivers; /* one of them is empty */
    void **items;                   /* a ring */
    size_t capacity, first, n;
    bool closed;
};

/* -ENOMEM. */
CO_MUST int co_channel_init(struct co_channel *c, size_t capacity);
/* Nobody waits. Items that are left are not freed. */
void co_channel_done(struct co_channel *c);
/* Suspends, while there is no room. After an error the item is still the caller's; -EPIPE: closed. */
CO_SUSPENDS CO_MUST int co_channel_send(struct co_channel *c, void *item);
/* Suspends, while there is none. -EPIPE: closed, and empty. */
CO_SUSPENDS CO_MUST int co_channel_receive(struct co_channel *c, void **ret_item);
/* Never suspends. -EAGAIN: no room; -EPIPE. */
CO_MUST int co_channel_try_send(struct co_channel *c, void *item);
/* Never suspends. -EAGAIN: nothing there; -EPIPE. */
CO_MUST int co_channel_try_receive(struct co_channel *c, void **ret_item);
/*
 * No more comes in: senders that wait get -EPIPE, receivers what is left. With `drop`, which is
 * called for each item that is left (free(), say), receivers get -EPIPE at once. Idempotent.
 */
void co_channel_close(struct co_channel *c, void (*drop)(void *item));
