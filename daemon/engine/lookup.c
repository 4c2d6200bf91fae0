/* The reading side of the service: memory first, the store for what is not there. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/co/co.h"
#include "daemon/engine/ending.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/intake.h"
#include "daemon/engine/service.h"

#define IN_BETWEEN_NS 1000000 /* that a job is neither in memory nor paged out */

int service_get(struct service *s, struct uuid7 id, struct job **ret)
{
    struct engine *e = engine_of(s);
    struct record *r = records_find(&e->records, id);

    if (r) {
        *ret = job_ref(r->job);
        return 0;
    }
    return store_get(e->store, id, ret);
}

/* Until the job has ended, `deadline_ns` or the stop. */
CO_SUSPENDS static int lookup_wait(struct engine *e, struct wait *w, int64_t deadline_ns)
{
    struct co_scope scope;
    int rc = 0;

    co_scope_open(&scope, deadline_ns, 0);
    while (rc == 0 && !w->job && !e->stopping)
        rc = co_condition_wait(&w->changed);
    rc = co_scope_close(&scope, rc);
    return rc == -ETIMEDOUT ? 0 : rc;
}

/* The wait is entered before the job is looked up: an end in between is not missed. */
CO_SUSPENDS static int lookup_wait_and_get(
        struct engine *e, struct wait *w, int64_t deadline_ns, struct job **ret)
{
    struct service *s = (struct service *)e;
    struct job *job;
    int rc = service_get(s, w->id, &job);

    if (rc < 0)
        return rc;
    if (!job_state_ended(job->state)) {
        job_unref(job);
        rc = lookup_wait(e, w, deadline_ns);
        if (rc == 0 && !w->job)
            rc = service_get(s, w->id, &job);
        else if (rc == 0)
            job = job_ref(w->job);
    }
    if (rc == 0)
        *ret = job;
    return rc;
}

int service_wait(struct service *s, struct uuid7 id, int64_t deadline_ns, struct job **ret)
{
    struct engine *e = engine_of(s);
    struct wait *w = wait_enter(&e->waits, id);
    int rc;

    if (!w)
        return -ENOMEM;
    rc = lookup_wait_and_get(e, w, deadline_ns, ret);
    wait_leave(&e->waits, w);
    return rc;
}

/*
 * Suspends. Has the job's record in memory, for a cancel. 0 with *ret NULL: it has ended, *ret_job
 * is the job. A job that is on its way in or out is there in a moment.
 */
CO_SUSPENDS static int lookup_bring_in(
        struct engine *e, struct uuid7 id, struct record **ret, struct job **ret_job)
{
    struct job *job;
    int rc;

    for (;;) {
        *ret = records_find(&e->records, id);
        if (*ret)
            return 0;
        rc = store_page_job(e->store, id, &job);
        if (rc == 0) {
            rc = intake_adopt(e, job, ret);
            job_unref(job);
            if (rc != -EEXIST)
                return rc;
            continue;
        }
        if (rc != -EALREADY)
            return rc;
        *ret = records_find(&e->records, id);
        if (*ret)
            return 0;
        rc = store_get(e->store, id, &job);
        if (rc < 0)
            return rc;
        if (job_state_ended(job->state)) {
            *ret_job = job;
            return 0;
        }
        job_unref(job);
        rc = e->stopping ? -ESHUTDOWN : co_sleep(IN_BETWEEN_NS);
        if (rc < 0)
            return rc;
    }
}

CO_SUSPENDS static int lookup_cancel_live(struct engine *e, struct record *r, struct wait *w)
{
    if (!r->busy)
        return ending_now(r, FAILURE_CANCELLED);
    r->ending = FAILURE_CANCELLED;
    if (r->scope)
        co_scope_cancel(r->scope);
    return lookup_wait(e, w, CO_NEVER);
}

CO_SUSPENDS static int lookup_cancel(struct engine *e, struct wait *w, struct job **ret)
{
    struct job *job = NULL;
    struct record *r;
    int rc = lookup_bring_in(e, w->id, &r, &job);

    if (rc < 0)
        return rc;
    if (r) {
        job = job_ref(r->job);
        if (!job_state_ended(job->state))
            rc = lookup_cancel_live(e, r, w);
    }
    if (rc == 0 && !job_state_ended(job->state))
        rc = -ESHUTDOWN;
    if (rc < 0) {
        job_unref(job);
        return rc;
    }
    *ret = job;
    return job->state == JOB_CANCELLED ? 0 : -EALREADY;
}

int service_cancel(struct service *s, struct uuid7 id, struct job **ret)
{
    struct engine *e = engine_of(s);
    struct wait *w = wait_enter(&e->waits, id);
    int rc;

    if (!w)
        return -ENOMEM;
    rc = lookup_cancel(e, w, ret);
    wait_leave(&e->waits, w);
    return rc;
}

int service_body(struct service *s, struct uuid7 id, enum job_step step, struct store_body *ret)
{
    struct engine *e = engine_of(s);
    struct record *r = records_find(&e->records, id);
    struct job *job CLEANUP(cleanup_job) = NULL;
    int rc = 0;

    if (!r)
        rc = store_get(e->store, id, &job);
    if (rc < 0)
        return rc;
    if (!job_state_ended(r ? r->job->state : job->state))
        return -EBUSY;
    rc = store_get_body(e->store, id, step, ret);
    return rc == -ENOENT ? -ENODATA : rc;
}

/* --- lists --- */

static bool lookup_has_label(const struct job_spec *spec, const char *key, const char *value)
{
    for (size_t i = 0; i < spec->n_labels; i++)
        if (strcmp(spec->labels[i].key, key) == 0 && strcmp(spec->labels[i].value, value) == 0)
            return true;
    return false;
}

static bool lookup_matches(const struct store_filter *f, const struct job *j)
{
    if (f->states && !(f->states & 1U << job_shown_state(j)))
        return false;
    if (f->kind >= 0 && (int)j->spec.kind != f->kind)
        return false;
    if (f->batch.key && f->batch.key != j->batch.key)
        return false;
    if (f->lane && (!j->spec.request.origin || strcmp(f->lane, j->spec.request.origin) != 0))
        return false;
    return !f->label_key || lookup_has_label(&j->spec, f->label_key, f->label_value);
}

/* Where a page that ends before this job goes on. */
static int64_t lookup_place(const struct store_filter *f, const struct job *j)
{
    return f->batch.key ? (int64_t)j->index + 1 : j->id.key;
}

/* Negative: `a` comes before `b`: newest first, a batch's in the order of its index. */
static int lookup_order(const void *a, const void *b, void *filter)
{
    const struct store_filter *f = filter;
    int64_t x = lookup_place(f, *(struct job *const *)a);
    int64_t y = lookup_place(f, *(struct job *const *)b);
    int order = x < y ? -1 : x > y;

    return f->batch.key ? order : -order;
}

/* The running ones are few and all in memory: no row says that they run. */
static int lookup_list_running(struct engine *e, const struct store_filter *f, int64_t from,
        size_t limit, struct store_page *ret)
{
    struct store_page page = { .jobs = calloc(e->n_busy + 1, sizeof(struct job *)) };

    if (!page.jobs)
        return -ENOMEM;
    list_for_each (it, &e->busy) {
        struct job *j = list_entry(it, struct record, busy_place)->job;

        if (!j->running || !lookup_matches(f, j))
            continue;
        if (from && (f->batch.key ? lookup_place(f, j) <= from : lookup_place(f, j) >= from))
            continue;
        page.jobs[page.n++] = job_ref(j);
    }
    qsort_r(page.jobs, page.n, sizeof(*page.jobs), lookup_order, (void *)f);
    if (page.n > limit)
        page.next = lookup_place(f, page.jobs[limit - 1]);
    while (page.n > limit)
        job_unref(page.jobs[--page.n]);
    *ret = page;
    return 0;
}

/* What memory knows of a row is newer than the row. */
static void lookup_lay_over(struct engine *e, const struct store_filter *f, struct store_page *page)
{
    size_t kept = 0;

    for (size_t i = 0; i < page->n; i++) {
        struct record *r = records_find(&e->records, page->jobs[i]->id);

        if (r) {
            job_unref(page->jobs[i]);
            page->jobs[i] = job_ref(r->job);
        }
        if (lookup_matches(f, page->jobs[i]))
            page->jobs[kept++] = page->jobs[i];
        else
            job_unref(page->jobs[i]);
    }
    page->n = kept;
}

int service_list(struct service *s, const struct store_filter *filter, int64_t from, size_t limit,
        bool full, struct store_page *ret)
{
    struct engine *e = engine_of(s);
    struct store_filter stored = *filter;
    int rc;

    if (filter->states == 1U << JOB_RUNNING)
        return lookup_list_running(e, filter, from, limit, ret);
    if (stored.states & 1U << JOB_RUNNING) {
        stored.states &= ~(1U << JOB_RUNNING);
        stored.states |= 1U << JOB_PENDING | 1U << JOB_WAITING;
    }
    rc = store_list(e->store, &stored, from, limit, full, ret);
    if (rc == 0)
        lookup_lay_over(e, filter, ret);
    return rc;
}

/* --- batches --- */

int service_get_batch(struct service *s, struct uuid7 id, struct batch *ret)
{
    struct engine *e = engine_of(s);
    struct run *run = runs_find(&e->runs, id);

    if (!run)
        return store_get_batch(e->store, id, ret);
    *ret = run->batch;
    return 0;
}

int service_wait_batch(struct service *s, struct uuid7 id, int64_t deadline_ns, struct batch *ret)
{
    struct engine *e = engine_of(s);
    struct run *run = runs_find(&e->runs, id);
    struct co_scope scope;
    int rc = 0;

    if (!run)
        return store_get_batch(e->store, id, ret);
    run->users++;
    co_scope_open(&scope, deadline_ns, 0);
    while (rc == 0 && !run_over(run) && !e->stopping)
        rc = co_condition_wait(&run->changed);
    rc = co_scope_close(&scope, rc);
    *ret = run->batch;
    run->users--;
    run_drop_unused(&e->runs, run);
    return rc == -ETIMEDOUT ? 0 : rc;
}

/* The store's copy is made from what is on its way there already. */
CO_SUSPENDS static int lookup_cancel_run(struct engine *e, struct run *run)
{
    struct batch asked;
    int rc;

    run->batch.cancelled = run->posted.cancelled = true;
    asked = run->posted;
    rc = store_update_batch(e->store, &asked);
    if (rc < 0) {
        run->batch.cancelled = run->posted.cancelled = false;
        return rc;
    }
    rc = ending_cancel_run(e, run);
    if (rc != -ENOMEM)
        return rc;
    ending_cancel_rest(run); /* it is committed, so it is done as soon as there is memory */
    return 0;
}

/* -EALREADY: it ended otherwise. */
CO_SUSPENDS static int lookup_await_end(struct engine *e, struct run *run)
{
    int rc = 0;

    while (rc == 0 && !run_over(run) && !e->stopping)
        rc = co_condition_wait(&run->changed);
    if (rc == 0 && !run_over(run))
        rc = -ESHUTDOWN;
    if (rc == 0)
        rc = run->batch.state == BATCH_CANCELLED ? 0 : -EALREADY;
    return rc;
}

int service_cancel_batch(struct service *s, struct uuid7 id, struct batch *ret)
{
    struct engine *e = engine_of(s);
    struct run *run = runs_find(&e->runs, id);
    struct co_scope scope;
    int rc;

    if (!run) {
        rc = store_get_batch(e->store, id, ret);
        if (rc < 0)
            return rc;
        return ret->state == BATCH_CANCELLED ? 0 : -EALREADY;
    }
    run->users++;
    co_scope_open(&scope, CO_NEVER, CO_SHIELD); /* begun is done, whoever still listens */
    rc = run->posted.state > BATCH_RUNNING ? 0 : lookup_cancel_run(e, run);
    if (rc == 0)
        rc = lookup_await_end(e, run);
    rc = co_scope_close(&scope, rc);
    *ret = run->batch;
    run->users--;
    run_drop_unused(&e->runs, run);
    return rc;
}

int service_list_batches(struct service *s, int64_t from, size_t limit, struct store_batches *ret)
{
    struct engine *e = engine_of(s);
    int rc = store_list_batches(e->store, false, from, limit, ret);
    struct run *run;

    for (size_t i = 0; rc == 0 && i < ret->n; i++) {
        run = runs_find(&e->runs, ret->batches[i].id);
        if (run)
            ret->batches[i] = run->batch;
    }
    return rc;
}

/* Until a member after `after` has ended, the batch is over, `deadline_ns` or the stop. */
CO_SUSPENDS static int lookup_wait_results(
        struct engine *e, struct uuid7 id, int64_t after, int64_t deadline_ns, bool *ret_over)
{
    struct run *run = runs_find(&e->runs, id);
    struct co_scope scope;
    int rc = 0;

    *ret_over = true;
    if (!run)
        return 0;
    run->users++;
    co_scope_open(&scope, deadline_ns, 0);
    while (rc == 0 && run->batch.finished_seq <= after && !run_over(run) && !e->stopping)
        rc = co_condition_wait(&run->changed);
    rc = co_scope_close(&scope, rc);
    *ret_over = run_over(run);
    run->users--;
    run_drop_unused(&e->runs, run);
    return rc == -ETIMEDOUT ? 0 : rc;
}

int service_batch_results(struct service *s, struct uuid7 id, int64_t after, size_t limit,
        int64_t deadline_ns, struct store_page *ret, bool *ret_ended)
{
    struct engine *e = engine_of(s);
    struct batch known;
    bool over = false;
    int rc = service_get_batch(s, id, &known);

    if (rc == 0)
        rc = lookup_wait_results(e, id, after, deadline_ns, &over);
    if (rc == 0)
        rc = store_list_finished(e->store, id.key, after, limit, ret);
    if (rc < 0)
        return rc;
    if (ret->n == 0 && !over && e->stopping)
        return -ESHUTDOWN;
    *ret_ended = over && ret->next == 0;
    return 0;
}

int service_backup(struct service *s, struct store_backup *ret)
{
    return store_backup(engine_of(s)->store, ret);
}
