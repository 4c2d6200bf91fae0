#include "daemon/engine/redate.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/co/co.h"
#include "daemon/engine/activation.h"
#include "daemon/engine/engine.h"
#include "daemon/model/job.h"
#include "daemon/store/store.h"

#define AGAIN_NS 1000000000LL /* after an error of the store */

void redate_jumped(struct clock_watch *w)
{
    struct engine *e = CONTAINER_OF(w, struct engine, clock_watch);

    due_recheck(&e->due);
    e->redate = true;
    co_condition_notify_all(&e->clock_jumped);
}

static bool redate_concerns(const struct record *r)
{
    const struct job *j = r->job;

    return j->spec.at_us && j->state == JOB_PENDING && !r->busy &&
           (j->held || r->due.place.index != HEAP_NONE);
}

/* Those in memory. Nothing suspends. */
static void redate_records(struct engine *e, int64_t ahead_us)
{
    list_for_each_safe (it, &e->records.active) {
        struct record *r = list_entry(it, struct record, place);

        if (!redate_concerns(r))
            continue;
        activation_withdraw(r);
        r->job->due_us = r->job->spec.at_us - ahead_us;
        activation_schedule(r);
    }
}

/* Suspends. Those in the store, which remembers for the next start how far the clocks are apart. */
CO_SUSPENDS static int redate_store(struct engine *e, int64_t ahead_us)
{
    int64_t after = 0;
    int rc = store_set_clock_offset(e->store, ahead_us);

    if (rc == 0)
        while ((rc = store_redate(e->store, ahead_us, &after)) > 0)
            ;
    return rc;
}

int redate_main(void *engine)
{
    struct engine *e = engine;
    int rc = 0;

    while (rc == 0 && !e->stopping) {
        int64_t ahead_us = clock_wall_ahead_us(&e->clock);

        if (!e->redate) {
            rc = co_condition_wait(&e->clock_jumped);
            continue;
        }
        e->redate = false;
        log_info("the wall clock is %+.3f s from where it was at the start: jobs with a date go by "
                 "it, all others by the time that has passed",
                (double)ahead_us / (double)CLOCK_US_PER_S);
        redate_records(e, ahead_us);
        rc = redate_store(e, ahead_us);
        redate_records(e, ahead_us); /* what was on its way in from the store has come by now */
        backlog_recheck(e);
        if (rc < 0 && rc != -ECANCELED) {
            log_warning("jobs with a date can't be moved: %s; it is tried again", strerror(-rc));
            e->redate = true;
            rc = co_sleep(AGAIN_NS);
        }
    }
    return 0;
}
