/* Ends from outside: cancels, deadlines. */
#pragma once

#include "daemon/co/suspends.h"
#include "daemon/model/job.h"

struct engine;
struct record;
struct run;

/*
 * Suspends. Ends a job that is not busy, with `failure` (FAILURE_CANCELLED: state cancelled, else
 * failed). 0 once it is committed; -errno: the store failed, or memory.
 */
CO_SUSPENDS int ending_now(struct record *r, enum failure failure);
/* A cancel or the deadline came, and nothing of the job runs: it ends in a task of its own. */
void ending_soon(struct record *r);
/*
 * Suspends. Cancels every member of the batch that has not ended, in memory or not, until that is
 * committed. -ESHUTDOWN: the daemon stopped first.
 */
CO_SUSPENDS int ending_cancel_run(struct engine *e, struct run *run);
/* Does that in a task of its own. */
void ending_cancel_rest(struct run *run);
