/*
 * A record is in exactly one place: held by its batch, in the due heap, queued in a lane or among
 * the local steps, or busy (an activation is live or its end is being committed). Every way out of
 * busy goes through conclude_release(), which looks once more whether a cancel or the deadline
 * came meanwhile.
 */
#include "daemon/engine/activation.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/co/co.h"
#include "daemon/engine/conclude.h"
#include "daemon/engine/ending.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/step.h"
#include "daemon/store/store.h"

static void activation_let_go(struct record *r)
{
    r->job->held = false;
    if (!r->busy)
        activation_schedule(r);
}

static bool activation_wants_held(const struct run *run)
{
    return run_wants_held(run, window_has_room(&run->engine->records.window, true));
}

CO_SUSPENDS static int activation_page_held(void *arg)
{
    struct run *run = arg;
    struct engine *e = run->engine;
    int rc = 0;

    while (rc == 0 && activation_wants_held(run) && !e->stopping)
        rc = backlog_page_held(e, run);
    run->paging_held = false;
    if (rc < 0 && !e->stopping) {
        log_warning("members of a batch can't be read from the store: %s; they are tried again",
                strerror(-rc));
        postpone_run(run);
    } else if (!e->stopping) {
        activation_refill(run);
    }
    run->users--;
    run_drop_unused(&e->runs, run);
    return rc;
}

static void activation_want_held(struct run *run)
{
    struct engine *e = run->engine;

    if (!activation_wants_held(run) || run->paging_held || e->stopping || !e->started)
        return;
    run->paging_held = true;
    run->users++;
    if (co_spawn_detached("page in held", activation_page_held, run) == 0)
        return;
    run->paging_held = false;
    postpone_run(run);
    run->users--;
}

void activation_refill(struct run *run)
{
    struct record *r;

    while ((r = run_choose_successor(run)))
        activation_let_go(r);
    activation_want_held(run);
}

/* --- an activation --- */

/*
 * Stopped with the daemon: due again at the next start. A request that went out is recorded with
 * its unknown outcome, which `on_unknown` judges; where the store was told of one that then did not
 * go out, the mark is taken back.
 */
CO_SUSPENDS static int activation_hand_back(struct step *s)
{
    struct record *r = s->record;
    const struct attempt *last = step_last_attempt(s);
    struct checkpoint as_it_was, *p = &as_it_was, *c = &s->checkpoint;
    int rc;

    if (last && last->reached >= PHASE_REQUEST) {
        rc = step_cut(s, "the daemon stopped while the request was under way: its outcome is "
                         "unknown");
        return rc < 0 ? rc : conclude(&r, &c, 1);
    }
    if (!r->job->in_flight)
        return 0;
    checkpoint_init(&as_it_was, r->job);
    return conclude(&r, &p, 1);
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
        rc = conclude(&r, &c, 1);
    if (rc == 0 && c->body)
        s->try.answer.body.file[0] = 0; /* the store's now */
    return rc;
}

/* As the list of tasks shows it. Without printf, which would take a second page of the stack. */
static void activation_name(const struct record *r)
{
    char name[CO_NAME_SIZE], *at = stpcpy(name, job_kind_name(r->job->spec.kind));

    _Static_assert(CO_NAME_SIZE >= sizeof("delivery ") + UUID7_TEXT_SIZE, "a name");
    *at++ = ' ';
    uuid7_format(r->job->id, at);
    co_name_set(name);
}

CO_SUSPENDS static int activation_main(void *arg)
{
    struct record *r = arg;
    struct engine *e = r->engine;
    struct step s = { .record = r };
    struct co_scope scope;
    int rc;

    activation_name(r);
    checkpoint_init(&s.checkpoint, r->job);
    co_scope_open(&scope, CO_NEVER, 0);
    r->scope = &scope;
    rc = r->ending != FAILURE_NONE || e->halted ? -ECANCELED : step_run(&s);
    r->scope = NULL;
    co_scope_close(&scope, 0);
    lane_leave(&e->lanes, &r->entry);
    rc = activation_settle(&s, rc);

    step_done(&s, store_bodies_fd(e->store));
    conclude_release(r);
    lanes_return_slot(&e->lanes);
    return rc;
}

/* No memory for a task: closed lanes admit nobody until the timer opens them again. */
static void activation_pause(struct record *r)
{
    struct engine *e = r->engine;

    lanes_close(&e->lanes);
    lane_leave(&e->lanes, &r->entry);
    lanes_return_slot(&e->lanes);
    postpone_rest(e);
    postpone_record(r);
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
    record_enter_busy(r);
    conclude_show_running(r, true);
}

static void activation_enter_lane(struct record *r)
{
    struct engine *e = r->engine;
    const struct request_spec *request = job_step_request(r->job, r->job->step);

    if (!request || !request->url)
        local_enter(e, r);
    else if (lane_enter(&e->lanes, &r->entry, request->origin, r->job->spec.priority, false) < 0)
        postpone_record(r);
}

void activation_withdraw(struct record *r)
{
    struct engine *e = r->engine;

    due_remove(&e->due, &r->due);
    record_set_later(r, false);
    list_remove(&r->postponed);
    local_withdraw(e, r);
    lane_withdraw(&e->lanes, &r->entry);
}

static void activation_due(struct due_item *item)
{
    struct record *r = CONTAINER_OF(item, struct record, due);

    record_set_later(r, false);
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
    else if (!r->busy && !r->engine->stopping)
        ending_soon(r);
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
        ending_soon(r);
        return;
    }
    if (j->spec.deadline_us && r->deadline.place.index == HEAP_NONE)
        rc = due_add(&e->due, &r->deadline, job_ends_us(j));
    if (j->held && rc == 0)
        return;
    if (rc == 0 && j->due_us > clock_now_us(&e->clock)) {
        rc = due_add(&e->due, &r->due, j->due_us);
        record_set_later(r, rc == 0);
    } else if (rc == 0) {
        activation_enter_lane(r);
    }
    if (rc < 0)
        postpone_record(r);
}
