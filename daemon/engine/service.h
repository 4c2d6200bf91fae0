/*
 * The one facade that the API uses: submit, look up, wait, cancel. Everything here belongs to the
 * main loop, unless it says otherwise. Jobs are given out as references of the live record or of
 * a loaded copy: they may be read until the next suspension, and a live one changes after it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/clock.h"
#include "daemon/base/error.h"
#include "daemon/co/suspends.h"
#include "daemon/model/batch.h"
#include "daemon/model/job.h"
#include "daemon/store/store.h"

struct egress;
struct loop;
struct service;
struct transfer;

#define SERVICE_LANES_MAX 1024 /* configured ones */

struct lane_options {
    const char *origin; /* canonical: scheme://host:port */
    unsigned concurrency;
};

/* What a job gets that does not say otherwise. */
struct job_defaults {
    int64_t timeout_us;
    int64_t max_body_bytes;
    unsigned fetch_attempts, delivery_attempts;
    unsigned fetch_redirects, delivery_redirects;
    int64_t backoff_us, max_backoff_us;
};

/* How long what has ended stays readable: each of them is a limit. */
struct retention_options {
    int64_t age_us;
    unsigned count;
    int64_t bytes;
    int64_t idempotency_us; /* how long an Idempotency-Key is known, from its first use */
};

struct service_options {
    unsigned max_active;  /* slots: activations at a time */
    unsigned max_jobs;    /* not ended; past it submits get -EAGAIN */
    unsigned max_batches; /* running; past it submits get -EAGAIN */
    unsigned max_lanes;   /* origins of jobs that have not ended; past it submits get -EUSERS */
    unsigned window;      /* jobs in memory that do not run: those that run come on top */
    int64_t window_bytes; /* the same, in bytes of their specs and bodies */
    struct retention_options retention;
    unsigned lane_concurrency; /* of an origin that `lanes` does not name */
    const struct lane_options *lanes;
    size_t n_lanes;
    int64_t max_body_bytes; /* upper bound of a job's own max_body */
    struct job_defaults defaults;
};

/* `t`, `s` and `e` outlive the service (`e` is referenced). -errno with the reason. */
int service_new(struct loop *loop, const struct service_options *options, struct transfer *t,
        struct store *s, struct egress *e, struct service **ret, struct error *ret_why);
struct service *service_free(struct service *s);
/* Suspends. Takes up everything that has not ended. */
CO_SUSPENDS int service_start(struct service *s);
/* Takes the new lanes, defaults and egress rules; what needs a restart stays as it is. -ENOMEM: nothing changed. */
int service_reload(struct service *s, const struct service_options *options, struct egress *e);
/*
 * Suspends. No new jobs from now on (-ESHUTDOWN), nothing is started any more; waits for what runs
 * until `deadline_ns`, then stops it: it is due again at the next start. Waiters get what there is.
 */
CO_SUSPENDS int service_stop(struct service *s, int64_t deadline_ns);
/* During service_stop(): its deadline is now. */
void service_hurry(struct service *s);
/* Jobs that run: what a stop waits for. */
unsigned service_busy(const struct service *s);
/* Started and not stopping. */
bool service_ready(const struct service *s);
const struct clock *service_clock(const struct service *s);

/*
 * An immutable picture of what a submit is checked against, for any thread: reference counted,
 * atomically.
 */
struct service_rules {
    struct job_defaults defaults;
    int64_t max_body_bytes;
    struct egress *egress;
    unsigned refs;
};
struct service_rules *service_rules_ref(struct service *s);
struct service_rules *service_rules_unref(struct service_rules *r);
CLEANUP_DEFINE(struct service_rules, service_rules_unref, cleanup_service_rules)
/*
 * Checks what the client gave, and gives `request`, which has neither yet, its url and its origin.
 * -EINVAL no URL that we call, -EACCES an address that the egress rules refuse, with the reason.
 */
int service_vet(const struct service_rules *r, const char *url, struct request_spec *request,
        struct error *ret_why);

enum submit_outcome {
    SUBMIT_ACCEPTED,
    SUBMIT_REPLAYED, /* its Idempotency-Key is known: this is the job of that time, as it stands */
    SUBMIT_MISMATCHED, /* its key is known for something else; no job */
    SUBMIT_FORGOTTEN,  /* its key is known, and its job was removed by retention; no job */
};

/*
 * Suspends. Accepts the jobs: ids are given, they are committed, then they may start. The specs
 * are taken over (empty afterwards) when it succeeds. `ret_jobs` gets n references (or NULL, as
 * ret_outcomes says).
 * -EAGAIN the queue is full, -EUSERS too many origins, -ESHUTDOWN, -ENOSPC, -EIO, -ENOMEM: none
 * was accepted.
 */
CO_SUSPENDS int service_submit(struct service *s, struct job_spec *specs, size_t n,
        struct job **ret_jobs, enum submit_outcome *ret_outcomes);

struct submitted_batch {
    enum submit_outcome outcome;
    struct batch batch;
    struct uuid7 *ids; /* owned: of its jobs, in input order */
    size_t n;
};
/*
 * Suspends. The same for a batch, 1 to BATCH_JOBS_MAX jobs. `idempotency` (NULL: none) is the
 * batch's own; its jobs have none.
 */
CO_SUSPENDS int service_submit_batch(struct service *s, const struct batch *options,
        struct job_spec *specs, size_t n, const struct idempotency *idempotency,
        struct submitted_batch *ret);
/*
 * When a submit that was refused with `refusal` (-EAGAIN, -EUSERS, -ENOSPC, -ESHUTDOWN) may work:
 * whole seconds from 1 on, from how fast jobs end now.
 */
unsigned service_retry_after_s(const struct service *s, int refusal);
/* Suspends. As store_backup(). */
CO_SUSPENDS int service_backup(struct service *s, struct store_backup *ret);

/* Suspends. -ENOENT. */
CO_SUSPENDS int service_get(struct service *s, struct uuid7 id, struct job **ret);
/* Suspends. As service_get(), after the job has ended or at `deadline_ns`, or when the service stops. */
CO_SUSPENDS int service_wait(
        struct service *s, struct uuid7 id, int64_t deadline_ns, struct job **ret);
/* Suspends. Until the cancel is committed; *ret is the job. -ENOENT, -EALREADY: it had ended otherwise (*ret is set). */
CO_SUSPENDS int service_cancel(struct service *s, struct uuid7 id, struct job **ret);
/* Suspends. -ENOENT no such job, -EBUSY it has not ended, -ENODATA it has no body of that step. */
CO_SUSPENDS int service_body(
        struct service *s, struct uuid7 id, enum job_step step, struct store_body *ret);
/* The directory of body files. */
int service_bodies_fd(const struct service *s);
/* Suspends. As store_list(), with JOB_RUNNING among the filter's states. */
CO_SUSPENDS int service_list(struct service *s, const struct store_filter *filter, int64_t from,
        size_t limit, bool full, struct store_page *ret);

/* Suspends. -ENOENT. */
CO_SUSPENDS int service_get_batch(struct service *s, struct uuid7 id, struct batch *ret);
/* Suspends. After it has ended, or at `deadline_ns`, or when the service stops. */
CO_SUSPENDS int service_wait_batch(
        struct service *s, struct uuid7 id, int64_t deadline_ns, struct batch *ret);
/* Suspends. Cancels what has not ended; until that is committed. -ENOENT, -EALREADY: it had ended otherwise. */
CO_SUSPENDS int service_cancel_batch(struct service *s, struct uuid7 id, struct batch *ret);
/* Suspends. Newest first. */
CO_SUSPENDS int service_list_batches(
        struct service *s, int64_t from, size_t limit, struct store_batches *ret);
/*
 * Suspends. The batch's ended jobs after `after` in finishing order, up to `limit`: waits until
 * there is one, the batch has ended (then n may be 0), or `deadline_ns` (n is 0). -ENOENT,
 * -ESHUTDOWN: the service stops first.
 * *ret_ended: no more will come after these.
 */
CO_SUSPENDS int service_batch_results(struct service *s, struct uuid7 id, int64_t after,
        size_t limit, int64_t deadline_ns, struct store_page *ret, bool *ret_ended);
