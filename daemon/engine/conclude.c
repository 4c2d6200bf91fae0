#include "daemon/engine/conclude.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "daemon/base/log.h"
#include "daemon/co/co.h"
#include "daemon/engine/activation.h"
#include "daemon/engine/ending.h"
#include "daemon/engine/engine.h"
#include "daemon/store/store.h"

#define COMMIT_RETRY_NS 1000000000LL /* no space for a checkpoint: again then */

void conclude_show_running(struct record *r, bool running)
{
    struct job *j = r->job;

    if (j->running == running)
        return;
    if (r->run)
        run_count(r->run, running ? j->state : JOB_RUNNING, running ? JOB_RUNNING : j->state);
    j->running = running;
}

CO_SUSPENDS static int conclude_commit(struct engine *e, struct checkpoint *const *checkpoints,
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
        if ((rc != -ENOSPC && rc != -ENOMEM) || e->halted)
            return rc;
        co_scope_open(&scope, CO_NEVER, CO_SHIELD);
        co_sleep(COMMIT_RETRY_NS);
        co_scope_close(&scope, 0);
    }
}

static void conclude_log_failure(struct engine *e, const struct job *j)
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

/* The checkpoint of a busy record is committed. */
static void conclude_apply(struct record *r, struct checkpoint *c)
{
    struct engine *e = r->engine;
    struct run *run = r->run;

    conclude_show_running(r, false);
    if (run && r->job->state != c->state)
        run_count(run, r->job->state, c->state);
    job_apply(r->job, c);
    if (!job_state_ended(r->job->state))
        return;

    e->n_live--;
    rate_count(&e->ends, clock_mono_us());
    retention_count(e, r->job);
    conclude_log_failure(e, r->job);
    if (!run)
        return;
    run_end_member(run, r);
    if (!run_over(run))
        activation_refill(run);
    if (r->job->state == JOB_FAILED && run->cancelling && !run_over(run))
        ending_cancel_rest(run); /* on_error "cancel": the first failure ends the others */
    run_drop_unused(&e->runs, run);
}

/* What is committed along with the end of a batch's member. */
static void conclude_post_end(
        struct record *r, struct checkpoint *c, struct batch *over, const struct batch **ret_last)
{
    struct record *successor = NULL;
    const struct batch *last = run_post_end(r->run, r, c, &successor);

    r->successor = (struct uuid7){ 0 };
    if (successor) {
        r->successor = successor->job->id;
        c->release = &r->successor.key;
        c->n_release = 1;
    }
    if (last) { /* the store reads it while the run goes on */
        *over = *last;
        *ret_last = over;
    }
}

static void conclude_let_go(struct engine *e, struct record *ended)
{
    struct record *next;

    if (ended->successor.key == 0)
        return;
    next = records_find(&e->records, ended->successor);
    ended->successor = (struct uuid7){ 0 };
    if (!next || job_state_ended(next->job->state))
        return;
    next->job->held = false;
    if (!next->busy)
        activation_schedule(next);
}

int conclude(struct record *const *records, struct checkpoint *const *checkpoints, size_t n)
{
    struct engine *e = records[0]->engine;
    const struct batch *last = NULL;
    struct batch over;
    int rc;

    for (size_t i = 0; i < n; i++) {
        struct checkpoint *c = checkpoints[i];

        if (job_state_ended(c->state)) {
            if (records[i]->run)
                conclude_post_end(records[i], c, &over, &last);
        } else if (records[i]->ending == FAILURE_NONE && !e->stopping) {
            c->page_out = backlog_keeps_out(e, c->job, c->step, c->due_us);
        }
    }
    rc = conclude_commit(e, checkpoints, n, last);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++)
        conclude_apply(records[i], checkpoints[i]);
    for (size_t i = 0; i < n; i++)
        conclude_let_go(e, records[i]);
    return 0;
}

/* The store has it from now on; without memory to find it there it stays. */
static void conclude_page_out(struct record *r)
{
    struct engine *e = r->engine;
    const struct job *j = r->job;

    if (backlog_note(e, job_lane_key(j, j->step), j->spec.priority, j->due_us) < 0) {
        postpone_record(r);
        return;
    }
    backlog_note_ends(e, job_ends_us(j));
    due_remove(&e->due, &r->deadline);
    records_drop(&e->records, r);
}

void conclude_release(struct record *r)
{
    struct engine *e = r->engine;

    conclude_show_running(r, false);
    record_leave_busy(r);
    if (job_state_ended(r->job->state)) {
        due_remove(&e->due, &r->deadline);
        waits_end(&e->waits, r->job);
        records_end(&e->records, r);
    } else if (r->job->paged_out && r->ending == FAILURE_NONE && !e->stopping) {
        conclude_page_out(r);
    } else if (!e->stopping) {
        activation_schedule(r);
    }
    backlog_room_made(e);
}

/* --- groups --- */

struct step_group *step_group_new(void)
{
    return calloc(1, sizeof(struct step_group));
}

void step_group_free(struct step_group *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n; i++) {
        checkpoint_done(g->checkpoints[i]);
        conclude_release(g->records[i]);
    }
    free(g);
}

struct step *step_group_add(struct step_group *g, struct record *r)
{
    struct step *s = &g->steps[g->n];

    *s = (struct step){ .record = r };
    checkpoint_init(&s->checkpoint, r->job);
    g->records[g->n] = r;
    g->checkpoints[g->n] = &s->checkpoint;
    g->n++;
    return s;
}

int step_group_conclude(struct step_group *g)
{
    int rc = g->n > 0 ? conclude(g->records, g->checkpoints, g->n) : 0;

    for (size_t i = 0; i < g->n; i++) {
        checkpoint_done(g->checkpoints[i]);
        conclude_release(g->records[i]);
    }
    g->n = 0;
    return rc;
}
