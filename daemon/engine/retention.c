#include "daemon/engine/retention.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/co/co.h"
#include "daemon/engine/engine.h"
#include "daemon/store/store.h"

#define LOOK_JOBS  256                   /* after so many have ended it looks at the limits again */
#define LOOK_BYTES (16LL << 20)          /* or after so many bytes of bodies */
#define REST_NS    5000000LL             /* between two slices: others come first */
#define REST_US    CLOCK_US_PER_S        /* between two looks, if nothing is said to have changed */
#define AGAIN_US   (10 * CLOCK_US_PER_S) /* after an error */
#define KEYS_LOOKS 24                    /* looks at the keys in the time that one is kept */

void retention_init(struct retention *r, const struct retention_options *options)
{
    *r = (struct retention){ .options = *options, .look = true };
    co_condition_init(&r->changed);
}

static void retention_look(struct retention *r)
{
    r->look = true;
    co_condition_notify_all(&r->changed);
}

void retention_set(struct retention *r, const struct retention_options *options)
{
    r->options = *options;
    retention_look(r);
}

void retention_count(struct engine *e, const struct job *j)
{
    struct retention *r = &e->retention;

    if (r->n_ended++ == 0) {
        r->first_ended_us = j->finished_us;
        co_condition_notify_all(&r->changed); /* that one's age may be the next to be up */
    }
    r->ended_bytes += j->result.body_bytes;
    if (r->n_ended >= LOOK_JOBS || r->ended_bytes >= LOOK_BYTES)
        retention_look(r);
}

static void retention_forget(struct engine *e, const struct store_purge *purge)
{
    for (size_t i = 0; i < purge->n; i++) {
        struct record *r = records_find(&e->records, purge->ids[i]);

        if (r)
            records_drop(&e->records, r);
    }
}

/* Suspends. All that is beyond the limits. *ret_next_us: when the next one is too old. */
CO_SUSPENDS static int retention_purge(struct engine *e, int64_t *ret_next_us)
{
    const struct retention_options *o = &e->retention.options;
    CLEANUP(store_purge_done) struct store_purge purge = { 0 };
    struct store_limits limits;
    int rc;

    do {
        store_purge_done(&purge);
        limits = (struct store_limits){
            .finished_before_us = clock_now_us(&e->clock) - o->age_us,
            .max_ended = o->count,
            .max_bytes = o->bytes,
        };
        rc = store_purge(e->store, &limits, &purge);
        if (rc < 0)
            return rc;
        retention_forget(e, &purge);
        *ret_next_us = purge.oldest_us ? purge.oldest_us + o->age_us : CLOCK_NEVER;
        if (purge.more)
            rc = co_sleep(REST_NS);
    } while (rc == 0 && purge.more);
    return rc;
}

CO_SUSPENDS static int retention_forget_keys(struct engine *e)
{
    int64_t before_us = clock_now_us(&e->clock) - e->retention.options.idempotency_us;
    int rc;

    while ((rc = store_forget_keys(e->store, before_us)) > 0)
        if ((rc = co_sleep(REST_NS)) < 0)
            break;
    return rc;
}

/* Suspends. Until that time, or until something changes. */
CO_SUSPENDS static int retention_sleep(struct engine *e, int64_t until_us)
{
    struct co_scope scope;
    int rc;

    co_scope_open(&scope, clock_to_mono_ns(&e->clock, until_us), 0);
    rc = co_condition_wait(&e->retention.changed);
    rc = co_scope_close(&scope, rc);
    return rc == -ETIMEDOUT ? 0 : rc;
}

/* Suspends. Until the next one is too old, at `until_us` or what has ended since, or a look is asked for. */
CO_SUSPENDS static int retention_wait(struct engine *e, int64_t until_us)
{
    struct retention *r = &e->retention;
    int rc = 0;

    while (rc == 0 && !r->look && clock_now_us(&e->clock) < until_us) {
        if (r->n_ended > 0 && r->first_ended_us + r->options.age_us < until_us)
            until_us = r->first_ended_us + r->options.age_us;
        else
            rc = retention_sleep(e, until_us);
    }
    return rc;
}

int retention_main(void *engine)
{
    struct engine *e = engine;
    struct retention *r = &e->retention;
    int64_t next_us, keys_us = 0;
    int rc = 0;

    while (rc != -ECANCELED && !e->stopping) {
        r->look = false;
        r->n_ended = 0;
        r->ended_bytes = 0;
        next_us = CLOCK_NEVER;
        rc = retention_purge(e, &next_us);
        if (rc == 0 && keys_us <= clock_now_us(&e->clock)) {
            rc = retention_forget_keys(e);
            keys_us = clock_now_us(&e->clock) + r->options.idempotency_us / KEYS_LOOKS;
        }
        if (rc < 0 && rc != -ECANCELED) {
            log_warning("what is too old can't be removed: %s; it is tried again", strerror(-rc));
            next_us = clock_now_us(&e->clock) + AGAIN_US;
            r->look = false;
        }
        /* The last job of a batch that has not ended is too old without going. */
        if (next_us < clock_now_us(&e->clock) + REST_US)
            next_us = clock_now_us(&e->clock) + REST_US;
        if (rc != -ECANCELED)
            rc = retention_wait(e, next_us < keys_us ? next_us : keys_us);
    }
    return 0;
}
