/*
 * What tasks of one loop wait for. Waiters are served first come, first served; a hand-off is
 * ownership, so a waiter that is cancelled after it was chosen passes on what it got.
 * Setting, releasing and notifying never suspend and may be done from plain code on the loop.
 * See co.h for the rules.
 */
#pragma once

#include <stdbool.h>

#include "daemon/base/list.h"

/* A flag that stays set. */
struct co_event {
    struct list waiters;
    bool set;
};

void co_event_init(struct co_event *e);
void co_event_set(struct co_event *e);
/* Suspends. At once when it is set. */
int co_event_wait(struct co_event *e);

/* A gate with a number of permits (asyncio's Semaphore). */
struct co_gate {
    struct list waiters;
    unsigned permits; /* free now */
};

void co_gate_init(struct co_gate *g, unsigned permits);
/* Suspends. Takes one permit. */
int co_gate_enter(struct co_gate *g);
void co_gate_leave(struct co_gate *g);

/*
 * A condition. Tasks of one loop can't interleave between a check and the wait, so no lock goes
 * with it: `while (!what_i_want) rc = co_condition_wait(&c);`
 */
struct co_condition {
    struct list waiters;
};

void co_condition_init(struct co_condition *c);
/* Suspends. Until notified; the caller checks again what it waits for. */
int co_condition_wait(struct co_condition *c);
void co_condition_notify(struct co_condition *c, unsigned n);
void co_condition_notify_all(struct co_condition *c);
