#include "daemon/model/job.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[JOB_KIND_MAX] = {
    [JOB_FETCH] = "fetch",
    [JOB_DELIVERY] = "delivery",
};

static const char *const state_names[JOB_STATE_MAX] = {
    [JOB_PENDING] = "pending",
    [JOB_WAITING] = "waiting",
    [JOB_SUCCEEDED] = "succeeded",
    [JOB_FAILED] = "failed",
    [JOB_CANCELLED] = "cancelled",
    [JOB_RUNNING] = "running",
};

static const char *const step_names[STEP_MAX] = {
    [STEP_REQUEST] = "request",
    [STEP_DELIVER] = "deliver",
    [STEP_WAIT] = "wait",
    [STEP_COLLECT] = "collect",
};

static const char *const unknown_names[UNKNOWN_MAX] = {
    [UNKNOWN_RETRY] = "retry",
    [UNKNOWN_FAIL] = "fail",
};

static const char *const executor_names[EXECUTOR_MAX] = {
    [EXECUTOR_COROUTINE] = "coroutine",
    [EXECUTOR_THREAD] = "thread",
    [EXECUTOR_PROCESS] = "process",
};

static const char *const event_names[EVENT_MAX] = {
    [EVENT_DELIVERED] = "delivered",
    [EVENT_WAITED] = "waited",
    [EVENT_COLLECTED] = "collected",
};

const char *job_kind_name(enum job_kind k)
{
    return kind_names[k];
}

const char *job_state_name(enum job_state s)
{
    return state_names[s];
}

const char *job_step_name(enum job_step s)
{
    return step_names[s];
}

const char *on_unknown_name(enum on_unknown u)
{
    return unknown_names[u];
}

const char *executor_name(enum executor x)
{
    return executor_names[x];
}

const char *job_event_name(enum job_event_kind k)
{
    return event_names[k];
}

static int name_find(const char *const *names, int n, const char *text)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    return -EINVAL;
}

int job_kind_parse(const char *text, enum job_kind *ret)
{
    int i = name_find(kind_names, JOB_KIND_MAX, text);

    if (i < 0)
        return i;
    *ret = (enum job_kind)i;
    return 0;
}

int job_state_parse(const char *text, enum job_state *ret)
{
    int i = name_find(state_names, JOB_STATE_MAX, text);

    if (i < 0)
        return i;
    *ret = (enum job_state)i;
    return 0;
}

int job_step_parse(const char *text, enum job_step *ret)
{
    int i = name_find(step_names, STEP_MAX, text);

    if (i < 0)
        return i;
    *ret = (enum job_step)i;
    return 0;
}

enum executor executor_from_text(const char *text)
{
    return (enum executor)name_find(executor_names, EXECUTOR_MAX, text);
}

bool method_is_idempotent(const char *method)
{
    static const char *const idempotent[] = { "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE" };

    return name_find(idempotent, (int)ARRAY_LEN(idempotent), method) >= 0;
}

void request_spec_done(struct request_spec *r)
{
    free(r->url);
    free(r->origin);
    free(r->method);
    blob_done(&r->headers);
    blob_done(&r->body);
    *r = (struct request_spec){ 0 };
}

void job_spec_done(struct job_spec *s)
{
    free(s->name);
    request_spec_done(&s->request);
    request_spec_done(&s->collect);
    for (size_t i = 0; i < s->n_labels; i++) {
        free(s->labels[i].key);
        free(s->labels[i].value);
    }
    free(s->labels);
    free(s->idempotency);
    *s = (struct job_spec){ 0 };
}

void body_done(struct body *b)
{
    free(b->data);
    *b = (struct body){ 0 };
}

void job_result_done(struct job_result *r)
{
    blob_done(&r->headers);
    free(r->body_type);
    *r = (struct job_result){ 0 };
}

struct job *job_new(struct job_spec *spec)
{
    struct job *j = calloc(1, sizeof(*j));

    if (!j)
        return NULL;
    j->refs = 1;
    j->spec = *spec;
    j->step = spec->kind == JOB_FETCH ? STEP_REQUEST : STEP_DELIVER;
    *spec = (struct job_spec){ 0 };
    return j;
}

struct job *job_ref(struct job *j)
{
    j->refs++;
    return j;
}

struct job *job_unref(struct job *j)
{
    if (!j || --j->refs > 0)
        return NULL;
    for (size_t i = 0; i < j->n_attempts; i++)
        attempt_done(&j->attempts[i]);
    free(j->attempts);
    job_spec_done(&j->spec);
    job_result_done(&j->result);
    job_error_done(&j->error);
    free(j);
    return NULL;
}

void checkpoint_init(struct checkpoint *c, struct job *j)
{
    *c = (struct checkpoint){
        .job = j,
        .state = j->state,
        .step = j->step,
        .tries = j->tries,
        .due_us = j->due_us,
        .started_us = j->started_us,
        .finished_us = j->finished_us,
        .finished_seq = j->finished_seq,
        .events = j->events,
    };
}

void checkpoint_done(struct checkpoint *c)
{
    for (size_t i = 0; i < c->n_attempts; i++)
        attempt_done(&c->attempts[i]);
    free(c->attempts);
    job_error_done(&c->error);
    c->attempts = NULL;
    c->n_attempts = 0;
}

int job_make_room(struct job *j, const struct checkpoint *c)
{
    struct attempt *all;

    if (c->n_attempts == 0 || j->n_attempts == 0)
        return 0;
    all = reallocarray(j->attempts, j->n_attempts + c->n_attempts, sizeof(*all));
    if (!all)
        return -ENOMEM;
    j->attempts = all;
    return 0;
}

static void job_take_attempts(struct job *j, struct checkpoint *c)
{
    if (c->n_attempts == 0)
        return;
    if (j->n_attempts == 0) {
        free(j->attempts);
        j->attempts = TAKE_PTR(c->attempts);
    } else {
        memcpy(j->attempts + j->n_attempts, c->attempts, c->n_attempts * sizeof(*c->attempts));
        free(c->attempts);
        c->attempts = NULL;
    }
    j->n_attempts += c->n_attempts;
    c->n_attempts = 0;
}

void job_apply(struct job *j, struct checkpoint *c)
{
    assert(c->job == j);
    assert(!job_state_ended(j->state));

    j->state = c->state;
    j->step = c->step;
    j->tries = c->tries;
    j->due_us = c->due_us;
    j->started_us = c->started_us;
    j->finished_us = c->finished_us;
    j->finished_seq = c->finished_seq;
    j->events = c->events;
    j->held = false; /* whoever goes on is let go */
    j->in_flight = false;
    j->paged_out = c->page_out;
    j->crashes = c->crashes;
    job_take_attempts(j, c);
    if (c->result) {
        job_result_done(&j->result);
        j->result = *c->result;
        *c->result = (struct job_result){ 0 };
    }
    job_error_done(&j->error);
    j->error = c->error;
    c->error = (struct job_error){ 0 };
    if (job_state_ended(j->state)) {
        blob_done(&j->spec.request.body);
        blob_done(&j->spec.collect.body);
    }
}

int64_t job_first_due_us(const struct job *j)
{
    return j->spec.at_us ? j->spec.at_us : j->created_us + j->spec.delay_us;
}

int64_t job_ends_us(const struct job *j)
{
    return j->spec.deadline_us ? j->created_us + j->spec.deadline_us : 0;
}

static int64_t request_bytes(const struct request_spec *r)
{
    return (int64_t)(r->headers.n + r->body.n + (r->url ? 2 * strlen(r->url) : 0));
}

int64_t job_bytes(const struct job *j)
{
    return (int64_t)(sizeof(*j) + j->n_attempts * sizeof(*j->attempts) + j->result.headers.n) +
           request_bytes(&j->spec.request) + request_bytes(&j->spec.collect);
}

const struct request_spec *job_step_request(const struct job *j, enum job_step step)
{
    switch (step) {
    case STEP_REQUEST:
    case STEP_DELIVER:
        return &j->spec.request;
    case STEP_COLLECT:
        return &j->spec.collect;
    case STEP_WAIT:
    case STEP_MAX:
        break;
    }
    return NULL;
}

/* FNV-1a; the sign is left out, so that every key is a positive INTEGER of the store. */
int64_t lane_key(const char *origin)
{
    uint64_t hash = 0xcbf29ce484222325;

    if (!origin)
        return 0;
    for (const char *c = origin; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
    return (int64_t)(hash & INT64_MAX);
}

int64_t job_lane_key(const struct job *j, enum job_step step)
{
    const struct request_spec *request = job_step_request(j, step);

    return lane_key(request ? request->origin : NULL);
}
