/*
 * The run of a job from one checkpoint to the next (DESIGN section 4): due → lane → a coroutine
 * that does one step → commit → ended, or due again.
 */
#pragma once

#include "daemon/co/suspends.h"
#include "daemon/model/job.h"

struct engine;
struct record;
struct run;

/* Sets the record's callbacks; once, before activation_schedule(). */
void activation_prepare(struct record *r);
/* Puts a record that is not busy where its job stands: held back, due later, or into its lane. */
void activation_schedule(struct record *r);
/*
 * Suspends. Ends a job that is not busy, with `failure` (FAILURE_CANCELLED: state cancelled, else
 * failed). 0 once it is committed; -errno: the store failed, or memory.
 */
CO_SUSPENDS int activation_end(struct record *r, enum failure failure);
/* Lets go whom the batch's concurrency allows. */
void activation_refill(struct run *run);
/* Suspends. Cancels every member of the batch that has not ended, until that is committed. -ESHUTDOWN: the daemon stopped first. */
CO_SUSPENDS int activation_cancel_run(struct engine *e, struct run *run);
/* Does that in a task of its own. */
void activation_cancel_rest(struct run *run);
