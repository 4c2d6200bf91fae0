#include "daemon/engine/fetch.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/co/co.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/service.h"
#include "daemon/store/store.h"
#include "daemon/transfer/egress.h"

#define FETCH_NAME_SIZE 64 /* of what is named after an exchange, as of struct exchange's file */

/* What the next exchange of a try sends. */
struct hop {
    unsigned n;
    const char *url, *origin, *method;
    const struct blob *headers;
    const struct blob *body;
    struct egress_url target;    /* owned: of a redirect */
    struct blob foreign_headers; /* owned: what may go to a foreign origin */
};

/* A header that says nothing about who asks; all others stay with the origin they were meant for. */
static const char *const harmless_headers[] = {
    "accept",
    "accept-encoding",
    "accept-language",
    "user-agent",
};

static const char *const body_headers[] = {
    "content-type",
    "content-encoding",
    "content-language",
    "content-location",
    "digest",
    "content-digest",
};

static bool fetch_is_one_of(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void hop_done(struct hop *h)
{
    egress_url_done(&h->target);
    blob_done(&h->foreign_headers);
}

void fetch_try_done(struct fetch_try *t, int bodies_fd)
{
    for (size_t i = 0; i < t->n_attempts; i++)
        attempt_done(&t->attempts[i]);
    free(t->attempts);
    if (t->answer.body.file[0])
        unlinkat(bodies_fd, t->answer.body.file, 0);
    answer_done(&t->answer);
    *t = (struct fetch_try){ 0 };
}

__attribute__((format(printf, 4, 5))) static int fetch_fail(
        struct attempt *a, enum failure failure, bool retry_safe, const char *format, ...)
{
    va_list args;
    char *message;
    int n;

    va_start(args, format);
    n = vasprintf(&message, format, args);
    va_end(args);
    if (n < 0)
        return -ENOMEM;
    job_error_done(&a->error);
    a->error = (struct job_error){
        .failure = failure, .phase = a->reached, .retry_safe = retry_safe, .message = message
    };
    return 0;
}

/* RFC 9110 section 15.4: 303 turns into GET, and so do 301 and 302 for POST, as everybody does. */
static bool fetch_becomes_get(unsigned status, const char *method)
{
    if (status == 303)
        return strcmp(method, "HEAD") != 0;
    return (status == 301 || status == 302) && strcmp(method, "POST") == 0;
}

static int fetch_strip_headers(
        const struct blob *from, bool foreign, bool bodyless, struct blob *ret)
{
    struct blob kept = { 0 };
    const char *name, *value;
    int rc = 0;

    for (size_t at = 0; rc == 0 && pack_header_next(from, &at, &name, &value);) {
        if (foreign && !fetch_is_one_of(name, harmless_headers, ARRAY_LEN(harmless_headers)) &&
                (bodyless || !fetch_is_one_of(name, body_headers, ARRAY_LEN(body_headers))))
            continue;
        if (bodyless && fetch_is_one_of(name, body_headers, ARRAY_LEN(body_headers)))
            continue;
        rc = pack_header(&kept, name, value);
    }
    if (rc < 0) {
        blob_done(&kept);
        return rc;
    }
    blob_done(ret);
    *ret = kept;
    return 0;
}

/* Turns `h` to where the answer points. 0: follow it; 1: the attempt's error says why not. */
static int fetch_follow(struct engine *e, struct hop *h, const struct answer *answer,
        struct attempt *a, unsigned most, bool *ret_foreign)
{
    struct egress_url target = { 0 };
    struct error why = { "" };
    struct blob headers = { 0 };
    bool foreign, to_get;
    int rc;

    if (h->n >= most) {
        rc = fetch_fail(a, FAILURE_TOO_MANY_REDIRECTS, false,
                "redirected more than %u times, lastly to %s", most, answer->redirect_url);
        return rc < 0 ? rc : 1;
    }
    rc = egress_url_parse(answer->redirect_url, &target, &why);
    if (rc == 0 && !target.https && strncmp(h->url, "https:", 6) == 0)
        rc = error_set(&why, -EINVAL, "it leads from https to http");
    if (rc == 0)
        rc = egress_url_vet(e->rules->egress, &target, &why);
    if (rc == -ENOMEM)
        return rc;
    if (rc < 0) {
        egress_url_done(&target);
        rc = fetch_fail(a, rc == -EACCES ? FAILURE_BLOCKED_ADDRESS : FAILURE_BAD_REDIRECT, false,
                "status %u, but its Location is not followed: %s", a->status, why.text);
        return rc < 0 ? rc : 1;
    }

    foreign = strcmp(target.origin, h->origin) != 0;
    to_get = fetch_becomes_get(a->status, h->method);
    if (foreign || to_get) {
        rc = fetch_strip_headers(h->headers, foreign, to_get, &headers);
        if (rc < 0) {
            egress_url_done(&target);
            return rc;
        }
        blob_done(&h->foreign_headers);
        h->foreign_headers = headers;
        h->headers = &h->foreign_headers;
    }
    if (to_get) {
        h->method = "GET";
        h->body = NULL;
    }
    egress_url_done(&h->target);
    h->target = target;
    h->url = h->target.url;
    h->origin = h->target.origin;
    h->n++;
    *ret_foreign = foreign;
    return 0;
}

/* The permit of another origin's lane for the next hop; the slot is kept. Suspends. */
CO_SUSPENDS static int fetch_change_lane(struct record *r, const char *origin, int64_t *ret_wait_us)
{
    struct lanes *lanes = &r->engine->lanes;
    int rc;

    lane_leave(lanes, &r->entry);
    co_event_init(&r->hop_admitted);
    r->hopping = true;
    rc = lane_enter(lanes, &r->entry, origin, r->job->spec.priority, true);
    if (rc == 0)
        rc = co_event_wait(&r->hop_admitted);
    r->hopping = false;
    *ret_wait_us = clock_mono_us() - r->entry.since_us;
    if (rc < 0) {
        lane_withdraw(lanes, &r->entry);
        lane_leave(lanes, &r->entry);
    }
    return rc;
}

static char *fetch_put_number(char *at, unsigned n)
{
    char digits[3 * sizeof(n)];
    int i = 0;

    do {
        digits[i++] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    while (i > 0)
        *at++ = digits[--i];
    return at;
}

/* <job>-<step>. Without printf, which would take a second page of the stack. Returns its end. */
static char *fetch_step_name(const struct record *r, char *name)
{
    uuid7_format(r->job->id, name);
    name += strlen(name);
    *name++ = '-';
    return stpcpy(name, job_step_name(r->job->step));
}

/* The step, the try and the hop: numbers of three digits at most, so 36 + 8 + 8 characters. */
static void fetch_body_name(const struct record *r, unsigned hop, char name[FETCH_NAME_SIZE])
{
    char *at = fetch_step_name(r, name);

    *at++ = '-';
    at = fetch_put_number(at, r->job->tries + 1);
    *at++ = '-';
    at = fetch_put_number(at, hop);
    *at = 0;
}

static struct attempt *fetch_add_attempt(struct fetch_try *t)
{
    struct attempt *all = reallocarray(t->attempts, t->n_attempts + 1, sizeof(*all));

    if (!all)
        return NULL;
    t->attempts = all;
    return &all[t->n_attempts];
}

/* Whether the job minds that a request is done twice. */
static bool fetch_may_repeat(const struct job_spec *spec, const char *method)
{
    return spec->on_unknown == UNKNOWN_RETRY && (spec->idempotent || method_is_idempotent(method));
}

/* One exchange; its attempt becomes the try's last one, even when it was stopped. Suspends. */
CO_SUSPENDS static int fetch_exchange(struct record *r, const struct hop *h, int64_t deadline_ns,
        int64_t lane_wait_us, struct fetch_try *t)
{
    const struct job_spec *spec = &r->job->spec;
    char key[FETCH_NAME_SIZE];
    struct exchange x = {
        .url = h->url,
        .method = h->method,
        .headers = h->headers,
        .body = h->body ? h->body->data : NULL,
        .body_bytes = h->body ? h->body->n : 0,
        .deadline_ns = deadline_ns,
        .max_body_bytes = spec->max_body_bytes,
        .idempotent = fetch_may_repeat(spec, h->method),
        .executor = spec->executor,
    };
    struct attempt *a = fetch_add_attempt(t);
    int64_t started_us = clock_now_us(&r->engine->clock);
    char *url = strdup(h->url), *method = strdup(h->method);
    int rc;

    if (!a || !url || !method) {
        free(url);
        free(method);
        return -ENOMEM;
    }
    if (spec->kind == JOB_DELIVERY) {
        fetch_step_name(r, key);
        x.idempotency_key = key;
    }
    fetch_body_name(r, h->n, x.file);
    if (t->answer.body.file[0])
        unlinkat(store_bodies_fd(r->engine->store), t->answer.body.file, 0);
    answer_done(&t->answer);
    rc = transfer_run(r->engine->transfer, &x, &t->answer);
    if (rc < 0 && rc != -ECANCELED) {
        free(url);
        free(method);
        return rc;
    }
    *a = t->answer.attempt;
    t->answer.attempt = (struct attempt){ 0 };
    a->n = r->job->tries + 1;
    a->hop = h->n;
    a->step = r->job->step;
    a->url = url;
    a->method = method;
    a->started_us = started_us;
    a->lane_wait_us = lane_wait_us;
    t->n_attempts++;
    return rc;
}

/* Whether the job wants the answer to be followed instead of taken. */
static bool fetch_is_redirect(const struct job_spec *spec, const struct fetch_try *t)
{
    const struct attempt *a = &t->attempts[t->n_attempts - 1];

    return a->error.failure == FAILURE_NONE && t->answer.redirect_url && spec->redirects > 0 &&
           !status_ranges_has(&spec->expect, a->status);
}

static int fetch_judge(
        const struct job_spec *spec, const struct request_spec *request, struct attempt *a)
{
    if (a->error.failure != FAILURE_NONE || status_ranges_has(&spec->expect, a->status))
        return 0;
    return fetch_fail(a, FAILURE_UNEXPECTED_STATUS,
            spec->idempotent || method_is_idempotent(request->method),
            "status %u is not one of those that the job expects", a->status);
}

int fetch_run(struct record *r, const struct request_spec *request, int64_t lane_wait_us,
        struct fetch_try *ret)
{
    const struct job_spec *spec = &r->job->spec;
    struct hop h CLEANUP(hop_done) = {
        .url = request->url,
        .origin = request->origin,
        .method = request->method,
        .headers = &request->headers,
        .body = &request->body,
    };
    int64_t deadline_ns = clock_mono_ns() + spec->timeout_us * CLOCK_NS_PER_US;
    bool foreign;
    int rc;

    for (;;) {
        rc = fetch_exchange(r, &h, deadline_ns, lane_wait_us, ret);
        if (rc < 0)
            return rc;
        if (!fetch_is_redirect(spec, ret))
            break;
        rc = fetch_follow(r->engine, &h, &ret->answer, &ret->attempts[ret->n_attempts - 1],
                spec->redirects, &foreign);
        if (rc != 0)
            break;
        lane_wait_us = 0;
        if (foreign) {
            rc = fetch_change_lane(r, h.origin, &lane_wait_us);
            if (rc < 0)
                return rc;
        }
    }
    if (rc < 0)
        return rc;
    return fetch_judge(spec, request, &ret->attempts[ret->n_attempts - 1]);
}
