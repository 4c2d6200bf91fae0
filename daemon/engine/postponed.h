/*
 * What memory refused: it is tried again soon, by a timer that needs no memory. Nothing that was
 * acknowledged waits for the next start of the daemon.
 */
#pragma once

#include <stdbool.h>

#include "daemon/base/list.h"
#include "daemon/base/loop.h"

struct engine;
struct job;
struct record;
struct run;

struct postponed {
    struct loop_timer timer;
    struct list records, runs;
    struct job *jobs; /* references, linked by next_postponed */
    bool rest;        /* lanes that were closed, local steps, times of what is paged out */
    bool waiting;     /* the timer is set */
};

void postponed_init(struct postponed *p, struct loop *loop);
void postponed_done(struct postponed *p);
/* It is in no queue and not busy: activation_schedule() later. */
void postpone_record(struct record *r);
/* intake_let_in() later. Takes a reference. */
void postpone_job(struct engine *e, struct job *j);
/* activation_refill() later, and what else the run says that it wants. */
void postpone_run(struct run *run);
/* The lanes are closed, local steps have no task, or a due time of the backlog has no timer. */
void postpone_rest(struct engine *e);
