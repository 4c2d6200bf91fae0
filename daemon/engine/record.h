/* The jobs in memory: those that have not ended, and the last ones that have. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/list.h"
#include "daemon/base/table.h"
#include "daemon/base/uuid7.h"
#include "daemon/co/sync.h"
#include "daemon/engine/due.h"
#include "daemon/engine/lane.h"
#include "daemon/model/attempt.h"

struct co_scope;
struct engine;
struct job;
struct run;

struct record {
    struct job *job; /* a reference */
    struct engine *engine;
    struct run *run; /* its batch, while that runs; NULL: none */
    struct table_node by_key;
    struct list place;        /* in records.active, or records.recent once it has ended */
    struct list busy_place;   /* in engine->busy */
    struct list member;       /* in run->members while it has not ended */
    struct list held;         /* in run->held while it is held */
    struct due_item due;      /* next activation */
    struct due_item deadline; /* end of the job */
    struct lane_entry entry;
    struct co_scope *scope;       /* what its activation awaits; NULL: not running, or committing */
    struct co_condition ended;    /* notified when it has ended, and when the service stops */
    struct co_event hop_admitted; /* set when the lane of a redirect's origin admits it */
    bool hopping;                 /* waits for that */
    bool busy;                    /* an activation is live, or its end is being committed */
    enum failure ending;          /* why it is to end as soon as it can; FAILURE_NONE: it is not */
};

struct records {
    struct table by_key;
    struct list active; /* not ended */
    struct list recent; /* ended, oldest first */
    size_t n_active, n_recent;
};

#define RECORDS_RECENT_MAX 10000

void records_init(struct records *r);
/* Frees all records; none may be busy. */
void records_done(struct records *r);
/* Takes the reference. The record is in no queue. NULL: no memory. */
struct record *record_new(struct engine *e, struct job *job);
/* In no table, list or queue (or it never was in one). */
struct record *record_free(struct record *r);
/* -ENOMEM. */
int records_add(struct records *rs, struct record *r);
/* It has ended: it is kept among the recent ones, and the oldest of those goes. */
void records_end(struct records *rs, struct record *r);
/* Forgets and frees it: in no queue, not busy. */
void records_drop(struct records *rs, struct record *r);
/* NULL: not in memory. */
struct record *records_find(const struct records *rs, struct uuid7 id);
