#include "daemon/engine/local.h"

#include <stdlib.h>

#include "daemon/co/co.h"
#include "daemon/engine/conclude.h"
#include "daemon/engine/engine.h"

#define LOCAL_TASKS_MAX 8    /* so many groups are committed at a time */
#define LOCAL_LOOK_MAX  1024 /* records that are looked at for a group */
#define LOCAL_LOW       (BACKLOG_LANE_AHEAD / 2)

void local_init(struct local *l)
{
    *l = (struct local){ 0 };
    list_init(&l->pending);
}

/* The next steps, whose records are busy from then on. A group has members of one batch at most. */
static void local_take(struct engine *e, struct step_group *g)
{
    struct run *run = NULL;
    unsigned looked = 0;

    list_for_each_safe (it, &e->local.pending) {
        struct record *r = list_entry(it, struct record, local);

        if (g->n == STEP_GROUP_MAX || looked++ == LOCAL_LOOK_MAX)
            return;
        if (r->run && run && r->run != run)
            continue;
        run = r->run ? r->run : run;
        local_withdraw(e, r);
        record_enter_busy(r);
        step_run_local(step_group_add(g, r));
    }
}

CO_SUSPENDS static int local_main(void *arg);

static void local_start(struct engine *e)
{
    if (e->local.n_tasks == LOCAL_TASKS_MAX)
        return;
    if (co_spawn_detached("local steps", local_main, e) == 0)
        e->local.n_tasks++;
    else if (e->local.n_tasks == 0)
        postpone_rest(e);
}

CO_SUSPENDS static int local_main(void *arg)
{
    struct engine *e = arg;
    struct step_group *g = step_group_new();
    int rc = 0;

    while (g && rc == 0 && e->local.n > 0 && !e->stopping) {
        local_take(e, g);
        if (e->local.n > 0)
            local_start(e);
        if (e->local.n < LOCAL_LOW)
            backlog_lane_low(e, 0);
        rc = step_group_conclude(g);
    }
    if (!g)
        postpone_rest(e);
    step_group_free(g);
    e->local.n_tasks--;
    if (e->local.n == 0)
        backlog_lane_low(e, 0);
    return rc;
}

void local_pump(struct engine *e)
{
    /* Those at work take what comes meanwhile together, when they are done. */
    if (e->local.n > STEP_GROUP_MAX * e->local.n_tasks && !e->stopping && e->started)
        local_start(e);
}

void local_enter(struct engine *e, struct record *r)
{
    list_append(&e->local.pending, &r->local);
    e->local.n++;
    local_pump(e);
}

void local_withdraw(struct engine *e, struct record *r)
{
    if (list_empty(&r->local))
        return;
    list_remove(&r->local);
    e->local.n--;
}
