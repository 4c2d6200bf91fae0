#include "daemon/engine/ending.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/co/co.h"
#include "daemon/engine/activation.h"
#include "daemon/engine/conclude.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/intake.h"
#include "daemon/engine/step.h"
#include "daemon/store/store.h"

#define NO_ROOM_NS 1000000000 /* on the disk or in memory, to bring jobs in: again then */

/* Without memory it lacks its text. */
static void ending_fill(struct step *s, enum failure failure)
{
    (void)step_fail(s, failure, PHASE_NONE, false,
            failure == FAILURE_CANCELLED ? "cancelled by request"
                                         : "the job's deadline has passed");
}

/* Suspends. Ends a record that is busy with nothing but this. */
CO_SUSPENDS static int ending_busy(struct record *r, enum failure failure)
{
    struct step step = { .record = r };
    struct checkpoint *c = &step.checkpoint;
    int rc;

    checkpoint_init(c, r->job);
    ending_fill(&step, failure);
    rc = conclude(&r, &c, 1);
    checkpoint_done(c);
    conclude_release(r);
    return rc;
}

int ending_now(struct record *r, enum failure failure)
{
    activation_withdraw(r);
    record_enter_busy(r);
    return ending_busy(r, failure);
}

CO_SUSPENDS static int ending_main(void *arg)
{
    struct record *r = arg;
    char id[UUID7_TEXT_SIZE], name[CO_NAME_SIZE];

    uuid7_format(r->job->id, id);
    snprintf(name, sizeof(name), "end of %s", id);
    co_name_set(name);
    return ending_busy(r, r->ending);
}

void ending_soon(struct record *r)
{
    activation_withdraw(r);
    record_enter_busy(r);
    if (co_spawn_detached("job end", ending_main, r) == 0)
        return;
    record_leave_busy(r);
    postpone_record(r);
}

/* --- the rest of a batch --- */

CO_SUSPENDS static int ending_cancel_main(void *arg)
{
    struct run *run = arg;
    struct engine *e = run->engine;
    int rc = ending_cancel_run(e, run);

    run->wants_cancel = rc == -ENOMEM && !e->stopping;
    if (run->wants_cancel)
        postpone_run(run);
    else
        run->ending_rest = false;
    run->users--;
    run_drop_unused(&e->runs, run);
    return rc;
}

void ending_cancel_rest(struct run *run)
{
    if (run->ending_rest && !run->wants_cancel)
        return;
    run->ending_rest = true;
    run->users++; /* until that task has ended */
    run->wants_cancel = co_spawn_detached("batch cancel", ending_cancel_main, run) < 0;
    if (!run->wants_cancel)
        return;
    postpone_run(run);
    run->users--;
}

/* The next members in memory that can be ended at once; those that run are told to stop. */
static void ending_gather(struct run *run, struct step_group *g)
{
    list_for_each_safe (it, &run->members) {
        struct record *r = list_entry(it, struct record, member);

        if (r->busy) {
            r->ending = FAILURE_CANCELLED;
            if (r->scope)
                co_scope_cancel(r->scope);
        } else if (g->n < STEP_GROUP_MAX) {
            activation_withdraw(r);
            record_enter_busy(r);
            ending_fill(step_group_add(g, r), FAILURE_CANCELLED);
        }
    }
}

/* Suspends. Brings the next members that are out into memory, in no queue. 0: none is left. */
CO_SUSPENDS static int ending_page_in(struct engine *e, struct run *run, int64_t *from)
{
    CLEANUP(store_page_done) struct store_page page = { 0 };
    struct record *r;
    int rc;

    do {
        rc = store_page_batch(e->store, run->batch.id.key, *from, false, STEP_GROUP_MAX, &page);
        if (rc < 0)
            return rc;
        *from = page.next;
        /* One that memory refuses wakes the run later. */
        for (size_t i = 0; i < page.n; i++)
            (void)intake_adopt(e, page.jobs[i], &r);
    } while (page.n == 0 && page.next != 0);
    return page.n > 0;
}

/* Suspends. One round: 1 when something was ended, or was told to. */
CO_SUSPENDS static int ending_round(
        struct engine *e, struct run *run, struct step_group *g, int64_t *from)
{
    int rc;

    ending_gather(run, g);
    if (g->n > 0)
        return step_group_conclude(g);
    if (*from >= 0) {
        rc = ending_page_in(e, run, from);
        if (rc == 0)
            *from = -1; /* all are in memory, and busy */
        if (rc == -ENOSPC || rc == -ENOMEM)
            return co_sleep(NO_ROOM_NS);
        return rc < 0 ? rc : 0;
    }
    *from = 0; /* whoever is woken looks at the store again: a busy one may have gone out */
    return co_condition_wait(&run->changed);
}

int ending_cancel_run(struct engine *e, struct run *run)
{
    struct step_group *g = step_group_new();
    int64_t from = 0;
    int rc = 0;

    if (!g)
        return -ENOMEM;
    run->users++;
    run->cancelling = true;
    while (rc == 0 && !run_over(run) && !e->stopping)
        rc = ending_round(e, run, g, &from);
    if (rc == 0 && !run_over(run))
        rc = -ESHUTDOWN;
    run->users--;
    run_drop_unused(&e->runs, run);
    step_group_free(g);
    return rc;
}
