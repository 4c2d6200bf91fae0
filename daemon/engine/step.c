#include "daemon/engine/step.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/co/co.h"
#include "daemon/engine/engine.h"
#include "daemon/model/policy.h"
#include "daemon/store/store.h"

#define CRASHES_MAX 3 /* ends of the daemon in a row with a job in flight until it is set aside */

static void step_finish(struct step *s, enum job_state state)
{
    s->checkpoint.state = state;
    s->checkpoint.finished_us = clock_now_us(&s->record->engine->clock);
    s->checkpoint.tries = 0;
}

int step_fail(struct step *s, enum failure failure, enum phase phase, bool retry_safe,
        const char *message)
{
    struct job_error *e = &s->checkpoint.error;

    job_error_done(e);
    *e = (struct job_error){ .failure = failure, .phase = phase, .retry_safe = retry_safe };
    e->message = strdup(message);
    step_finish(s, failure == FAILURE_CANCELLED ? JOB_CANCELLED : JOB_FAILED);
    return e->message ? 0 : -ENOMEM;
}

static void step_next_step(struct step *s, enum job_step step, int64_t due_us)
{
    s->checkpoint.state = JOB_WAITING;
    s->checkpoint.step = step;
    s->checkpoint.tries = 0;
    s->checkpoint.due_us = due_us;
}

static void step_collected(struct step *s)
{
    step_finish(s, JOB_SUCCEEDED);
    s->checkpoint.events.at_us[EVENT_COLLECTED] = s->checkpoint.finished_us;
}

/* The wait counts from the delivery; it is a due time like any other. */
static void step_delivered(struct step *s)
{
    int64_t now_us = clock_now_us(&s->record->engine->clock);

    s->checkpoint.started_us = now_us;
    s->checkpoint.events.at_us[EVENT_DELIVERED] = now_us;
    step_next_step(s, STEP_WAIT, now_us + s->record->job->spec.wait_us);
}

static void step_waited(struct step *s)
{
    int64_t now_us = clock_now_us(&s->record->engine->clock);

    s->checkpoint.events.at_us[EVENT_WAITED] = now_us;
    if (s->record->job->spec.collect.url)
        step_next_step(s, STEP_COLLECT, now_us);
    else
        step_collected(s);
}

static void step_succeeded(struct step *s)
{
    switch (s->record->job->step) {
    case STEP_REQUEST:
        step_finish(s, JOB_SUCCEEDED);
        return;
    case STEP_DELIVER:
        step_delivered(s);
        return;
    case STEP_WAIT:
        step_waited(s);
        return;
    case STEP_COLLECT:
        step_collected(s);
        return;
    case STEP_MAX:
        break;
    }
    assert(!"a job without a step");
}

struct attempt *step_last_attempt(const struct step *s)
{
    const struct checkpoint *c = &s->checkpoint;

    return c->n_attempts > 0 ? &c->attempts[c->n_attempts - 1] : NULL;
}

/* The answer of the last exchange becomes the job's result. */
static int step_keep_answer(struct step *s)
{
    struct answer *answer = &s->try.answer;
    const struct attempt *last = step_last_attempt(s);
    const char *type;

    if (last->status == 0)
        return 0;
    s->result = (struct job_result){
        .status = last->status,
        .step = s->record->job->step,
        .body_bytes = answer->body.bytes,
        .truncated = answer->body.truncated,
        .headers = answer->headers,
    };
    answer->headers = (struct blob){ 0 };
    type = pack_header_find(&s->result.headers, "content-type");
    if (type) {
        s->result.body_type = strdup(type);
        if (!s->result.body_type)
            return -ENOMEM;
    }
    s->checkpoint.result = &s->result;
    s->checkpoint.body = &answer->body;
    return 0;
}

static uint64_t step_random(void)
{
    uint64_t number = 0;

    /* Without entropy the jitter is none, which is no reason to fail. */
    (void)!getrandom(&number, sizeof(number), GRND_NONBLOCK);
    return number;
}

static int step_retry_later(struct step *s, const struct attempt *last, int64_t due_us)
{
    const struct job *j = s->record->job;
    char message[256];

    if (j->spec.deadline_us && due_us >= j->created_us + j->spec.deadline_us) {
        snprintf(message, sizeof(message),
                "the job's deadline comes before the next try; the last one: %s",
                last->error.message ? last->error.message : failure_name(last->error.failure));
        return step_fail(
                s, FAILURE_DEADLINE_EXCEEDED, last->error.phase, last->error.retry_safe, message);
    }
    s->checkpoint.state = JOB_WAITING;
    s->checkpoint.tries = j->tries + 1;
    s->checkpoint.due_us = due_us;
    return 0;
}

static int step_judge(struct step *s)
{
    struct record *r = s->record;
    const struct attempt *last = step_last_attempt(s);
    struct verdict verdict;
    int rc;

    verdict = policy_next(&r->job->spec, last, r->job->tries + 1, clock_now_us(&r->engine->clock),
            s->try.answer.retry_after_us, last->error.failure == FAILURE_NONE ? 0 : step_random());
    rc = 0;
    switch (verdict.action) {
    case VERDICT_RETRY:
        rc = step_retry_later(s, last, verdict.due_us);
        break;
    case VERDICT_DONE:
        step_succeeded(s);
        break;
    case VERDICT_GIVE_UP:
        rc = job_error_copy(&last->error, &s->checkpoint.error);
        step_finish(s, JOB_FAILED);
        break;
    }
    if (rc == 0 && (verdict.action == VERDICT_DONE || job_state_ended(s->checkpoint.state)))
        rc = step_keep_answer(s);
    return rc;
}

CO_SUSPENDS static int step_network(struct step *s, const struct request_spec *request)
{
    struct record *r = s->record;
    struct job *j = r->job;
    int64_t lane_wait_us = clock_mono_us() - r->entry.since_us;
    int rc;

    if (!j->in_flight) {
        rc = store_mark_in_flight(r->engine->store, &j->id.key, 1);
        if (rc < 0)
            return rc;
        j->in_flight = true;
    }
    rc = fetch_run(r, request, lane_wait_us, &s->try);
    s->checkpoint.attempts = TAKE_PTR(s->try.attempts);
    s->checkpoint.n_attempts = s->try.n_attempts;
    s->try.n_attempts = 0;
    return rc < 0 ? rc : step_judge(s);
}

static void step_begin(struct step *s)
{
    struct record *r = s->record;

    if (r->job->step == STEP_REQUEST && s->checkpoint.started_us == 0)
        s->checkpoint.started_us = clock_now_us(&r->engine->clock);
}

void step_run_local(struct step *s)
{
    step_begin(s);
    step_succeeded(s);
}

int step_run(struct step *s)
{
    struct record *r = s->record;
    enum executor executor = r->job->spec.executor;
    const struct request_spec *request = job_step_request(r->job, r->job->step);
    int rc;

    /* To wait for a thread or a process is to wait for one's turn, as in the lane: nothing has begun. */
    rc = transfer_reserve(r->engine->transfer, executor);
    if (rc < 0)
        return rc;
    step_begin(s);
    rc = step_network(s, request);
    transfer_release(r->engine->transfer, executor);
    return rc;
}

/* An exchange that nothing is known of but that it was about to start. */
static int step_add_lost_attempt(struct step *s)
{
    const struct job *j = s->record->job;
    const struct request_spec *request = job_step_request(j, j->step);
    struct attempt *a = calloc(1, sizeof(*a));

    if (!a)
        return -ENOMEM;
    attempt_init(a);
    a->n = j->tries + 1;
    a->step = j->step;
    a->url = strdup(request->url);
    a->method = strdup(request->method);
    a->started_us = j->due_us;
    a->reached = PHASE_REQUEST;
    s->checkpoint.attempts = a;
    s->checkpoint.n_attempts = 1;
    return a->url && a->method ? 0 : -ENOMEM;
}

static int step_mark_unknown(struct attempt *a, const char *message)
{
    job_error_done(&a->error);
    a->error = (struct job_error){
        .failure = FAILURE_OUTCOME_UNKNOWN,
        .phase = a->reached,
        .message = strdup(message),
    };
    return a->error.message ? 0 : -ENOMEM;
}

int step_cut(struct step *s, const char *message)
{
    const struct job *j = s->record->job;
    struct attempt *last;
    int rc = s->checkpoint.n_attempts > 0 ? 0 : step_add_lost_attempt(s);

    if (rc < 0)
        return rc;
    last = step_last_attempt(s);
    rc = step_mark_unknown(last, message);
    if (rc < 0)
        return rc;
    step_begin(s);
    if (j->spec.on_unknown == UNKNOWN_FAIL)
        return step_fail(s, FAILURE_OUTCOME_UNKNOWN, last->reached, false, message);
    s->checkpoint.state = JOB_WAITING; /* not of its own doing: the try does not count */
    s->checkpoint.due_us = clock_now_us(&s->record->engine->clock);
    return 0;
}

int step_crashed(struct step *s)
{
    unsigned crashes = s->record->job->crashes + 1;
    char message[160];
    int rc = step_cut(s, "the daemon ended abruptly while the request was under way: its outcome "
                         "is unknown");

    s->checkpoint.crashes = crashes;
    if (rc < 0 || job_state_ended(s->checkpoint.state) || crashes < CRASHES_MAX)
        return rc;
    snprintf(message, sizeof(message),
            "the daemon ended abruptly %u times in a row while a request of this job was under "
            "way: it is set aside",
            crashes);
    return step_fail(s, FAILURE_DAEMON_CRASHED, PHASE_REQUEST, false, message);
}

int step_stopped(struct step *s)
{
    struct attempt *last = step_last_attempt(s);

    if (s->record->ending == FAILURE_CANCELLED)
        return step_fail(s, FAILURE_CANCELLED, PHASE_NONE, false, "cancelled by request");
    if (last && last->error.failure == FAILURE_CANCELLED)
        last->error.failure = FAILURE_DEADLINE_EXCEEDED;
    return step_fail(s, FAILURE_DEADLINE_EXCEEDED, last ? last->reached : PHASE_NONE, false,
            "the job's deadline has passed");
}

void step_done(struct step *s, int bodies_fd)
{
    fetch_try_done(&s->try, bodies_fd);
    job_result_done(&s->result);
    checkpoint_done(&s->checkpoint);
}
