#include "daemon/engine/local.h"

#include <stdlib.h>

#include "daemon/base/log.h"
#include "daemon/co/co.h"
#include "daemon/engine/conclude.h"
#include "daemon/engine/engine.h"

#define LOCAL_TASKS_MAX 2 /* one commits while the other one prepares */
#define LOCAL_LOW       (BACKLOG_LANE_AHEAD / 2)

void local_init(struct local *l)
{
    *l = (struct local){ 0 };
    list_init(&l->pending);
}

/* The steps of a group at most, whose records are busy from then on. */
static size_t local_take(struct engine *e, struct step_group *g)
{
    size_t n = 0;

    while (n < STEP_GROUP_MAX && e->local.n > 0) {
        struct record *r = list_entry(e->local.pending.next, struct record, local);

        local_withdraw(e, r);
        record_enter_busy(r);
        step_group_add(g, r);
        step_run_local(&g->steps[n]);
        n++;
    }
    return n;
}

CO_SUSPENDS static int local_main(void *arg)
{
    struct engine *e = arg;
    struct step_group *g = step_group_new();
    int rc = 0;

    while (g && rc == 0 && e->local.n > 0 && !e->stopping) {
        local_take(e, g);
        if (e->local.n < LOCAL_LOW)
            backlog_lane_low(e, 0);
        rc = step_group_conclude(g);
    }
    step_group_free(g);
    e->local.n_tasks--;
    if (e->local.n == 0)
        backlog_lane_low(e, 0);
    return rc;
}

void local_pump(struct engine *e)
{
    /* A second one only where there is enough for both. */
    if (e->local.n <= STEP_GROUP_MAX * e->local.n_tasks || e->local.n_tasks == LOCAL_TASKS_MAX ||
            e->stopping || !e->started)
        return;
    if (co_spawn_detached("local steps", local_main, e) == 0)
        e->local.n_tasks++;
    else if (e->local.n_tasks == 0)
        log_error("no memory for jobs without a network: they wait for the next one of them");
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
