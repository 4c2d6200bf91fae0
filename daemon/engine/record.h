/* The jobs in memory: those that have not ended and are not paged out, and the last ones that ended. */
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
    struct list postponed;    /* in engine->postponed: memory lacked for its queue */
    struct list local;        /* in engine->local: a step without network is next */
    struct due_item due;      /* next activation */
    struct due_item deadline; /* end of the job */
    struct lane_entry entry;
    struct co_scope *scope;       /* what its activation awaits; NULL: not running, or committing */
    struct co_event hop_admitted; /* set when the lane of a redirect's origin admits it */
    struct uuid7 successor;       /* who is let go when its end is committed; key 0: nobody */
    int64_t bytes;                /* what it counts for in the window */
    bool hopping;                 /* waits for hop_admitted */
    bool busy;                    /* an activation is live, or its end is being committed */
    bool later;                   /* counts among those that are not due yet */
    enum failure ending;          /* why it is to end as soon as it can; FAILURE_NONE: it is not */
};

/*
 * How much is in memory, of what may be. What runs is bounded by the slots and not counted in `n`,
 * but in `bytes`. A submit takes its share when it decides that a job stays in memory.
 */
struct window {
    unsigned max, n;
    unsigned n_later; /* of n: not due yet; half of the window is theirs */
    int64_t max_bytes, bytes;
};

struct records {
    struct table by_key;
    struct list active; /* not ended */
    struct list recent; /* ended, oldest first */
    size_t n_recent;
    int64_t recent_bytes;
    struct window window;
};

#define RECORDS_RECENT_MAX       10000
#define RECORDS_RECENT_MAX_BYTES (16 << 20)

void records_init(struct records *r, unsigned window, int64_t window_bytes);
/* Frees all records; none may be busy. */
void records_done(struct records *r);
/* Takes the reference. The record is in no queue. NULL: no memory. */
struct record *record_new(struct engine *e, struct job *job);
/* In no table, list or queue (or it never was in one). */
struct record *record_free(struct record *r);
/* -ENOMEM. */
int records_add(struct records *rs, struct record *r);
/* It has ended: it is kept among the recent ones, and the oldest of those go. */
void records_end(struct records *rs, struct record *r);
/* Forgets and frees it: in no queue, not busy. */
void records_drop(struct records *rs, struct record *r);
/* NULL: not in memory. */
struct record *records_find(const struct records *rs, struct uuid7 id);

/* The live set: records that run or whose end is being committed. */
void record_enter_busy(struct record *r);
void record_leave_busy(struct record *r);
/* Whether it is due at some later time, in memory. */
void record_set_later(struct record *r, bool later);

/* What may be taken of the bytes; the rest is for lanes whose next job could start at once. */
int64_t window_shared_bytes(const struct window *w);
/* Room for one more; `later`: one that is not due yet. */
bool window_has_room(const struct window *w, bool later);
void window_take(struct window *w, int64_t bytes);
void window_give_back(struct window *w, int64_t bytes);
