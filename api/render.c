#include "api/render.h"

#include <string.h>

#include "api/base64.h"
#include "api/fields.h"
#include "daemon/base/clock.h"

static json_t *render_time(int64_t us)
{
    char text[CLOCK_TEXT_SIZE];

    if (us <= 0)
        return json_null();
    clock_format(us, text);
    return shape_text(text);
}

/* A negative time is one that was not taken. */
static json_t *render_ms(int64_t us)
{
    return us < 0 ? json_null() : shape_thousandths(us);
}

json_t *render_id(struct uuid7 id)
{
    char text[UUID7_TEXT_SIZE];

    uuid7_format(id, text);
    return json_stringn_nocheck(text, UUID7_TEXT_SIZE - 1);
}

/* Values of one name stand together, wherever they are in the packed list. */
static json_t *render_headers(const struct blob *headers, bool mask)
{
    json_t *o = json_object();
    const char *name, *value;
    size_t at = 0;

    while (pack_header_next(headers, &at, &name, &value)) {
        json_t *values = json_array();
        const char *it_name, *it_value;
        size_t it = 0;

        if (pack_header_find(headers, name) != value) {
            json_decref(values);
            continue; /* shown with the first of its name */
        }
        while (pack_header_next(headers, &it, &it_name, &it_value))
            if (strcmp(it_name, name) == 0)
                shape_push(&values,
                        shape_text(mask && field_header_is_secret(name) ? "***" : it_value));
        shape_set(&o, name, values);
    }
    return o;
}

static json_t *render_request(const struct request_spec *r, bool full)
{
    json_t *o;

    if (!r->url)
        return json_null();
    o = json_object();
    shape_set(&o, "url", shape_text(r->url));
    shape_set(&o, "method", shape_text(r->method));
    shape_set(&o, "headers", full ? render_headers(&r->headers, true) : json_null());
    shape_set(&o, "body_bytes", json_integer(r->body_bytes));
    return o;
}

static json_t *render_error(const struct job_error *e)
{
    json_t *o;

    if (e->failure == FAILURE_NONE)
        return json_null();
    o = json_object();
    shape_set(&o, "phase", shape_text(phase_name(e->phase)));
    shape_set(&o, "code", shape_text(failure_name(e->failure)));
    shape_set(&o, "message", shape_text(e->message));
    shape_set(&o, "retry_safe", json_boolean(e->retry_safe));
    return o;
}

static const char *http_version_name(unsigned version)
{
    switch (version) {
    case 10:
        return "1.0";
    case 11:
        return "1.1";
    case 20:
        return "2";
    case 30:
        return "3";
    default:
        return NULL;
    }
}

static json_t *render_attempt(const struct attempt *a)
{
    json_t *o = json_object();

    shape_set(&o, "n", json_integer(a->n));
    shape_set(&o, "hop", json_integer(a->hop));
    shape_set(&o, "step", shape_text(job_step_name((enum job_step)a->step)));
    shape_set(&o, "url", shape_text(a->url));
    shape_set(&o, "method", shape_text(a->method));
    shape_set(&o, "started_at", render_time(a->started_us));
    shape_set(&o, "lane_wait_ms", render_ms(a->lane_wait_us));
    shape_set(&o, "dns_ms", render_ms(a->dns_us));
    shape_set(&o, "connect_ms", render_ms(a->connect_us));
    shape_set(&o, "tls_ms", render_ms(a->tls_us));
    shape_set(&o, "send_ms", render_ms(a->send_us));
    shape_set(&o, "first_byte_ms", render_ms(a->first_byte_us));
    shape_set(&o, "receive_ms", render_ms(a->receive_us));
    shape_set(&o, "total_ms", render_ms(a->total_us));
    shape_set(&o, "reused", json_boolean(a->reused));
    shape_set(&o, "http_version", shape_text(http_version_name(a->http_version)));
    shape_set(&o, "remote", shape_text(a->remote[0] ? a->remote : NULL));
    shape_set(&o, "sent_bytes", json_integer(a->sent_bytes));
    shape_set(&o, "received_bytes", json_integer(a->received_bytes));
    shape_set(&o, "reached", shape_text(phase_name(a->reached)));
    shape_set(&o, "status", a->status ? json_integer(a->status) : json_null());
    shape_set(&o, "error", render_error(&a->error));
    return o;
}

static json_t *render_attempts(const struct job *j)
{
    json_t *list = json_array();

    for (size_t i = 0; i < j->n_attempts; i++)
        shape_push(&list, render_attempt(&j->attempts[i]));
    return list;
}

static json_t *render_events(const struct job *j)
{
    json_t *list = json_array();

    for (int k = 0; k < EVENT_MAX; k++) {
        json_t *o;

        if (j->events.at_us[k] == 0)
            continue;
        o = json_object();
        shape_set(&o, "event", shape_text(job_event_name((enum job_event_kind)k)));
        shape_set(&o, "at", render_time(j->events.at_us[k]));
        shape_push(&list, o);
    }
    return list;
}

/* Text where it is text, {"base64": …} where it is not, null where it is not kept in one piece. */
static json_t *render_body(const struct store_body *body)
{
    const struct body *b = &body->body;
    struct buf text = { 0 };
    json_t *o;

    if (b->file[0] || (b->bytes > 0 && !b->data) || b->bytes > BODY_INLINE_MAX_BYTES)
        return json_null();
    if (b->bytes == 0)
        return shape_text("");
    if (field_is_utf8_text(b->data, (size_t)b->bytes))
        return shape_string(b->data, (size_t)b->bytes);
    o = json_object();
    shape_set(&o, "base64",
            base64_encode(b->data, (size_t)b->bytes, &text) < 0 ? NULL
                                                                : shape_string(text.data, text.n));
    buf_done(&text);
    return o;
}

static json_t *render_result(const struct job *j, const struct render_job *how)
{
    const struct job_result *r = &j->result;
    json_t *o;

    if (r->status == 0)
        return json_null();
    o = json_object();
    shape_set(&o, "status", json_integer(r->status));
    shape_set(&o, "headers", how->full ? render_headers(&r->headers, false) : json_null());
    shape_set(&o, "body_bytes", json_integer(r->body_bytes));
    shape_set(&o, "body_type", shape_text(r->body_type));
    shape_set(&o, "truncated", json_boolean(r->truncated));
    if (how->body)
        shape_set(&o, "body", render_body(how->body));
    return o;
}

static json_t *render_labels(const struct job_spec *s)
{
    json_t *o = json_object();

    for (size_t i = 0; i < s->n_labels; i++)
        shape_set(&o, s->labels[i].key, shape_text(s->labels[i].value));
    return o;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* -1 when one of the two has not happened; never less than 0 otherwise. */
static int64_t span_us(int64_t from_us, int64_t to_us)
{
    return from_us == 0 || to_us == 0 ? -1 : later(to_us - from_us, 0);
}

static void render_times(const struct job *j, json_t **o)
{
    int64_t ready_us = later(j->created_us, job_first_due_us(j));

    shape_set(o, "wait_ms", render_ms(j->spec.kind == JOB_DELIVERY ? j->spec.wait_us : -1));
    shape_set(o, "created_at", render_time(j->created_us));
    shape_set(o, "due_at", render_time(j->due_us));
    shape_set(o, "started_at", render_time(j->started_us));
    shape_set(o, "finished_at", render_time(j->finished_us));
    shape_set(o, "queued_ms", render_ms(span_us(ready_us, j->started_us)));
    shape_set(o, "run_ms", render_ms(span_us(j->started_us, j->finished_us)));
    shape_set(o, "total_ms", render_ms(span_us(j->created_us, j->finished_us)));
}

static const char *job_lane(const struct job *j)
{
    return j->step == STEP_COLLECT && j->spec.collect.origin ? j->spec.collect.origin
                                                             : j->spec.request.origin;
}

json_t *render_job(const struct job *j, const struct render_job *how)
{
    json_t *o = json_object();

    shape_set(&o, "id", render_id(j->id));
    shape_set(&o, "kind", shape_text(job_kind_name(j->spec.kind)));
    shape_set(&o, "name", shape_text(j->spec.name));
    shape_set(&o, "state", shape_text(job_state_name(job_shown_state(j))));
    shape_set(&o, "step", shape_text(job_step_name(j->step)));
    shape_set(&o, "batch", j->batch.key ? render_id(j->batch) : json_null());
    shape_set(&o, "index", j->batch.key ? json_integer(j->index) : json_null());
    shape_set(&o, "lane", shape_text(job_lane(j)));
    shape_set(&o, "labels", render_labels(&j->spec));
    shape_set(&o, "priority", json_integer(j->spec.priority));
    shape_set(&o, "executor", shape_text(executor_name(j->spec.executor)));
    shape_set(&o, "request", render_request(&j->spec.request, how->full));
    render_times(j, &o);
    shape_set(&o, "attempts", how->full ? render_attempts(j) : json_null());
    shape_set(&o, "events", how->full ? render_events(j) : json_null());
    shape_set(&o, "result", render_result(j, how));
    shape_set(&o, "error", render_error(&j->error));
    if (how->seq)
        shape_set(&o, "finished_seq", json_integer(j->finished_seq));
    return o;
}

static json_t *render_counts(const struct batch *b)
{
    static const enum job_state order[] = { JOB_PENDING, JOB_RUNNING, JOB_WAITING, JOB_SUCCEEDED,
        JOB_FAILED, JOB_CANCELLED };
    json_t *o = json_object();

    shape_set(&o, "total", json_integer(b->total));
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        shape_set(&o, job_state_name(order[i]), json_integer(b->counts[order[i]]));
    return o;
}

static json_t *render_speedup(int64_t work_us, int64_t elapsed_us)
{
    if (elapsed_us <= 0)
        return json_null();
    return shape_thousandths((int64_t)((double)work_us * 1000 / (double)elapsed_us + 0.5));
}

json_t *render_batch(const struct batch *b, int64_t now_us)
{
    bool running = b->state == BATCH_LOADING || b->state == BATCH_RUNNING;
    int64_t end_us = running || b->finished_us == 0 ? now_us : b->finished_us;
    int64_t elapsed_us = later(end_us - b->created_us, 0);
    json_t *o = json_object();

    shape_set(&o, "id", render_id(b->id));
    shape_set(&o, "run", shape_text(batch_run_name(b->run)));
    shape_set(&o, "state", shape_text(batch_state_name(b->state)));
    shape_set(&o, "concurrency", b->concurrency ? json_integer(b->concurrency) : json_null());
    shape_set(&o, "on_error", shape_text(batch_on_error_name(b->on_error)));
    shape_set(&o, "counts", render_counts(b));
    shape_set(&o, "created_at", render_time(b->created_us));
    shape_set(&o, "finished_at", render_time(running ? 0 : b->finished_us));
    shape_set(&o, "elapsed_ms", render_ms(elapsed_us));
    shape_set(&o, "work_ms", render_ms(b->work_us));
    shape_set(&o, "speedup", render_speedup(b->work_us, elapsed_us));
    return o;
}

json_t *render_page(json_t *data, const char *cursor)
{
    json_t *o = json_object();

    shape_set(&o, "data", data);
    shape_set(&o, "next_cursor", shape_text(cursor));
    return o;
}
