/*
 * What is paged out (store.h, "paging"), and when it comes back: for each lane, by priority, the
 * earliest due time. A lane gets its next jobs when few of its own are left in memory, so a lane
 * with a million jobs takes no more of it than another; lanes take turns.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/list.h"
#include "daemon/base/table.h"
#include "daemon/co/suspends.h"
#include "daemon/engine/due.h"
#include "daemon/model/job.h"

struct engine;
struct run;

struct backlog {
    struct table lanes;   /* of those that have jobs out */
    struct list wanting;  /* lanes that want a page, in turn ... */
    struct list hungry;   /* ... and before these, those whose next job could start at once */
    unsigned n_pagers;    /* tasks that bring pages in */
    int64_t ends_us;      /* no deadline of what is out is earlier; CLOCK_NEVER: none */
    struct due_item ends; /* brings in what is over */
    bool ending;          /* a task does that */
};

#define BACKLOG_LANE_AHEAD \
    1024                      /* jobs of a lane that queue in memory however little room there is */
#define BACKLOG_HELD_AHEAD 64 /* members of a batch that it holds back in memory, the same */

void backlog_init(struct backlog *b);
void backlog_done(struct backlog *b, struct due *due);
/*
 * Whether a job that is about to be stored as not held, due at `due_us` with `step`, is to be
 * paged out: for want of room, or because others of its lane that are out come before it.
 */
bool backlog_keeps_out(struct engine *e, const struct job *j, enum job_step step, int64_t due_us);
/* A job that is not held is out. -ENOMEM: it would not be found. */
int backlog_note(struct engine *e, int64_t lane, int priority, int64_t due_us);
/* A job that is out, held or not, has this deadline; 0: none. */
void backlog_note_ends(struct engine *e, int64_t ends_us);
/* The lane has few jobs left in memory. */
void backlog_lane_low(struct engine *e, int64_t lane);
/* There is more room in memory. */
void backlog_room_made(struct engine *e);
/* Sets the timers that memory lacked for. */
void backlog_rearm(struct engine *e);
/* After a step of the wall clock: due times that were noted may be wrong. */
void backlog_recheck(struct engine *e);
/* Whether jobs of the lane are out. */
bool backlog_has_lane(const struct backlog *b, int64_t lane);
/* Suspends. Brings in the next members that the batch holds back, if more may be out. */
CO_SUSPENDS int backlog_page_held(struct engine *e, struct run *run);
