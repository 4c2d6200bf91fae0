/* Running batches: who may go, what is counted, when it is over (DESIGN section 8, batch). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/list.h"
#include "daemon/base/table.h"
#include "daemon/co/sync.h"
#include "daemon/engine/due.h"
#include "daemon/model/batch.h"

struct checkpoint;
struct engine;
struct record;

struct run {
    struct engine *engine;
    struct batch batch;  /* as committed */
    struct batch posted; /* as it will be when all that is on its way to the store is committed */
    struct table_node by_key;
    struct list members;   /* records: those in memory that have not ended */
    struct list held;      /* those of them that are held back, in the order of their index */
    unsigned n_held;       /* how many these are */
    bool held_out;         /* more that are held back may be paged out ... */
    int64_t held_from;     /* ... from this index on */
    bool paging_held;      /* they are being brought in */
    unsigned missing_from; /* memory refuses a record to the member of this index, as yet */
    unsigned let_go;       /* members that are neither held nor ended nor on their way to it */
    bool cancelling;       /* nobody is let go any more */
    bool ending_rest;      /* a task cancels the members, or is about to */
    bool wants_cancel;     /* the latter, for memory lacked */
    struct list postponed; /* in engine->postponed */
    struct co_condition changed; /* a member has ended; the service stops */
    unsigned users;              /* who waits for it */
};

struct runs {
    struct table by_key;
    size_t n;
};

void runs_done(struct runs *rs);
/* A run for a batch as it stands in the store, all of its members out of memory. NULL: no memory. */
struct run *run_new(struct engine *e, struct runs *rs, const struct batch *b);
struct run *runs_find(const struct runs *rs, struct uuid7 id);
/* Forgets a run without members, whose batch was not accepted. */
void run_discard(struct runs *rs, struct run *run);
/* Forgets a run that is over and that nobody uses. */
void run_drop_unused(struct runs *rs, struct run *run);
/* The member joins; held or let go as its job says. */
void run_join(struct run *run, struct record *r);
/* A member that is held according to the store runs already: it was let go without a word to the store. */
void run_let_go(struct run *run, struct record *r);
/* A member's shown state changes. */
void run_count(struct run *run, enum job_state from, enum job_state to);
/*
 * Before a member's end is committed: gives it its finished_seq, adds it to the sums and chooses
 * who is let go with it (*ret_successor; NULL: nobody). Returns what to commit along: the batch
 * when this is its last member, else NULL.
 */
const struct batch *run_post_end(
        struct run *run, struct record *r, struct checkpoint *c, struct record **ret_successor);
/* After the commit. */
void run_end_member(struct run *run, struct record *r);
/* Memory refused the member a record: nobody behind it is let go until run_retry(). */
void run_miss(struct run *run, const struct job *j);
/* Before those that memory refused are tried again. */
void run_retry(struct run *run);
/*
 * Whether more of those that are held back should be brought in; without room: to go on at once.
 * Not while memory refuses one: the others would be read and refused, too, a whole batch of them.
 */
bool run_wants_held(const struct run *run, bool room);
/* Who else may go now, in the order of their index; NULL: nobody in memory. It is let go by this. */
struct record *run_choose_successor(struct run *run);
/* At the start, with all members joined: it may be over already. */
void run_settle(struct run *run);
bool run_over(const struct run *run);
