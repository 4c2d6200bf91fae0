#include "daemon/engine/service.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/co/co.h"
#include "daemon/engine/activation.h"
#include "daemon/engine/conclude.h"
#include "daemon/engine/ending.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/intake.h"
#include "daemon/engine/redate.h"
#include "daemon/engine/rules.h"
#include "daemon/transfer/transfer.h"

#define START_PAGE 512 /* batches that the start reads at a time */

static void service_lane_low(struct lanes *l, int64_t key)
{
    backlog_lane_low(CONTAINER_OF(l, struct engine, lanes), key);
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
    engine->max_batches = options->max_batches;
    engine->max_lanes = options->max_lanes;
    engine->ids.last_key = store_last_key(s);
    records_init(&engine->records, options->window, options->window_bytes);
    backlog_init(&engine->backlog);
    local_init(&engine->local);
    retention_init(&engine->retention, &options->retention);
    co_condition_init(&engine->clock_jumped);
    log_limit_init(&engine->failures, loop, LOG_LEVEL_INFO, "jobs failed");
    list_init(&engine->busy);
    postponed_init(&engine->postponed, loop);
    due_init(&engine->due, loop, &engine->clock);
    co_condition_init(&engine->quiet);
    rc = lanes_init(&engine->lanes, options->max_active, options->lane_concurrency, options->lanes,
            options->n_lanes);
    lanes_set_low(&engine->lanes, BACKLOG_LANE_AHEAD / 2, service_lane_low);
    if (rc == 0)
        rc = clock_watch_init(&engine->clock_watch, loop, redate_jumped);
    if (rc == 0)
        rc = service_rules_new(options, e, &engine->rules);
    if (rc < 0) {
        service_free((struct service *)engine);
        return error_set(ret_why, rc, "can't start the scheduler: %s", strerror(-rc));
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

        activation_withdraw(r);
        due_remove(&e->due, &r->deadline);
        records_drop(&e->records, r);
    }
    clock_watch_done(&e->clock_watch);
    postponed_done(&e->postponed);
    backlog_done(&e->backlog, &e->due);
    runs_done(&e->runs);
    waits_done(&e->waits);
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
    retention_set(&e->retention, &options->retention);
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

struct recovery {
    struct engine *engine;
    struct uuid7 id;
};

/* A job that was in flight when the daemon ended without a word. */
CO_SUSPENDS static int service_recover_one(void *arg)
{
    const struct recovery *y = arg;
    struct engine *e = y->engine;
    struct job *job CLEANUP(cleanup_job) = NULL;
    struct step step = { 0 };
    struct checkpoint *c = &step.checkpoint;
    struct record *r;
    int rc = store_page_job(e->store, y->id, &job);

    if (rc == 0)
        rc = intake_adopt(e, job, &r);
    if (rc < 0)
        return rc;
    if (job->held && r->run)
        run_let_go(r->run, r);
    record_enter_busy(r);
    step.record = r;
    checkpoint_init(c, r->job);
    rc = step_crashed(&step);
    if (rc == 0)
        rc = conclude(&r, &c, 1);
    checkpoint_done(c);
    conclude_release(r);
    return rc;
}

/* Suspends. All of them side by side, so that they share transactions. */
CO_SUSPENDS static int service_recover(struct engine *e, const struct uuid7 *flying, size_t n)
{
    struct recovery *all CLEANUP(cleanup_free) = calloc(n ? n : 1, sizeof(*all));
    struct co_group group;
    int rc = all ? 0 : -ENOMEM;

    co_group_open(&group);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        all[i] = (struct recovery){ e, flying[i] };
        if (co_group_spawn(&group, "recovery", service_recover_one, &all[i], NULL) < 0)
            rc = service_recover_one(&all[i]);
    }
    return co_group_close(&group, rc);
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

static void service_go_on(struct engine *e)
{
    e->started = true;
    for (size_t i = 0; i < e->runs.by_key.n_buckets; i++)
        for (struct table_node *n = e->runs.by_key.buckets[i]; n; n = n->next) {
            struct run *run = table_entry(n, struct run, by_key);

            if (service_run_was_ending(&run->batch))
                ending_cancel_rest(run);
            else
                activation_refill(run);
        }
    backlog_room_made(e);
    local_pump(e);
    lanes_open(&e->lanes);
}

int service_start(struct service *s)
{
    struct engine *e = engine_of(s);
    CLEANUP(store_census_done) struct store_census census = { 0 };
    int rc = store_take_census(e->store, &census);

    if (rc == 0)
        rc = service_load_runs(e);
    if (rc == 0)
        rc = service_close_runs(e);
    if (rc < 0)
        return rc;
    e->n_live = census.n_live;
    for (size_t i = 0; i < census.n_classes; i++)
        backlog_note(
                e, census.classes[i].lane, census.classes[i].priority, census.classes[i].due_us);
    backlog_note_ends(e, census.ends_us);
    rc = service_recover(e, census.flying, census.n_flying);
    if (rc == 0)
        rc = co_spawn_detached("retention", retention_main, e);
    if (rc == 0)
        rc = co_spawn_detached("clock", redate_main, e);
    if (rc < 0)
        return rc;
    if (e->n_live > 0)
        log_info("%zu jobs that had not ended go on", e->n_live);
    service_go_on(e);
    return 0;
}

/* --- stop --- */

/* Others look again at what they wait for. */
static void service_wake_all(struct engine *e)
{
    waits_wake(&e->waits);
    co_condition_notify_all(&e->clock_jumped);
    retention_set(&e->retention, &e->retention.options);
    for (size_t i = 0; i < e->runs.by_key.n_buckets; i++)
        for (struct table_node *n = e->runs.by_key.buckets[i]; n; n = n->next)
            co_condition_notify_all(&table_entry(n, struct run, by_key)->changed);
}

CO_SUSPENDS static int service_wait_quiet(struct engine *e, int64_t deadline_ns)
{
    struct co_scope scope;
    int rc = 0;

    co_scope_open(&scope, deadline_ns, CO_SHIELD);
    e->draining = &scope;
    while (rc == 0 && e->n_busy > 0)
        rc = co_condition_wait(&e->quiet);
    e->draining = NULL;
    return co_scope_close(&scope, rc);
}

void service_hurry(struct service *s)
{
    struct engine *e = engine_of(s);

    e->drained_by_us = clock_mono_us();
    if (e->draining && !e->halted)
        co_scope_cancel(e->draining);
}

unsigned service_busy(const struct service *s)
{
    return ((const struct engine *)s)->n_busy;
}

int service_stop(struct service *s, int64_t deadline_ns)
{
    struct engine *e = engine_of(s);

    e->stopping = true;
    e->drained_by_us = deadline_ns / CLOCK_NS_PER_US;
    lanes_close(&e->lanes);
    service_wake_all(e);
    if (service_wait_quiet(e, deadline_ns) == 0)
        return 0;

    e->halted = true;
    list_for_each (it, &e->busy) {
        struct record *r = list_entry(it, struct record, busy_place);

        if (r->scope)
            co_scope_cancel(r->scope);
    }
    return service_wait_quiet(e, CO_NEVER);
}
