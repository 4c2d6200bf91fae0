/*
 * Steps without a network: a delivery's wait, or all of one that has no URL. They need no
 * coroutine, permit or slot each: those that are due together are done and committed together.
 */
#pragma once

#include "daemon/base/list.h"

struct engine;
struct record;

struct local {
    struct list pending; /* records, in the order in which they are done */
    size_t n;
    unsigned n_tasks;
};

void local_init(struct local *l);
/* The record's next step has no network. */
void local_enter(struct engine *e, struct record *r);
/* Takes it out again, if it is in there. */
void local_withdraw(struct engine *e, struct record *r);
/* Starts what waits. */
void local_pump(struct engine *e);
