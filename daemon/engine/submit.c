/* The way of new jobs into the store, and from there into memory or not (DESIGN section 4). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/co/co.h"
#include "daemon/engine/activation.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/intake.h"
#include "daemon/store/store.h"

#define SUBMIT_SLICE 512 /* jobs that are made or let in before others get their turn */

static int submit_admit(const struct engine *e, size_t n)
{
    if (!e->started || e->stopping)
        return -ESHUTDOWN;
    if (n > e->max_jobs || e->n_live + e->n_submitting > e->max_jobs - n)
        return -EAGAIN;
    return 0;
}

/* Origins of jobs that have not ended, in memory or not. */
static size_t submit_count_lanes(const struct engine *e)
{
    size_t n = e->backlog.lanes.n;

    for (size_t i = 0; i < e->lanes.by_origin.n_buckets; i++)
        for (struct table_node *node = e->lanes.by_origin.buckets[i]; node; node = node->next)
            n += !backlog_has_lane(&e->backlog, lane_key_of(node));
    return n;
}

/* Whether the job's origin is one more than there may be. */
static bool submit_is_lane_too_many(const struct engine *e, const struct job_spec *spec)
{
    size_t n = e->lanes.by_origin.n + e->backlog.lanes.n;
    int64_t key;

    if (!spec->request.origin || n < e->max_lanes)
        return false;
    key = lane_key(spec->request.origin);
    if (!lanes_is_idle(&e->lanes, key) || backlog_has_lane(&e->backlog, key))
        return false;
    return submit_count_lanes(e) >= e->max_lanes;
}

static int submit_check_lanes(const struct engine *e, const struct job_spec *specs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (submit_is_lane_too_many(e, &specs[i]))
            return -EUSERS;
    return 0;
}

static void submit_drop_jobs(struct job **jobs, size_t n, struct job_spec *give_back)
{
    for (size_t i = 0; i < n; i++) {
        give_back[i] = jobs[i]->spec;
        jobs[i]->spec = (struct job_spec){ 0 };
        job_unref(jobs[i]);
        jobs[i] = NULL;
    }
}

/* A wall clock date, `at`, as daemon time. */
static int64_t submit_due_us(const struct engine *e, const struct job *j)
{
    int64_t due_us = job_first_due_us(j);

    return j->spec.at_us ? due_us - clock_wall_ahead_us(&e->clock) : due_us;
}

/*
 * What a delivery without a network does first takes no time: it is done with the acceptance, and
 * committed with it, where the job can wait in memory then. Of more than that some would be late:
 * those are delivered as fast as they can be collected.
 */
static void submit_deliver(const struct engine *e, struct job *j)
{
    int64_t now_us = j->created_us;

    if (!window_has_room(&e->records.window, true) || j->step != STEP_DELIVER ||
            j->spec.request.url || j->held || j->due_us > now_us)
        return;
    j->state = JOB_WAITING;
    j->step = STEP_WAIT;
    j->started_us = now_us;
    j->events.at_us[EVENT_DELIVERED] = now_us;
    j->due_us = now_us + j->spec.wait_us;
}

/* Suspends. Jobs with ids, in no table yet. On failure the specs are back where they were. */
CO_SUSPENDS static int submit_make_jobs(
        struct engine *e, struct job_spec *specs, size_t n, const struct batch *b, struct job **ret)
{
    int64_t now_us = clock_now_us(&e->clock);
    int rc = 0;

    for (size_t i = 0; i < n; i++) {
        struct job_spec spec = specs[i];

        if (i % SUBMIT_SLICE == SUBMIT_SLICE - 1)
            co_yield();
        ret[i] = job_new(&spec);
        if (!ret[i]) {
            submit_drop_jobs(ret, i, specs);
            return -ENOMEM;
        }
        rc = uuid7_next(&e->ids, now_us, &ret[i]->id);
        if (rc < 0) {
            submit_drop_jobs(ret, i + 1, specs);
            return rc;
        }
        ret[i]->created_us = now_us;
        ret[i]->due_us = submit_due_us(e, ret[i]);
        if (b) {
            ret[i]->batch = b->id;
            ret[i]->index = (unsigned)i;
            ret[i]->held = b->concurrency > 0 && i >= b->concurrency;
        }
    }
    memset(specs, 0, n * sizeof(*specs));
    return 0;
}

static void submit_place_free(struct engine *e, struct job *j)
{
    submit_deliver(e, j);
    j->paged_out = backlog_keeps_out(e, j, j->step, j->due_us);
}

/* Which of them stay in memory; those have their share of the window from now on. */
static void submit_place(struct engine *e, struct job *const *jobs, size_t n, unsigned concurrency)
{
    struct window *w = &e->records.window;

    for (size_t i = 0; i < n; i++) {
        struct job *j = jobs[i];

        if (j->held)
            j->paged_out = i >= concurrency + BACKLOG_HELD_AHEAD || !window_has_room(w, true);
        else
            submit_place_free(e, j);
        if (!j->paged_out)
            window_take(w, job_bytes(j));
    }
}

static void submit_give_back(struct engine *e, const struct job *j)
{
    if (!j->paged_out)
        window_give_back(&e->records.window, job_bytes(j));
}

/* Committed. */
static void submit_take_up(struct engine *e, struct job *j)
{
    submit_give_back(e, j);
    if (!j->paged_out) {
        intake_let_in(e, j);
        return;
    }
    if (!j->held && backlog_note(e, job_lane_key(j, j->step), j->spec.priority, j->due_us) < 0)
        postpone_job(e, j);
    backlog_note_ends(e, job_ends_us(j));
}

CO_SUSPENDS static void submit_take_up_all(struct engine *e, struct job *const *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i % SUBMIT_SLICE == SUBMIT_SLICE - 1)
            co_yield();
        submit_take_up(e, jobs[i]);
    }
}

/* Suspends. The job that a key stands for takes the place of the one that was not inserted. */
CO_SUSPENDS static int submit_replay(
        struct engine *e, const struct store_outcome *o, struct job **job, enum submit_outcome *ret)
{
    int rc;

    job_unref(*job);
    *job = NULL;
    if (o->insertion == STORE_MISMATCHED) {
        *ret = SUBMIT_MISMATCHED;
        return 0;
    }
    rc = service_get((struct service *)e, o->id, job);
    *ret = rc == -ENOENT ? SUBMIT_FORGOTTEN : SUBMIT_REPLAYED;
    return rc == -ENOENT ? 0 : rc;
}

CO_SUSPENDS static int submit_apply(struct engine *e, struct job **jobs, size_t n,
        const struct store_outcome *outcomes, enum submit_outcome *ret)
{
    int rc = 0;

    for (size_t i = 0; i < n; i++) {
        ret[i] = SUBMIT_ACCEPTED;
        if (outcomes[i].insertion == STORE_INSERTED) {
            e->n_live++;
            submit_take_up(e, jobs[i]);
        } else {
            submit_give_back(e, jobs[i]);
        }
        e->n_submitting--;
    }
    for (size_t i = 0; i < n && rc == 0; i++)
        if (outcomes[i].insertion != STORE_INSERTED)
            rc = submit_replay(e, &outcomes[i], &jobs[i], &ret[i]);
    if (rc == 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        job_unref(jobs[i]);
        jobs[i] = NULL;
    }
    return rc;
}

int service_submit(struct service *s, struct job_spec *specs, size_t n, struct job **ret_jobs,
        enum submit_outcome *ret_outcomes)
{
    struct engine *e = engine_of(s);
    struct store_outcome *outcomes CLEANUP(cleanup_free) = NULL;
    int rc = submit_admit(e, n);

    if (rc == 0)
        rc = submit_check_lanes(e, specs, n);
    if (rc < 0)
        return rc;
    outcomes = calloc(n, sizeof(*outcomes));
    if (!outcomes)
        return -ENOMEM;
    e->n_submitting += n;
    rc = submit_make_jobs(e, specs, n, NULL, ret_jobs);
    if (rc == 0) {
        submit_place(e, ret_jobs, n, 0);
        rc = store_insert(e->store, ret_jobs, n, outcomes);
        if (rc == 0)
            return submit_apply(e, ret_jobs, n, outcomes, ret_outcomes);
        for (size_t i = 0; i < n; i++)
            submit_give_back(e, ret_jobs[i]);
        submit_drop_jobs(ret_jobs, n, specs);
    }
    e->n_submitting -= n;
    return rc;
}

/* --- batches --- */

static int submit_make_batch(
        struct engine *e, const struct batch *options, size_t n, struct batch *ret)
{
    struct batch b = {
        .run = options->run,
        .on_error = options->on_error,
        .concurrency = options->run == BATCH_SEQUENCE ? 1 : options->concurrency,
        .state = BATCH_RUNNING,
        .total = (unsigned)n,
        .created_us = clock_now_us(&e->clock),
    };
    int rc = uuid7_next(&e->ids, b.created_us, &b.id);

    if (rc < 0)
        return rc;
    b.counts[JOB_PENDING] = b.total;
    b.n_held = b.concurrency > 0 && n > b.concurrency ? (unsigned)n - b.concurrency : 0;
    *ret = b;
    return 0;
}

/* Those that are held and in memory are the first ones of them. */
static void submit_hold(struct run *run, struct job *const *jobs, size_t n)
{
    run->held_out = false;
    for (size_t i = run->batch.concurrency; i < n; i++)
        if (jobs[i]->held && jobs[i]->paged_out) {
            run->held_out = true;
            run->held_from = (int64_t)i;
            return;
        }
}

CO_SUSPENDS static void submit_start_batch(
        struct engine *e, struct run *run, struct job *const *jobs, size_t n)
{
    e->n_live += n;
    e->n_submitting -= n;
    if (run->batch.n_held > 0)
        submit_hold(run, jobs, n);
    submit_take_up_all(e, jobs, n);
    activation_refill(run); /* a member may have ended before those that it held back were here */
    co_condition_notify_all(&run->changed); /* who cancels the batch looks for members again */
}

/* Suspends. The batch that a key stands for. */
CO_SUSPENDS static int submit_replay_batch(
        struct engine *e, const struct store_outcome *o, struct submitted_batch *ret)
{
    int rc;

    *ret = (struct submitted_batch){ .outcome = SUBMIT_MISMATCHED };
    if (o->insertion == STORE_MISMATCHED)
        return 0;
    rc = service_get_batch((struct service *)e, o->id, &ret->batch);
    ret->outcome = rc == -ENOENT ? SUBMIT_FORGOTTEN : SUBMIT_REPLAYED;
    if (rc == 0)
        rc = store_batch_ids(e->store, o->id.key, &ret->ids, &ret->n);
    return rc == -ENOENT ? 0 : rc;
}

/*
 * Suspends. Into the store with it. *ret_run: its run, of which the caller is a user, when *ret says
 * that it was inserted; else the jobs are dropped.
 */
CO_SUSPENDS static int submit_insert_batch(struct engine *e, struct batch *b,
        struct job_spec *specs, struct job **jobs, size_t n, const struct idempotency *idempotency,
        struct store_outcome *ret, struct run **ret_run)
{
    struct run *run;
    int rc = submit_make_jobs(e, specs, n, b, jobs);

    if (rc < 0)
        return rc;
    run = run_new(e, &e->runs, b); /* now, because nothing may fail after the commit */
    if (!run) {
        submit_drop_jobs(jobs, n, specs);
        return -ENOMEM;
    }
    run->users++;
    submit_place(e, jobs, n, b->concurrency);
    for (size_t i = 0; i < n; i++)
        if (jobs[i]->state != JOB_PENDING)
            run_count(run, JOB_PENDING, jobs[i]->state);
    rc = store_insert_batch(e->store, b, jobs, n, idempotency, ret);
    if (rc == 0 && ret->insertion == STORE_INSERTED) {
        *ret_run = run;
        return 0;
    }
    run_discard(&e->runs, run);
    for (size_t i = 0; i < n; i++)
        submit_give_back(e, jobs[i]);
    submit_drop_jobs(jobs, n, specs);
    return rc;
}

static void submit_say(
        const struct run *run, struct job **jobs, size_t n, struct submitted_batch *ret)
{
    for (size_t i = 0; i < n; i++) {
        ret->ids[i] = jobs[i]->id;
        job_unref(jobs[i]);
    }
    ret->outcome = SUBMIT_ACCEPTED;
    ret->batch = run->batch;
    ret->n = n;
}

int service_submit_batch(struct service *s, const struct batch *options, struct job_spec *specs,
        size_t n, const struct idempotency *idempotency, struct submitted_batch *ret)
{
    struct engine *e = engine_of(s);
    struct job **jobs CLEANUP(cleanup_free) = calloc(n, sizeof(*jobs));
    struct uuid7 *ids CLEANUP(cleanup_free) = calloc(n, sizeof(*ids));
    struct store_outcome outcome = { 0 };
    struct run *run = NULL;
    struct batch b;
    int rc;

    if (!jobs || !ids)
        return -ENOMEM;
    rc = submit_admit(e, n);
    if (rc == 0 && e->runs.n >= e->max_batches)
        rc = -EAGAIN;
    if (rc == 0)
        rc = submit_check_lanes(e, specs, n);
    if (rc == 0)
        rc = submit_make_batch(e, options, n, &b);
    if (rc < 0)
        return rc;
    e->n_submitting += n;
    rc = submit_insert_batch(e, &b, specs, jobs, n, idempotency, &outcome, &run);
    if (rc == 0 && outcome.insertion == STORE_INSERTED) {
        submit_start_batch(e, run, jobs, n);
        ret->ids = TAKE_PTR(ids);
        submit_say(run, jobs, n, ret);
        run->users--;
        run_drop_unused(&e->runs, run);
    } else {
        e->n_submitting -= n;
        if (rc == 0)
            rc = submit_replay_batch(e, &outcome, ret);
    }
    return rc;
}

/* --- when a refused one may come again --- */

#define RETRY_AFTER_MAX_S   3600
#define RETRY_AFTER_SPACE_S 5
#define RETRY_AFTER_STOP_S  5 /* after the end of the drain: a restart */

unsigned service_retry_after_s(const struct service *s, int refusal)
{
    const struct engine *e = (const struct engine *)s;
    double rate = rate_now(&e->ends, clock_mono_us()), seconds;
    int64_t left_us = e->drained_by_us - clock_mono_us();

    if (refusal == -ENOSPC)
        return RETRY_AFTER_SPACE_S;
    if (refusal == -ESHUTDOWN)
        return RETRY_AFTER_STOP_S + (left_us > 0 ? (unsigned)(left_us / CLOCK_US_PER_S) : 0);
    /* A hundredth of the queue is to be free by then, so that not all come back for one place. */
    seconds = rate > 0 ? e->max_jobs / 100.0 / rate : RETRY_AFTER_MAX_S;
    if (seconds > RETRY_AFTER_MAX_S)
        return RETRY_AFTER_MAX_S;
    return seconds > 1 ? (unsigned)seconds : 1;
}
