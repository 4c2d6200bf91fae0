#include "daemon/engine/service.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/co/co.h"
#include "daemon/engine/activation.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/rules.h"
#include "daemon/transfer/transfer.h"

#define START_PAGE   512 /* jobs that the start reads at a time */
#define SUBMIT_SLICE 512 /* jobs that are made or let in before others get their turn */

static void service_reopen_lanes(struct due_item *item)
{
    struct engine *e = CONTAINER_OF(item, struct engine, reopen);

    if (e->started && !e->stopping)
        lanes_open(&e->lanes);
}

int service_new(struct loop *loop, const struct service_options *options, struct transfer *t,
        struct store *s, struct egress *e, struct service **ret, struct error *ret_why)
{
    struct engine *engine = calloc(1, sizeof(*engine));
    int rc;

    if (!engine)
        return error_set(ret_why, -ENOMEM, "out of memory");
    engine->clock = clock_start();
    engine->transfer = t;
    engine->store = s;
    engine->max_jobs = options->max_jobs;
    engine->ids.last_key = store_last_key(s);
    records_init(&engine->records);
    list_init(&engine->busy);
    due_item_init(&engine->reopen, service_reopen_lanes);
    due_init(&engine->due, loop, &engine->clock);
    log_limit_init(&engine->failures, loop, LOG_LEVEL_INFO, "jobs failed");
    co_condition_init(&engine->quiet);
    rc = lanes_init(&engine->lanes, options->max_active, options->lane_concurrency, options->lanes,
            options->n_lanes);
    if (rc == 0)
        rc = service_rules_new(options, e, &engine->rules);
    if (rc < 0) {
        service_free((struct service *)engine);
        return error_set(ret_why, rc, "out of memory");
    }
    *ret = (struct service *)engine;
    return 0;
}

struct service *service_free(struct service *s)
{
    struct engine *e = engine_of(s);

    if (!s)
        return NULL;
    assert(e->n_busy == 0);
    while (!list_empty(&e->records.active)) {
        struct record *r = list_entry(e->records.active.next, struct record, place);

        due_remove(&e->due, &r->due);
        due_remove(&e->due, &r->deadline);
        lane_withdraw(&e->lanes, &r->entry);
        records_drop(&e->records, r);
    }
    runs_done(&e->runs);
    records_done(&e->records);
    due_done(&e->due);
    log_limit_done(&e->failures);
    lanes_done(&e->lanes);
    service_rules_unref(e->rules);
    free(e);
    return NULL;
}

bool service_ready(const struct service *s)
{
    const struct engine *e = (const struct engine *)s;

    return e->started && !e->stopping;
}

const struct clock *service_clock(const struct service *s)
{
    return &((const struct engine *)s)->clock;
}

int service_bodies_fd(const struct service *s)
{
    return store_bodies_fd(((const struct engine *)s)->store);
}

int service_reload(struct service *s, const struct service_options *options, struct egress *egress)
{
    struct engine *e = engine_of(s);
    struct service_rules *fresh;
    int rc = service_rules_new(options, egress, &fresh);

    if (rc < 0)
        return rc;
    rc = lanes_set_limits(&e->lanes, options->lane_concurrency, options->lanes, options->n_lanes);
    if (rc < 0) {
        service_rules_unref(fresh);
        return rc;
    }
    service_rules_unref(e->rules);
    e->rules = fresh;
    transfer_set_egress(e->transfer, egress);
    return 0;
}

/* --- start --- */

CO_SUSPENDS static int service_load_runs(struct engine *e)
{
    struct store_batches page = { 0 };
    int64_t from = 0;
    int rc;

    do {
        rc = store_list_batches(e->store, true, from, START_PAGE, &page);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < page.n; i++)
            if (!run_new(e, &e->runs, &page.batches[i]))
                rc = -ENOMEM;
        from = page.next;
        store_batches_done(&page);
    } while (rc == 0 && from);
    return rc;
}

/* Takes a job over into memory, where nothing happens to it yet. */
static int service_adopt(struct engine *e, struct job *job, struct record **ret)
{
    struct record *r = record_new(e, job_ref(job));
    struct run *run;

    if (!r) {
        job_unref(job);
        return -ENOMEM;
    }
    activation_prepare(r);
    if (records_add(&e->records, r) < 0) {
        record_free(r);
        return -ENOMEM;
    }
    run = job->batch.key ? runs_find(&e->runs, job->batch) : NULL;
    if (run)
        run_join(run, r);
    *ret = r;
    return 0;
}

CO_SUSPENDS static int service_load_jobs(struct engine *e, size_t *ret_n)
{
    struct store_page page = { 0 };
    int64_t after = 0;
    int rc;

    *ret_n = 0;
    do {
        rc = store_list_live(e->store, after, START_PAGE, &page);
        if (rc < 0)
            return rc;
        for (size_t i = 0; rc == 0 && i < page.n; i++) {
            struct record *r;

            rc = service_adopt(e, page.jobs[i], &r);
            if (rc < 0)
                break;
            /* A crash came between a request that must not be repeated unknowingly and its end. */
            if (page.jobs[i]->in_flight && page.jobs[i]->spec.on_unknown == UNKNOWN_FAIL)
                r->ending = FAILURE_OUTCOME_UNKNOWN;
        }
        *ret_n += page.n;
        after = page.next;
        store_page_done(&page);
    } while (rc == 0 && after);
    return rc;
}

/* Whether its members were being cancelled when the daemon ended. */
static bool service_run_was_ending(const struct batch *b)
{
    return b->cancelled || (b->on_error == ON_ERROR_CANCEL && b->counts[JOB_FAILED] > 0);
}

/* The last member's end was committed without the batch's: it is made up for. */
CO_SUSPENDS static int service_close_run(struct engine *e, struct run *run)
{
    struct batch over = run->batch;
    int rc;

    run->users++;
    rc = store_update_batch(e->store, &over);
    run->users--;
    run_drop_unused(&e->runs, run);
    return rc;
}

static struct run *service_find_over(struct engine *e)
{
    for (size_t i = 0; i < e->runs.by_key.n_buckets; i++)
        for (struct table_node *n = e->runs.by_key.buckets[i]; n; n = n->next) {
            struct run *run = table_entry(n, struct run, by_key);

            run_settle(run);
            if (run_over(run))
                return run;
        }
    return NULL;
}

CO_SUSPENDS static int service_close_runs(struct engine *e)
{
    struct run *run;
    int rc = 0;

    while (rc == 0 && (run = service_find_over(e)))
        rc = service_close_run(e, run);
    return rc;
}

/* Everything is in memory: now it goes on. Nothing here suspends. */
static void service_go_on(struct engine *e)
{
    e->started = true;
    for (size_t i = 0; i < e->runs.by_key.n_buckets; i++)
        for (struct table_node *n = e->runs.by_key.buckets[i]; n; n = n->next) {
            struct run *run = table_entry(n, struct run, by_key);

            if (service_run_was_ending(&run->batch))
                activation_cancel_rest(run);
            else
                activation_refill(run);
        }
    list_for_each_safe (it, &e->records.active) {
        struct record *r = list_entry(it, struct record, place);

        if (!r->busy && r->entry.lane == NULL && r->due.place.index == HEAP_NONE)
            activation_schedule(r);
    }
    lanes_open(&e->lanes);
}

int service_start(struct service *s)
{
    struct engine *e = engine_of(s);
    size_t n_jobs = 0;
    int rc;

    rc = service_load_runs(e);
    if (rc == 0)
        rc = service_load_jobs(e, &n_jobs);
    if (rc == 0)
        rc = service_close_runs(e);
    if (rc < 0)
        return rc;
    if (n_jobs > 0)
        log_info("%zu jobs that had not ended go on", n_jobs);
    service_go_on(e);
    return 0;
}

/* --- stop --- */

static void service_wake_waiters(struct engine *e)
{
    list_for_each (it, &e->records.active)
        co_condition_notify_all(&list_entry(it, struct record, place)->ended);
    for (size_t i = 0; i < e->runs.by_key.n_buckets; i++)
        for (struct table_node *n = e->runs.by_key.buckets[i]; n; n = n->next)
            co_condition_notify_all(&table_entry(n, struct run, by_key)->changed);
}

CO_SUSPENDS static int service_wait_quiet(struct engine *e, int64_t deadline_ns)
{
    struct co_scope scope;
    int rc = 0;

    co_scope_open(&scope, deadline_ns, CO_SHIELD);
    while (rc == 0 && e->n_busy > 0)
        rc = co_condition_wait(&e->quiet);
    return co_scope_close(&scope, rc);
}

int service_stop(struct service *s, int64_t deadline_ns)
{
    struct engine *e = engine_of(s);

    e->stopping = true;
    lanes_close(&e->lanes);
    service_wake_waiters(e);
    if (service_wait_quiet(e, deadline_ns) == 0)
        return 0;

    e->halted = true;
    list_for_each (it, &e->records.active) {
        struct record *r = list_entry(it, struct record, place);

        if (r->scope)
            co_scope_cancel(r->scope);
    }
    return service_wait_quiet(e, CO_NEVER);
}

/* --- submit --- */

static int service_admit(struct engine *e, size_t n)
{
    if (!e->started || e->stopping)
        return -ESHUTDOWN;
    if (n > e->max_jobs || e->records.n_active + e->n_submitting > e->max_jobs - n)
        return -EAGAIN;
    return 0;
}

static void service_drop_jobs(struct job **jobs, size_t n, struct job_spec *give_back)
{
    for (size_t i = 0; i < n; i++) {
        give_back[i] = jobs[i]->spec;
        jobs[i]->spec = (struct job_spec){ 0 };
        job_unref(jobs[i]);
    }
}

/* Jobs with ids, not in memory's tables yet. On failure the specs are back where they were. */
CO_SUSPENDS static int service_make_jobs(
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
            service_drop_jobs(ret, i, specs);
            return -ENOMEM;
        }
        rc = uuid7_next(&e->ids, now_us, &ret[i]->id);
        if (rc < 0) {
            service_drop_jobs(ret, i + 1, specs);
            return rc;
        }
        ret[i]->created_us = now_us;
        ret[i]->due_us = job_first_due_us(ret[i]);
        if (b) {
            ret[i]->batch = b->id;
            ret[i]->index = (unsigned)i;
            ret[i]->held = b->concurrency > 0 && i >= b->concurrency;
        }
    }
    memset(specs, 0, n * sizeof(*specs));
    return 0;
}

/* Committed: into memory with it. What memory refuses now goes on at the next start. */
CO_SUSPENDS static void service_let_in(struct engine *e, struct job *const *jobs, size_t n)
{
    struct record *r;

    for (size_t i = 0; i < n; i++) {
        if (i % SUBMIT_SLICE == SUBMIT_SLICE - 1)
            co_yield();
        if (service_adopt(e, jobs[i], &r) < 0)
            log_error("no memory for an accepted job: it waits for the next start of the daemon");
        else if (!e->stopping)
            activation_schedule(r);
    }
}

int service_submit(struct service *s, struct job_spec *specs, size_t n, struct job **ret_jobs,
        enum submit_outcome *ret_outcomes)
{
    struct engine *e = engine_of(s);
    struct store_outcome *outcomes CLEANUP(cleanup_free) = calloc(n, sizeof(*outcomes));
    int rc = service_admit(e, n);

    if (rc < 0)
        return rc;
    e->n_submitting += (unsigned)n;
    rc = service_make_jobs(e, specs, n, NULL, ret_jobs);
    if (rc == 0) {
        rc = store_insert(e->store, ret_jobs, n, outcomes);
        if (rc < 0)
            service_drop_jobs(ret_jobs, n, specs);
    }
    if (rc == 0)
        service_let_in(e, ret_jobs, n);
    for (size_t i = 0; i < n; i++)
        ret_outcomes[i] = SUBMIT_ACCEPTED;
    e->n_submitting -= (unsigned)n;
    return rc;
}

static int service_make_batch(
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
    *ret = b;
    return 0;
}

CO_SUSPENDS static int service_insert_batch(struct engine *e, const struct batch *b,
        struct job_spec *specs, struct job **jobs, size_t n)
{
    struct run *run;
    struct store_outcome outcome;
    int rc = store_insert_batch(e->store, b, jobs, n, NULL, &outcome);

    if (rc < 0) {
        service_drop_jobs(jobs, n, specs);
        return rc;
    }
    run = run_new(e, &e->runs, b);
    if (!run) {
        log_error("no memory for an accepted batch: it ends at the next start of the daemon");
        return 0;
    }
    run->users++;
    service_let_in(e, jobs, n);
    activation_refill(run); /* a member may have ended before those that it held back were here */
    co_condition_notify_all(&run->changed); /* who cancels the batch looks for members again */
    run->users--;
    run_drop_unused(&e->runs, run);
    return 0;
}

int service_submit_batch(struct service *s, const struct batch *options, struct job_spec *specs,
        size_t n, const struct idempotency *idempotency, struct submitted_batch *ret)
{
    struct engine *e = engine_of(s);
    struct job **jobs CLEANUP(cleanup_free) = calloc(n, sizeof(*jobs));
    struct uuid7 *ids CLEANUP(cleanup_free) = calloc(n, sizeof(*ids));
    struct run *run;
    struct batch b;
    int rc;

    if (!jobs || !ids)
        return -ENOMEM;
    rc = service_admit(e, n);
    if (rc < 0)
        return rc;
    e->n_submitting += (unsigned)n;
    rc = service_make_batch(e, options, n, &b);
    if (rc == 0)
        rc = service_make_jobs(e, specs, n, &b, jobs);
    if (rc == 0)
        rc = service_insert_batch(e, &b, specs, jobs, n);
    e->n_submitting -= (unsigned)n;
    if (rc < 0)
        return rc;

    for (size_t i = 0; i < n; i++) {
        ids[i] = jobs[i]->id;
        job_unref(jobs[i]);
    }
    run = runs_find(&e->runs, b.id);
    (void)idempotency;
    *ret = (struct submitted_batch){ .batch = run ? run->batch : b, .ids = TAKE_PTR(ids), .n = n };
    return 0;
}
