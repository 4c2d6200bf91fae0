/*
 * One step of a job being taken, and what it leaves behind: the request of a fetch, or a
 * delivery's deliver, wait and collect.
 */
#pragma once

#include "daemon/co/suspends.h"
#include "daemon/engine/fetch.h"
#include "daemon/model/job.h"

struct record;

struct step {
    struct record *record;
    struct checkpoint checkpoint; /* checkpoint_init() it first */
    struct fetch_try try;         /* its attempts have moved into the checkpoint */
    struct job_result result;
};

void step_done(struct step *s, int bodies_fd);
/* Takes a step that has no network, fills the checkpoint. */
void step_run_local(struct step *s);
/*
 * The request of the step was cut off with the daemon, after it went out or may have: the
 * checkpoint records that, as the job's on_unknown says: due again, or failed. Without an attempt
 * of the step one is made up. -ENOMEM.
 */
int step_cut(struct step *s, const char *message);
/*
 * At the start, for a job that was in flight when the daemon ended without a word: step_cut(), but
 * after several such ends in a row the job fails. -ENOMEM.
 */
int step_crashed(struct step *s);
/* Suspends. Takes the step, fills the checkpoint. -ECANCELED: stopped from outside, -ENOMEM. */
CO_SUSPENDS int step_run(struct step *s);
/* The checkpoint says that the job ends for this reason. -ENOMEM: without the message. */
int step_fail(struct step *s, enum failure failure, enum phase phase, bool retry_safe,
        const char *message);
/* The same after step_run() was stopped by a cancel or by the job's deadline. */
int step_stopped(struct step *s);
/* The last exchange of this step; NULL: there was none. */
struct attempt *step_last_attempt(const struct step *s);
