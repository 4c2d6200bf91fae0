#include "api/render.h"

#include <string.h>

#include "api/base64.h"
#include "api/fields.h"
#include "daemon/base/clock.h"

static void render_time(struct writer *w, const char *key, int64_t us)
{
    char text[CLOCK_TEXT_SIZE];

    writer_key(w, key);
    if (us <= 0) {
        writer_null(w);
        return;
    }
    clock_format(us, text);
    writer_text(w, text);
}

/* A negative time is one that was not taken. */
static void render_ms(struct writer *w, const char *key, int64_t us)
{
    writer_key(w, key);
    if (us < 0)
        writer_null(w);
    else
        writer_thousandths(w, us);
}

static void render_text(struct writer *w, const char *key, const char *text)
{
    writer_key(w, key);
    writer_text(w, text);
}

void render_id(struct uuid7 id, struct writer *w)
{
    char text[UUID7_TEXT_SIZE];

    uuid7_format(id, text);
    writer_text(w, text);
}

/* Values of one name stand together, wherever they are in the packed list. */
static void render_headers(struct writer *w, const struct blob *headers, bool mask)
{
    const char *name, *value;
    size_t at = 0;

    writer_open(w, '{');
    while (pack_header_next(headers, &at, &name, &value)) {
        const char *it_name, *it_value;
        size_t it = 0;

        if (pack_header_find(headers, name) != value)
            continue; /* shown with the first of its name */
        writer_key(w, name);
        writer_open(w, '[');
        while (pack_header_next(headers, &it, &it_name, &it_value))
            if (strcmp(it_name, name) == 0)
                writer_text(w, mask && field_header_is_secret(name) ? "***" : it_value);
        writer_close(w, ']');
    }
    writer_close(w, '}');
}

static void render_request(struct writer *w, const struct request_spec *r, bool full)
{
    writer_key(w, "request");
    if (!r->url) {
        writer_null(w);
        return;
    }
    writer_open(w, '{');
    render_text(w, "url", r->url);
    render_text(w, "method", r->method);
    writer_key(w, "headers");
    if (full)
        render_headers(w, &r->headers, true);
    else
        writer_null(w);
    writer_key(w, "body_bytes");
    writer_int(w, r->body_bytes);
    writer_close(w, '}');
}

static void render_error(struct writer *w, const struct job_error *e)
{
    writer_key(w, "error");
    if (e->failure == FAILURE_NONE) {
        writer_null(w);
        return;
    }
    writer_open(w, '{');
    render_text(w, "phase", phase_name(e->phase));
    render_text(w, "code", failure_name(e->failure));
    render_text(w, "message", e->message);
    writer_key(w, "retry_safe");
    writer_bool(w, e->retry_safe);
    writer_close(w, '}');
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

static void render_attempt(struct writer *w, const struct attempt *a)
{
    writer_open(w, '{');
    writer_key(w, "n");
    writer_int(w, a->n);
    writer_key(w, "hop");
    writer_int(w, a->hop);
    render_text(w, "step", job_step_name((enum job_step)a->step));
    render_text(w, "url", a->url);
    render_text(w, "method", a->method);
    render_time(w, "started_at", a->started_us);
    render_ms(w, "lane_wait_ms", a->lane_wait_us);
    render_ms(w, "dns_ms", a->dns_us);
    render_ms(w, "connect_ms", a->connect_us);
    render_ms(w, "tls_ms", a->tls_us);
    render_ms(w, "send_ms", a->send_us);
    render_ms(w, "first_byte_ms", a->first_byte_us);
    render_ms(w, "receive_ms", a->receive_us);
    render_ms(w, "total_ms", a->total_us);
    writer_key(w, "reused");
    writer_bool(w, a->reused);
    render_text(w, "http_version", http_version_name(a->http_version));
    render_text(w, "remote", a->remote[0] ? a->remote : NULL);
    writer_key(w, "sent_bytes");
    writer_int(w, a->sent_bytes);
    writer_key(w, "received_bytes");
    writer_int(w, a->received_bytes);
    render_text(w, "reached", phase_name(a->reached));
    writer_key(w, "status");
    if (a->status)
        writer_int(w, a->status);
    else
        writer_null(w);
    render_error(w, &a->error);
    writer_close(w, '}');
}

static void render_attempts(struct writer *w, const struct job *j, bool full)
{
    writer_key(w, "attempts");
    if (!full) {
        writer_null(w);
        return;
    }
    writer_open(w, '[');
    for (size_t i = 0; i < j->n_attempts; i++)
        render_attempt(w, &j->attempts[i]);
    writer_close(w, ']');
}

static void render_events(struct writer *w, const struct job *j, bool full)
{
    writer_key(w, "events");
    if (!full) {
        writer_null(w);
        return;
    }
    writer_open(w, '[');
    for (int k = 0; k < EVENT_MAX; k++) {
        if (j->events.at_us[k] == 0)
            continue;
        writer_open(w, '{');
        render_text(w, "event", job_event_name((enum job_event_kind)k));
        render_time(w, "at", j->events.at_us[k]);
        writer_close(w, '}');
    }
    writer_close(w, ']');
}

/* Text where it is text, {"base64": …} where it is not, null where it is not kept in one piece. */
static void render_body(struct writer *w, const struct store_body *body)
{
    const struct body *b = &body->body;
    struct buf text = { 0 };

    writer_key(w, "body");
    if (b->file[0] || (b->bytes > 0 && !b->data) || b->bytes > BODY_INLINE_MAX_BYTES) {
        writer_null(w);
        return;
    }
    if (b->bytes == 0) {
        writer_text(w, "");
        return;
    }
    if (field_is_utf8_text(b->data, (size_t)b->bytes)) {
        writer_string(w, b->data, (size_t)b->bytes);
        return;
    }
    writer_open(w, '{');
    writer_key(w, "base64");
    if (base64_encode(b->data, (size_t)b->bytes, &text) < 0)
        writer_null(w);
    else
        writer_string(w, text.data, text.n);
    writer_close(w, '}');
    buf_done(&text);
}

static void render_result(struct writer *w, const struct job *j, const struct render_job *how)
{
    const struct job_result *r = &j->result;

    writer_key(w, "result");
    if (r->status == 0) {
        writer_null(w);
        return;
    }
    writer_open(w, '{');
    writer_key(w, "status");
    writer_int(w, r->status);
    writer_key(w, "headers");
    if (how->full)
        render_headers(w, &r->headers, false);
    else
        writer_null(w);
    writer_key(w, "body_bytes");
    writer_int(w, r->body_bytes);
    render_text(w, "body_type", r->body_type);
    writer_key(w, "truncated");
    writer_bool(w, r->truncated);
    if (how->body)
        render_body(w, how->body);
    writer_close(w, '}');
}

static void render_labels(struct writer *w, const struct job_spec *s)
{
    writer_key(w, "labels");
    writer_open(w, '{');
    for (size_t i = 0; i < s->n_labels; i++)
        render_text(w, s->labels[i].key, s->labels[i].value);
    writer_close(w, '}');
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

static void render_times(struct writer *w, const struct job *j)
{
    int64_t ready_us = later(j->created_us, job_first_due_us(j));

    render_ms(w, "wait_ms", j->spec.kind == JOB_DELIVERY ? j->spec.wait_us : -1);
    render_time(w, "created_at", j->created_us);
    render_time(w, "due_at", j->due_us);
    render_time(w, "started_at", j->started_us);
    render_time(w, "finished_at", j->finished_us);
    render_ms(w, "queued_ms", span_us(ready_us, j->started_us));
    render_ms(w, "run_ms", span_us(j->started_us, j->finished_us));
    render_ms(w, "total_ms", span_us(j->created_us, j->finished_us));
}

static const char *job_lane(const struct job *j)
{
    return j->step == STEP_COLLECT && j->spec.collect.origin ? j->spec.collect.origin
                                                             : j->spec.request.origin;
}

void render_job(const struct job *j, const struct render_job *how, struct writer *w)
{
    writer_open(w, '{');
    writer_key(w, "id");
    render_id(j->id, w);
    render_text(w, "kind", job_kind_name(j->spec.kind));
    render_text(w, "name", j->spec.name);
    render_text(w, "state", job_state_name(job_shown_state(j)));
    render_text(w, "step", job_step_name(j->step));
    writer_key(w, "batch");
    if (j->batch.key)
        render_id(j->batch, w);
    else
        writer_null(w);
    writer_key(w, "index");
    if (j->batch.key)
        writer_int(w, j->index);
    else
        writer_null(w);
    render_text(w, "lane", job_lane(j));
    render_labels(w, &j->spec);
    writer_key(w, "priority");
    writer_int(w, j->spec.priority);
    render_request(w, &j->spec.request, how->full);
    render_times(w, j);
    render_attempts(w, j, how->full);
    render_events(w, j, how->full);
    render_result(w, j, how);
    render_error(w, &j->error);
    writer_close(w, '}');
}

static void render_counts(struct writer *w, const struct batch *b)
{
    static const enum job_state order[] = { JOB_PENDING, JOB_RUNNING, JOB_WAITING, JOB_SUCCEEDED,
        JOB_FAILED, JOB_CANCELLED };

    writer_key(w, "counts");
    writer_open(w, '{');
    writer_key(w, "total");
    writer_int(w, b->total);
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        writer_key(w, job_state_name(order[i]));
        writer_int(w, b->counts[order[i]]);
    }
    writer_close(w, '}');
}

void render_batch(const struct batch *b, int64_t now_us, struct writer *w)
{
    bool running = b->state == BATCH_LOADING || b->state == BATCH_RUNNING;
    int64_t end_us = running || b->finished_us == 0 ? now_us : b->finished_us;
    int64_t elapsed_us = later(end_us - b->created_us, 0);

    writer_key(w, "id");
    render_id(b->id, w);
    render_text(w, "run", batch_run_name(b->run));
    render_text(w, "state", batch_state_name(b->state));
    writer_key(w, "concurrency");
    if (b->concurrency)
        writer_int(w, b->concurrency);
    else
        writer_null(w);
    render_text(w, "on_error", batch_on_error_name(b->on_error));
    render_counts(w, b);
    render_time(w, "created_at", b->created_us);
    render_time(w, "finished_at", running ? 0 : b->finished_us);
    render_ms(w, "elapsed_ms", elapsed_us);
    render_ms(w, "work_ms", b->work_us);
    writer_key(w, "speedup");
    if (elapsed_us > 0)
        writer_thousandths(w, (int64_t)((double)b->work_us * 1000 / (double)elapsed_us + 0.5));
    else
        writer_null(w);
}
