/*
 * A record is in exactly one place: held by its batch, in the due heap, queued in a lane, or busy
 * (an activation is live or its end is being committed). Every way out of busy goes through
 * activation_release(), which looks once more whether a cancel or the deadline came meanwhile.
 */
#include "daemon/engine/activation.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/co/co.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/step.h"
#include "daemon/store/store.h"

#define SPAWN_RETRY_US  100000       /* no memory for a coroutine: everybody is tried again then */
#define COMMIT_RETRY_NS 1000000000LL /* no space for a checkpoint: again then */
#define END_AT_ONCE     256          /* jobs of a batch that one transaction ends */

static void activation_show_running(struct record *r, bool running)
{
    struct job *j = r->job;

    if (j->running == running)
        return;
    if (r->run)
        run_count(r->run, running ? j->state : JOB_RUNNING, running ? JOB_RUNNING : j->state);
    j->running = running;
}

static void activation_enter_busy(struct record *r)
{
    assert(!r->busy);
    r->busy = true;
    list_append(&r->engine->busy, &r->busy_place);
    r->engine->n_busy++;
}

static void activation_leave_busy(struct record *r)
{
    assert(r->busy);
    r->busy = false;
    list_remove(&r->busy_place);
    if (--r->engine->n_busy == 0)
        co_condition_notify_all(&r->engine->quiet);
}

/* --- the end of a step: commit, then apply --- */

/* Suspends. Until it is committed, however long space or memory lack; -errno: it never will be. */
CO_SUSPENDS static int activation_commit(struct engine *e, struct checkpoint *const *checkpoints,
        size_t n, const struct batch *batch)
{
    struct co_scope scope;
    int rc;

    for (;;) {
        rc = 0;
        for (size_t i = 0; i < n && rc == 0; i++)
            rc = job_make_room(checkpoints[i]->job, checkpoints[i]);
        if (rc == 0)
            rc = store_checkpoint(e->store, checkpoints, n, batch);
        if ((rc != -ENOSPC && rc != -ENOMEM) || e->stopping)
            return rc;
        co_scope_open(&scope, CO_NEVER, CO_SHIELD);
        co_sleep(COMMIT_RETRY_NS);
        co_scope_close(&scope, 0);
    }
}

CO_SUSPENDS static int activation_cancel_run_main(void *arg)
{
    struct run *run = arg;
    struct engine *e = run->engine;
    int rc = activation_cancel_run(e, run);

    run->users--;
    run_drop_unused(&e->runs, run);
    return rc;
}

static void activation_start_cancel(struct run *run)
{
    struct engine *e = run->engine;

    if (co_spawn_detached("batch cancel", activation_cancel_run_main, run) < 0 &&
            due_add(&e->due, &run->cancel_again, clock_now_us(&e->clock) + SPAWN_RETRY_US) < 0)
        log_error("no memory to cancel the rest of a batch: it ends at the next start");
}

static void activation_cancel_again(struct due_item *item)
{
    activation_start_cancel(CONTAINER_OF(item, struct run, cancel_again));
}

void activation_cancel_rest(struct run *run)
{
    run->users++; /* until that task has ended */
    due_item_init(&run->cancel_again, activation_cancel_again);
    activation_start_cancel(run);
}

static void activation_log_failure(struct engine *e, const struct job *j)
{
    char id[UUID7_TEXT_SIZE];

    if (j->state != JOB_FAILED || !log_limit_pass(&e->failures))
        return;
    uuid7_format(j->id, id);
    log_event(LOG_LEVEL_INFO,
            LOG_FIELDS({ "JOB", id }, { "LANE", j->spec.request.origin },
                    { "CODE", failure_name(j->error.failure) }),
            "job failed: %s", j->error.message ? j->error.message : "");
}

static void activation_let_go(struct record *r)
{
    r->job->held = false;
    if (!r->busy)
        activation_schedule(r);
}

void activation_refill(struct run *run)
{
    struct record *r;

    while ((r = run_choose_successor(run)))
        activation_let_go(r);
}

/* The checkpoint of a busy record is committed. */
static void activation_apply(struct record *r, struct checkpoint *c)
{
    struct run *run = r->run;

    activation_show_running(r, false);
    if (run && r->job->state != c->state)
        run_count(run, r->job->state, c->state);
    job_apply(r->job, c);
    if (!job_state_ended(r->job->state))
        return;

    activation_log_failure(r->engine, r->job);
    if (!run)
        return;
    run_end_member(run, r);
    if (r->job->state == JOB_FAILED && run->cancelling && !run->batch.cancelled)
        activation_cancel_rest(run); /* on_error "cancel": the first failure ends the others */
    run_drop_unused(&r->engine->runs, run);
}

/*
 * Suspends. Commits the checkpoints of busy records and applies them. Several records belong to a
 * batch that is being cancelled, so only a single one can have a successor.
 */
CO_SUSPENDS static int activation_conclude(
        struct record *const *records, struct checkpoint *const *checkpoints, size_t n)
{
    struct engine *e = records[0]->engine;
    const struct batch *last = NULL;
    struct record *successor = NULL;
    struct uuid7 next = { 0 };
    struct batch over;
    int rc;

    for (size_t i = 0; i < n; i++) {
        if (!records[i]->run || !job_state_ended(checkpoints[i]->state))
            continue;
        last = run_post_end(records[i]->run, records[i], checkpoints[i], &successor);
        if (successor) {
            assert(n == 1);
            next = successor->job->id;
            checkpoints[i]->release = &next.key;
            checkpoints[i]->n_release = 1;
        }
    }
    if (last)
        over = *last; /* the store reads it while the run goes on */
    rc = activation_commit(e, checkpoints, n, last ? &over : NULL);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++)
        activation_apply(records[i], checkpoints[i]);
    successor = next.key ? records_find(&e->records, next) : NULL;
    if (successor && !job_state_ended(successor->job->state))
        activation_let_go(successor);
    return 0;
}

/* No longer busy: over, or on with it, unless the daemon stops. */
static void activation_release(struct record *r)
{
    struct engine *e = r->engine;

    activation_show_running(r, false);
    activation_leave_busy(r);
    if (job_state_ended(r->job->state)) {
        due_remove(&e->due, &r->deadline);
        records_end(&e->records, r);
        co_condition_notify_all(&r->ended);
    } else if (!e->stopping) {
        activation_schedule(r);
    }
}

/* --- ends from outside --- */

static const char *activation_end_reason(enum failure failure)
{
    return failure == FAILURE_CANCELLED ? "cancelled by request"
           : failure == FAILURE_DEADLINE_EXCEEDED
                   ? "the job's deadline has passed"
                   : "the daemon stopped while the request was under way: its outcome is unknown";
}

/* What ends many at once needs, besides the records. */
struct ends {
    struct record *records[END_AT_ONCE];
    struct step steps[END_AT_ONCE];
    struct checkpoint *checkpoints[END_AT_ONCE];
};

/* Suspends. Ends records that are busy with nothing but this. */
CO_SUSPENDS static int activation_end_busy(struct record *const *records, struct step *steps,
        struct checkpoint **checkpoints, size_t n, enum failure failure)
{
    int rc = 0;

    for (size_t i = 0; i < n; i++) {
        steps[i] = (struct step){ .record = records[i] };
        checkpoints[i] = &steps[i].checkpoint;
        checkpoint_init(checkpoints[i], records[i]->job);
        if (step_fail(&steps[i], failure, PHASE_NONE, false, activation_end_reason(failure)) < 0)
            rc = -ENOMEM;
    }
    if (rc == 0)
        rc = activation_conclude(records, checkpoints, n);
    for (size_t i = 0; i < n; i++) {
        checkpoint_done(checkpoints[i]);
        activation_release(records[i]);
    }
    return rc;
}

CO_SUSPENDS static int activation_end_one(struct record *r, enum failure failure)
{
    struct checkpoint *checkpoint;
    struct step step;

    return activation_end_busy(&r, &step, &checkpoint, 1, failure);
}

/* --- an activation --- */

/*
 * Stopped with the daemon: the job stays as the store has it, due again at the next start. Where
 * the store was told of a request that then did not go out, the mark is taken back.
 */
CO_SUSPENDS static int activation_hand_back(struct step *s)
{
    struct record *r = s->record;
    const struct attempt *last = step_last_attempt(s);
    struct checkpoint as_it_was, *p = &as_it_was;

    if (!r->job->in_flight || (last && last->reached >= PHASE_REQUEST))
        return 0;
    checkpoint_init(&as_it_was, r->job);
    return activation_conclude(&r, &p, 1);
}

/* Suspends. From the end of the step to its commit. */
CO_SUSPENDS static int activation_settle(struct step *s, int rc)
{
    struct record *r = s->record;
    struct checkpoint *c = &s->checkpoint;

    if (rc == -ECANCELED && r->ending == FAILURE_NONE)
        return activation_hand_back(s);
    if (rc == -ECANCELED)
        rc = step_stopped(s);
    if (rc < 0)
        rc = step_fail(s, FAILURE_INTERNAL, PHASE_NONE, true, strerror(-rc));
    if (rc == 0)
        rc = activation_conclude(&r, &c, 1);
    if (rc == 0 && c->body)
        s->try.answer.body.file[0] = 0; /* the store's now */
    return rc;
}

/* As the list of tasks shows it. */
static void activation_name(const struct record *r, const char *what)
{
    char id[UUID7_TEXT_SIZE], name[CO_NAME_SIZE];

    uuid7_format(r->job->id, id);
    snprintf(name, sizeof(name), "%s %s", what, id);
    co_name_set(name);
}

CO_SUSPENDS static int activation_main(void *arg)
{
    struct record *r = arg;
    struct engine *e = r->engine;
    struct step s = { .record = r };
    struct co_scope scope;
    int rc;

    activation_name(r, job_kind_name(r->job->spec.kind));
    checkpoint_init(&s.checkpoint, r->job);
    co_scope_open(&scope, CO_NEVER, 0);
    r->scope = &scope;
    rc = r->ending != FAILURE_NONE || e->halted ? -ECANCELED : step_run(&s);
    r->scope = NULL;
    co_scope_close(&scope, 0);
    lane_leave(&e->lanes, &r->entry);
    rc = activation_settle(&s, rc);

    step_done(&s, store_bodies_fd(e->store));
    activation_release(r);
    lanes_return_slot(&e->lanes);
    return rc;
}

/* No memory for a task: closed lanes admit nobody until the timer opens them again. */
static void activation_pause(struct record *r)
{
    struct engine *e = r->engine;
    int64_t again_us = clock_now_us(&e->clock) + SPAWN_RETRY_US;

    lanes_close(&e->lanes);
    lane_leave(&e->lanes, &r->entry);
    lanes_return_slot(&e->lanes);
    if (due_add(&e->due, &e->reopen, again_us) < 0 || due_add(&e->due, &r->due, again_us) < 0)
        log_error("no memory to start a job: it waits for the next start of the daemon");
}

/* Called by the lane, with a permit and a slot, or with the permit for a redirect's hop. */
static void activation_admitted(struct lane_entry *entry)
{
    struct record *r = CONTAINER_OF(entry, struct record, entry);

    if (r->hopping) {
        co_event_set(&r->hop_admitted);
        return;
    }
    if (co_spawn_detached("job", activation_main, r) < 0) {
        activation_pause(r);
        return;
    }
    activation_enter_busy(r);
    activation_show_running(r, true);
}

static void activation_enter_lane(struct record *r)
{
    struct engine *e = r->engine;
    const struct request_spec *request = job_step_request(r->job, r->job->step);

    if (lane_enter(&e->lanes, &r->entry, request ? request->origin : NULL, r->job->spec.priority,
                false) < 0)
        log_error("no memory to queue a job: it waits for the next start of the daemon");
}

static void activation_withdraw(struct record *r)
{
    struct engine *e = r->engine;

    due_remove(&e->due, &r->due);
    lane_withdraw(&e->lanes, &r->entry);
    activation_enter_busy(r);
}

CO_SUSPENDS static int activation_end_main(void *arg)
{
    struct record *r = arg;

    activation_name(r, "end of");
    return activation_end_one(r, r->ending);
}

/* A cancel or the deadline came; nothing of the job runs. */
static void activation_end_soon(struct record *r)
{
    struct engine *e = r->engine;

    activation_withdraw(r);
    if (co_spawn_detached("job end", activation_end_main, r) == 0)
        return;
    activation_leave_busy(r);
    if (due_add(&e->due, &r->due, clock_now_us(&e->clock) + SPAWN_RETRY_US) < 0)
        log_error("no memory to end a job: it ends at the next start of the daemon");
}

static void activation_due(struct due_item *item)
{
    struct record *r = CONTAINER_OF(item, struct record, due);

    if (!r->engine->stopping)
        activation_schedule(r);
}

static void activation_deadline(struct due_item *item)
{
    struct record *r = CONTAINER_OF(item, struct record, deadline);

    if (r->ending == FAILURE_NONE)
        r->ending = FAILURE_DEADLINE_EXCEEDED;
    if (r->scope)
        co_scope_cancel(r->scope);
    else if (!r->busy && !r->engine->stopping && r->engine->started)
        activation_end_soon(r);
}

void activation_prepare(struct record *r)
{
    due_item_init(&r->due, activation_due);
    due_item_init(&r->deadline, activation_deadline);
    lane_entry_init(&r->entry, activation_admitted);
}

void activation_schedule(struct record *r)
{
    struct engine *e = r->engine;
    const struct job *j = r->job;
    int rc = 0;

    assert(!r->busy && !job_state_ended(j->state));
    if (r->ending != FAILURE_NONE) {
        activation_end_soon(r);
        return;
    }
    if (j->spec.deadline_us && r->deadline.place.index == HEAP_NONE)
        rc = due_add(&e->due, &r->deadline, j->created_us + j->spec.deadline_us);
    if (j->held)
        return;
    if (rc == 0 && j->due_us > clock_now_us(&e->clock))
        rc = due_add(&e->due, &r->due, j->due_us);
    else
        activation_enter_lane(r);
    if (rc < 0)
        log_error("no memory to time a job: it waits for the next start of the daemon");
}

int activation_end(struct record *r, enum failure failure)
{
    activation_withdraw(r);
    return activation_end_one(r, failure);
}

/* The next members that can be ended at once; those that run are told to stop. */
static size_t activation_gather_ends(struct run *run, struct record **ret)
{
    size_t n = 0;

    list_for_each_safe (it, &run->members) {
        struct record *r = list_entry(it, struct record, member);

        if (r->busy) {
            r->ending = FAILURE_CANCELLED;
            if (r->scope)
                co_scope_cancel(r->scope);
        } else if (n < END_AT_ONCE) {
            ret[n++] = r;
        }
    }
    return n;
}

int activation_cancel_run(struct engine *e, struct run *run)
{
    struct ends *ends CLEANUP(cleanup_free) = malloc(sizeof(*ends));
    size_t n;
    int rc = 0;

    if (!ends)
        return -ENOMEM;
    run->users++;
    run->cancelling = true;
    while (rc == 0 && !run_over(run) && !e->stopping) {
        n = activation_gather_ends(run, ends->records);
        for (size_t i = 0; i < n; i++)
            activation_withdraw(ends->records[i]);
        rc = n > 0 ? activation_end_busy(
                             ends->records, ends->steps, ends->checkpoints, n, FAILURE_CANCELLED)
                   : co_condition_wait(&run->changed);
    }
    if (rc == 0 && !run_over(run))
        rc = -ESHUTDOWN;
    run->users--;
    run_drop_unused(&e->runs, run);
    return rc;
}
