#include "daemon/transfer/transfer.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/buf.h"
#include "daemon/base/clock.h"
#include "daemon/base/table.h"
#include "daemon/co/co.h"
#include "daemon/transfer/crew.h"
#include "daemon/transfer/drive.h"
#include "daemon/transfer/egress.h"
#include "daemon/transfer/flight.h"
#include "daemon/transfer/outcome.h"
#include "daemon/transfer/pump.h"
#include "daemon/transfer/remote.h"
#include "daemon/transfer/resolve.h"
#include "daemon/transfer/target.h"

#define PINNED_MAX 8   /* addresses that are tried one after another */
#define TOGETHER   64  /* exchanges in one message: the first one waits for the others to begin */
#define IDLE_MAX   512 /* connections that a thread keeps; libcurl walks them all now and then */
#define SPILL      64 /* so many exchanges more than another thread has, and an origin goes there */

struct berth {
    struct pump *pump;
    unsigned active;
    struct list departing; /* flights that leave in one message */
    unsigned n_departing;
};

struct transfer {
    struct loop *loop;
    struct transfer_options options;
    struct egress *egress;
    struct resolver *resolver;
    struct body_space space;
    struct berth *pumps;
    unsigned n_pumps;
    struct crew *crews[EXECUTOR_MAX];   /* NULL: the pumps' */
    struct co_gate turns[EXECUTOR_MAX]; /* a permit for each thread of the crew */
    atomic_bool landlock_missed;
    bool curl;
};

static unsigned transfer_cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n > 0 ? (unsigned)n : 1;
}

/* The share of each of `n` threads. */
static unsigned transfer_idle_connections(const struct transfer *t, unsigned n)
{
    unsigned share = t->options.idle_connections / n;

    if (t->options.idle_connections == 0 || share > IDLE_MAX)
        return IDLE_MAX;
    return share > 0 ? share : 1;
}

static int transfer_start_pumps(struct transfer *t)
{
    unsigned n = t->options.threads ? t->options.threads : transfer_cores();
    int rc = 0;

    t->pumps = calloc(n, sizeof(*t->pumps));
    if (!t->pumps)
        return -ENOMEM;
    while (rc == 0 && t->n_pumps < n) {
        struct pump_options options = {
            .number = t->n_pumps,
            .connect_timeout_us = t->options.connect_timeout_us,
            .idle_connections = transfer_idle_connections(t, n),
        };

        list_init(&t->pumps[t->n_pumps].departing);
        rc = pump_new(&options, &t->pumps[t->n_pumps].pump);
        if (rc == 0)
            t->n_pumps++;
    }
    return rc;
}

static int transfer_open_crews(struct transfer *t)
{
    const struct crew_options options[EXECUTOR_MAX] = {
        [EXECUTOR_THREAD] = { &drive_carrier, .max_threads = t->options.executor_threads },
        [EXECUTOR_PROCESS] = { &remote_carrier, .max_threads = t->options.executor_processes },
    };
    int rc = 0;

    for (int i = 0; rc == 0 && i < EXECUTOR_MAX; i++) {
        struct crew_options o = options[i];

        o.carrier.connect_timeout_us = t->options.connect_timeout_us;
        o.carrier.landlock_missed = &t->landlock_missed;
        co_gate_init(&t->turns[i], o.max_threads);
        if (o.max_threads > 0)
            rc = crew_new(&o, &t->crews[i]);
    }
    return rc;
}

int transfer_new(struct loop *main_loop, const struct transfer_options *options, struct egress *e,
        struct transfer **ret, struct error *ret_why)
{
    struct resolver_options resolving = { .servers = options->name_servers };
    struct transfer *t = calloc(1, sizeof(*t));
    int rc;

    if (!t)
        return error_set(ret_why, -ENOMEM, "out of memory");
    t->loop = main_loop;
    t->options = *options;
    t->egress = egress_ref(e);
    t->space.directory_fd = options->body_directory_fd;
    t->space.more_space = options->more_space;
    t->space.more_space_arg = options->more_space_arg;
    atomic_init(&t->space.free_bytes, options->body_memory_bytes);
    t->curl = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    rc = t->curl ? resolver_new(main_loop, &resolving, &t->resolver) : -ENOMEM;
    if (rc < 0) {
        error_set(ret_why, rc, "the name resolver does not start: %s", strerrordesc_np(-rc));
    } else {
        rc = transfer_start_pumps(t);
        if (rc == 0)
            rc = transfer_open_crews(t);
        if (rc < 0)
            error_set(ret_why, rc, "the transfer threads do not start: %s", strerrordesc_np(-rc));
    }
    if (rc < 0) {
        transfer_free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

struct transfer *transfer_free(struct transfer *t)
{
    if (!t)
        return NULL;
    for (unsigned i = 0; i < t->n_pumps; i++) {
        assert(t->pumps[i].active == 0);
        pump_free(t->pumps[i].pump);
    }
    free(t->pumps);
    for (int i = 0; i < EXECUTOR_MAX; i++)
        crew_free(t->crews[i]);
    resolver_free(t->resolver);
    if (t->curl)
        curl_global_cleanup();
    egress_unref(t->egress);
    free(t);
    return NULL;
}

void transfer_set_egress(struct transfer *t, struct egress *e)
{
    egress_ref(e);
    egress_unref(t->egress);
    t->egress = e;
}

int transfer_reserve(struct transfer *t, enum executor executor)
{
    return t->crews[executor] ? co_gate_enter(&t->turns[executor]) : 0;
}

void transfer_release(struct transfer *t, enum executor executor)
{
    if (t->crews[executor])
        co_gate_leave(&t->turns[executor]);
}

void answer_done(struct answer *a)
{
    attempt_done(&a->attempt);
    blob_done(&a->headers);
    body_done(&a->body);
    free(a->redirect_url);
    *a = (struct answer){ 0 };
}

/* What an exchange needs until it is under way. Not on a task's stack, which keeps what it touched. */
struct route {
    struct target target;
    struct resolved resolved;
    const struct egress *egress;
    struct attempt *attempt;
    char *pin; /* owned */
    int rc;
};

static void route_free(struct route *r)
{
    if (r)
        free(r->pin);
    free(r);
}

CLEANUP_DEFINE(struct route, route_free, cleanup_route)

static uint64_t transfer_hash(const struct target *target)
{
    uint64_t hash = table_hash_bytes(target->host, strlen(target->host));

    return table_hash_int(hash ^ target->port ^ (uint64_t)target->https << 16);
}

/* The thread that the origin's connections are on, unless it is far busier than another. */
static struct berth *transfer_choose(struct transfer *t, uint64_t origin)
{
    struct berth *usual, *least = &t->pumps[0];

    usual = &t->pumps[origin % t->n_pumps];
    for (unsigned i = 1; i < t->n_pumps; i++)
        if (t->pumps[i].active < least->active)
            least = &t->pumps[i];
    return usual->active > least->active + SPILL ? least : usual;
}

/* 1: refused, and the attempt says why. */
static int transfer_vet_literal(const struct egress *e, const struct target *t, struct attempt *a)
{
    union address address;
    const char *why;

    address_parse(t->host, t->port, &address);
    why = egress_refusal(e, &address.any);
    if (!why)
        return 0;
    outcome_fail(a, FAILURE_BLOCKED_ADDRESS, PHASE_NONE, true, "%s may not be called (%s)", t->host,
            why);
    return 1;
}

/* One denied address among them refuses the name: mixing is how a name is bent inwards. */
static int transfer_vet_resolved(const struct egress *e, const struct target *t,
        struct resolved *resolved, struct attempt *a)
{
    bool local = egress_host_is_local(t->host);
    const char *why = NULL, *last = NULL;
    char text[ADDRESS_TEXT_SIZE];
    unsigned n = 0;

    for (unsigned i = 0; i < resolved->n; i++) {
        why = egress_refusal(e, &resolved->addresses[i].any);
        if (!why) {
            resolved->addresses[n++] = resolved->addresses[i];
            continue;
        }
        address_format_host(&resolved->addresses[i], text);
        last = why;
        if (!local)
            break;
    }
    if (local ? n > 0 : !last) {
        resolved->n = n;
        return 0;
    }
    outcome_fail(a, FAILURE_BLOCKED_ADDRESS, a->reached, true,
            "%s is %s, which may not be called (%s)", t->host, text, last);
    return 1;
}

/* "+host:port:192.0.2.1,2001:db8::1" replaces what libcurl knows of the name, for a while. */
static int transfer_pin(const struct target *t, const struct resolved *resolved, char **ret)
{
    struct buf b = { 0 };
    char text[ADDRESS_TEXT_SIZE];
    int rc = buf_printf(&b, "+%s:%u:", t->host, t->port);

    for (unsigned i = 0; rc == 0 && i < resolved->n && i < PINNED_MAX; i++) {
        address_format_host(&resolved->addresses[i], text);
        if (i > 0)
            rc = buf_append(&b, ",", 1);
        if (rc == 0)
            rc = buf_append_str(&b, text);
    }
    if (rc == 0)
        rc = buf_append(&b, "", 1);
    if (rc < 0) {
        buf_done(&b);
        return rc;
    }
    *ret = b.data;
    return 0;
}

/* On the loop's own stack: printing addresses takes a page of it. */
static void route_vet_and_pin(void *arg)
{
    struct route *r = arg;

    r->rc = transfer_vet_resolved(r->egress, &r->target, &r->resolved, r->attempt);
    if (r->rc == 0)
        r->rc = transfer_pin(&r->target, &r->resolved, &r->pin);
}

static void resolved_set_local(struct resolved *ret)
{
    ret->n = 0;
    address_parse("127.0.0.1", 0, &ret->addresses[ret->n++]);
    address_parse("::1", 0, &ret->addresses[ret->n++]);
}

static int transfer_lookup_failed(const struct exchange *x, const struct target *t,
        struct attempt *a, int rc, const char *why)
{
    switch (rc) {
    case -ENOMEM:
        return rc;
    case -ECANCELED:
        outcome_fail(a, FAILURE_CANCELLED, PHASE_DNS, true, "the exchange was cancelled");
        return rc;
    case -ENOENT:
        outcome_fail(a, FAILURE_DNS_NOT_FOUND, PHASE_DNS, true, "%s: %s", t->host, why);
        return 1;
    case -ETIMEDOUT:
        if (clock_mono_ns() >= x->deadline_ns) {
            outcome_fail(a, FAILURE_TIMEOUT, PHASE_DNS, true,
                    "%s: the name servers did not answer in time", t->host);
            return 1;
        }
        break;
    default:
        break;
    }
    outcome_fail(a, FAILURE_DNS_FAILED, PHASE_DNS, true, "%s: %s", t->host, why);
    return 1;
}

/* Suspends. 0: where to connect is known and vetted; 1: the attempt says why not. */
CO_SUSPENDS static int transfer_resolve(struct transfer *t, struct route *r, struct flight *f)
{
    const struct target *target = &r->target;
    struct attempt *a = &f->answer->attempt;
    const char *why = "";
    struct co_scope scope;
    int64_t begun_ns;
    int rc;

    if (target->literal)
        return transfer_vet_literal(f->egress, target, a);
    if (egress_host_is_local(target->host)) {
        resolved_set_local(&r->resolved);
    } else {
        begun_ns = clock_mono_ns();
        co_scope_open(&scope, f->x->deadline_ns, 0);
        rc = resolver_lookup(t->resolver, target->host, &r->resolved, &why);
        rc = co_scope_close(&scope, rc);
        f->dns_us = (clock_mono_ns() - begun_ns) / CLOCK_NS_PER_US;
        a->reached = PHASE_DNS;
        a->dns_us = a->total_us = f->dns_us;
        if (rc < 0)
            return transfer_lookup_failed(f->x, target, a, rc, why);
    }
    r->egress = f->egress;
    r->attempt = a;
    co_on_loop(route_vet_and_pin, r);
    f->pin = TAKE_PTR(r->pin);
    return r->rc;
}

/* Suspends. 0: the origin's number is known, and it may be called; 1: the attempt says why not. */
CO_SUSPENDS static int transfer_find(struct transfer *t, struct flight *f)
{
    struct route *r CLEANUP(cleanup_route) = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    if (target_parse(f->x->url, &r->target) < 0) {
        outcome_fail(&f->answer->attempt, FAILURE_INTERNAL, PHASE_NONE, true,
                "\"%s\" is not a canonical URL", f->x->url);
        return 1;
    }
    f->origin = transfer_hash(&r->target);
    return transfer_resolve(t, r, f);
}

static void berth_send(struct berth *b)
{
    b->n_departing = 0;
    pump_start(b->pump, &b->departing);
}

/* Suspends, while others are ready: what they start goes out in the same message. */
CO_SUSPENDS static void transfer_depart(struct berth *b, struct flight *f)
{
    list_append(&b->departing, &f->node);
    b->n_departing++;
    if (b->n_departing == 1)
        (void)co_yield();
    else if (b->n_departing < TOGETHER)
        return;
    berth_send(b);
}

/* Suspends. One that was told to stop is back soon. */
CO_SUSPENDS static void flight_await_stopped(struct flight *f)
{
    struct co_scope shield;

    co_scope_open(&shield, CO_NEVER, CO_SHIELD);
    co_event_wait(&f->landed);
    co_scope_close(&shield, 0);
}

/* Suspends. */
CO_SUSPENDS static int transfer_pump(struct transfer *t, struct flight *f)
{
    struct berth *berth = transfer_choose(t, f->origin);
    int rc;

    berth->active++;
    transfer_depart(berth, f);
    rc = co_event_wait(&f->landed);
    if (rc < 0) {
        berth_send(berth);
        if (f->n_out > 0)
            pump_stop(f);
        flight_await_stopped(f);
    }
    berth->active--;
    return rc;
}

/* Suspends. -ETIMEDOUT: its turn did not come in time; then it is late, but not out. */
CO_SUSPENDS static int transfer_await_turn(struct crew *c, struct flight *f)
{
    struct co_scope scope;
    int rc;

    co_scope_open(&scope, f->x->deadline_ns, 0);
    rc = co_scope_close(&scope, co_event_wait(&f->landed));
    if (rc == -ETIMEDOUT && !crew_revoke(c, f))
        rc = co_event_wait(&f->landed);
    return rc;
}

/* Suspends. */
CO_SUSPENDS static int transfer_execute(struct crew *c, struct flight *f)
{
    int rc = crew_start(c, f, f->origin);

    if (rc < 0) {
        f->record.failed = rc;
        outcome_record_late(f);
        return 0;
    }
    rc = transfer_await_turn(c, f);
    if (rc == -ETIMEDOUT) {
        outcome_record_late(f);
        return 0;
    }
    if (rc == 0)
        return 0;
    if (crew_revoke(c, f)) {
        f->record.stopped = true;
        outcome_record_late(f);
    } else {
        crew_stop(c, f);
        flight_await_stopped(f);
    }
    return rc;
}

/* Suspends. The flight is back when this returns, whatever it returns. */
CO_SUSPENDS static int transfer_fly(struct transfer *t, struct flight *f)
{
    struct crew *c = t->crews[f->x->executor];

    f->home = co_current();
    co_event_init(&f->landed);
    return c ? transfer_execute(c, f) : transfer_pump(t, f);
}

/* Suspends. What came of the body is the caller's, unless the exchange was stopped or we failed. */
CO_SUSPENDS static int transfer_finish_body(struct flight *f)
{
    struct attempt *a = &f->answer->attempt;
    enum failure failure = a->error.failure;
    int rc;

    if (failure == FAILURE_CANCELLED || failure == FAILURE_INTERNAL ||
            failure == FAILURE_STORAGE_FULL || a->status == 0) {
        body_sink_drop(&f->body);
        return 0;
    }
    rc = body_sink_finish(&f->body, &f->answer->body);
    f->answer->body.truncated = failure != FAILURE_NONE;
    if (rc < 0) {
        body_sink_drop(&f->body);
        if (rc == -ECANCELED)
            outcome_fail(a, FAILURE_CANCELLED, a->reached, f->x->idempotent,
                    "the exchange was cancelled");
        else
            outcome_fail(a, body_is_full(rc) ? FAILURE_STORAGE_FULL : FAILURE_INTERNAL, a->reached,
                    f->x->idempotent, "the answer's body could not be stored: %s",
                    strerrordesc_np(-rc));
    }
    return rc == -ECANCELED ? rc : 0;
}

static void flight_free(struct flight *f)
{
    egress_unref(f->egress);
    free(f->pin);
    free(f);
}

CLEANUP_DEFINE(struct flight, flight_free, cleanup_flight)

static struct flight *flight_new(
        struct transfer *t, const struct exchange *x, struct answer *answer)
{
    struct flight *f = calloc(1, sizeof(*f));

    if (!f)
        return NULL;
    f->x = x;
    f->answer = answer;
    f->egress = egress_ref(t->egress);
    f->dns_us = PHASE_NOT_TAKEN;
    f->limit_us = (x->deadline_ns - clock_mono_ns()) / CLOCK_NS_PER_US;
    f->record.content_length = -1;
    body_sink_init(&f->body, &t->space, x->file, x->max_body_bytes);
    return f;
}

int transfer_run(struct transfer *t, const struct exchange *x, struct answer *ret)
{
    struct flight *f CLEANUP(cleanup_flight) = NULL;
    int rc, stopped;

    *ret = (struct answer){ 0 };
    attempt_init(&ret->attempt);
    if (co_cancelled()) {
        outcome_fail(
                &ret->attempt, FAILURE_CANCELLED, PHASE_NONE, true, "the exchange was cancelled");
        return -ECANCELED;
    }
    f = flight_new(t, x, ret);
    if (!f)
        return -ENOMEM;
    rc = transfer_find(t, f);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = transfer_fly(t, f);
    stopped = transfer_finish_body(f);
    return rc < 0 ? rc : stopped;
}
