#include "daemon/engine/postponed.h"

#include "daemon/engine/activation.h"
#include "daemon/engine/ending.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/intake.h"
#include "daemon/model/job.h"

#define AGAIN_US 100000

static void postponed_records(struct postponed *p)
{
    struct list now;

    list_init(&now);
    while (!list_empty(&p->records))
        list_append(&now, list_pop(&p->records));
    while (!list_empty(&now))
        activation_schedule(list_entry(list_pop(&now), struct record, postponed));
}

static struct run *postponed_run_of(struct engine *e, const struct job *j)
{
    return j->batch.key ? runs_find(&e->runs, j->batch) : NULL;
}

/* A paged-out one is known to the store only: it is noted, not let in beside the one that pages it in. */
static void postponed_job(struct engine *e, struct job *j)
{
    if (!j->paged_out)
        intake_let_in(e, j);
    else if (backlog_note(e, job_lane_key(j, j->step), j->spec.priority, j->due_us) < 0)
        postpone_job(e, j);
}

/* Their batches may have waited for them. */
static void postponed_jobs(struct engine *e)
{
    struct job *first = TAKE_PTR(e->postponed.jobs), *next;
    struct run *run;

    for (struct job *j = first; j; j = j->next_postponed)
        if ((run = postponed_run_of(e, j))) {
            run_retry(run);
            postpone_run(run);
        }
    for (struct job *j = first; j; j = next) {
        next = TAKE_PTR(j->next_postponed);
        postponed_job(e, j);
        job_unref(j);
    }
}

static void postponed_runs(struct postponed *p)
{
    struct list now;

    list_init(&now);
    while (!list_empty(&p->runs))
        list_append(&now, list_pop(&p->runs));
    while (!list_empty(&now)) {
        struct run *run = list_entry(list_pop(&now), struct run, postponed);

        if (run->wants_cancel)
            ending_cancel_rest(run);
        else
            activation_refill(run);
        run->users--;
        run_drop_unused(&run->engine->runs, run);
    }
}

static void postponed_again(struct loop_timer *t)
{
    struct postponed *p = CONTAINER_OF(t, struct postponed, timer);
    struct engine *e = CONTAINER_OF(p, struct engine, postponed);

    p->waiting = false;
    if (e->stopping || !e->started)
        return;
    if (p->rest) {
        p->rest = false;
        lanes_open(&e->lanes);
        local_pump(e);
        backlog_rearm(e);
    }
    postponed_records(p);
    postponed_jobs(e);
    postponed_runs(p);
}

void postponed_init(struct postponed *p, struct loop *loop)
{
    *p = (struct postponed){ 0 };
    list_init(&p->records);
    list_init(&p->runs);
    loop_timer_init(&p->timer, loop, postponed_again);
}

void postponed_done(struct postponed *p)
{
    struct job *next;

    loop_timer_stop(&p->timer);
    for (struct job *j = p->jobs; j; j = next) {
        next = j->next_postponed;
        job_unref(j);
    }
}

static void postponed_wait(struct postponed *p)
{
    if (!p->waiting)
        loop_timer_set(&p->timer, AGAIN_US);
    p->waiting = true;
}

void postpone_record(struct record *r)
{
    struct postponed *p = &r->engine->postponed;

    if (list_empty(&r->postponed))
        list_append(&p->records, &r->postponed);
    postponed_wait(p);
}

void postpone_job(struct engine *e, struct job *j)
{
    j->next_postponed = e->postponed.jobs;
    e->postponed.jobs = job_ref(j);
    postponed_wait(&e->postponed);
}

void postpone_run(struct run *run)
{
    struct postponed *p = &run->engine->postponed;

    if (list_empty(&run->postponed)) {
        run->users++;
        list_append(&p->runs, &run->postponed);
    }
    postponed_wait(p);
}

void postpone_rest(struct engine *e)
{
    e->postponed.rest = true;
    postponed_wait(&e->postponed);
}
