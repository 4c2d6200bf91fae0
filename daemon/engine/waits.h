/* Who waits for the end of a job, whether that is in memory or not. */
#pragma once

#include "daemon/base/table.h"
#include "daemon/base/uuid7.h"
#include "daemon/co/sync.h"

struct job;

/* One for each job that somebody waits for. */
struct wait {
    struct table_node by_key;
    struct uuid7 id;
    struct co_condition changed; /* the job has ended, or the service stops */
    struct job *job;             /* a reference, once it has ended; until then NULL */
    unsigned users;
};

struct waits {
    struct table by_key;
};

void waits_done(struct waits *w);
/* From now on the job's end is not missed. NULL: no memory. */
struct wait *wait_enter(struct waits *ws, struct uuid7 id);
void wait_leave(struct waits *ws, struct wait *w);
/* The job has ended. */
void waits_end(struct waits *ws, struct job *j);
/* All look again at what they wait for. */
void waits_wake(struct waits *ws);
