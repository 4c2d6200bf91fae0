/* /v1/jobs: one job in, one job or a page of them out. NDJSON uploads are in bulk.c. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "api/fields.h"
#include "api/handlers.h"
#include "api/idempotency.h"
#include "api/parse.h"
#include "api/query.h"
#include "api/render.h"
#include "daemon/engine/service.h"

#define LIST_LIMIT      50
#define LIST_LIMIT_MAX  1000
#define LIST_LIMIT_FULL 100
#define ROW_SLICE       100 /* rows made before others run */
#define FULL_SLICE      20  /* of those with attempts and headers */

struct shown_job {
    const struct job *job;
    struct render_job how;
};

static json_t *shown_job_json(void *arg)
{
    const struct shown_job *s = arg;

    return render_job(s->job, &s->how);
}

static int reply_job(
        struct reply *reply, unsigned status, const struct job *j, const struct store_body *body)
{
    struct shown_job shown = { .job = j, .how = { .full = true, .body = body } };

    return reply_json(reply, status, shown_job_json, &shown);
}

/* The job as it stands once it has ended, the time is up, or the daemon stops. */
CO_SUSPENDS static int await_job(
        struct request *r, struct uuid7 id, int64_t wait_us, struct job **ret)
{
    struct co_scope scope;
    int rc;

    if (wait_us <= 0)
        return service_get(r->service, id, ret);
    request_wait_open(r, &scope);
    rc = service_wait(r->service, id, clock_mono_ns() + wait_us * CLOCK_NS_PER_US, ret);
    rc = request_wait_close(r, &scope, rc);
    if (rc == -ECANCELED && !request_gone(r))
        rc = service_get(r->service, id, ret);
    return rc;
}

static int apply_preference(struct reply *reply, int64_t wait_us, bool preferred)
{
    if (!preferred)
        return 0;
    return reply_add_header(
            reply, "Preference-Applied", "wait=%lld", (long long)(wait_us / CLOCK_US_PER_S));
}

/* Takes the spec over when it succeeds. *ret is NULL when the outcome is that there is no job. */
CO_SUSPENDS static int submit_and_await(struct request *r, struct job_spec *spec, int64_t wait_us,
        struct job **ret, enum submit_outcome *ret_outcome)
{
    struct job *job;
    struct uuid7 id;
    int rc = service_submit(r->service, spec, 1, &job, ret_outcome);

    if (rc < 0)
        return rc;
    if (!job || wait_us <= 0) {
        *ret = job;
        return 0;
    }
    id = job->id;
    job_unref(job);
    return await_job(r, id, wait_us, ret);
}

/* ?body=inline */
static bool wants_body(struct request *r)
{
    const char *text = query_parameter(r, "body");

    if (text && strcmp(text, "inline") != 0)
        faults_parameter(&r->faults, "body", "must be \"inline\"");
    return text != NULL;
}

/* The job, with its body when it has ended and that `is_wanted`: empty when there is none to show. */
CO_SUSPENDS static int reply_job_and_body(struct request *r, struct reply *reply, unsigned status,
        const struct job *job, bool is_wanted)
{
    CLEANUP(store_body_done) struct store_body body = { 0 };
    int rc = 0;

    if (!is_wanted || !job_state_ended(job->state))
        return reply_job(reply, status, job, NULL);
    rc = service_body(r->service, job->id, STEP_MAX, &body);
    if (rc < 0 && rc != -ENODATA && rc != -EBUSY)
        return rc;
    return reply_job(reply, status, job, &body);
}

int jobs_post(struct request *r, struct reply *reply)
{
    CLEANUP(cleanup_job) struct job *job = NULL;
    CLEANUP(faults_done) struct faults faults = { 0 };
    enum submit_outcome outcome = SUBMIT_ACCEPTED;
    struct job_spec spec = { 0 };
    char id[UUID7_TEXT_SIZE];
    bool preferred, body, ended;
    int64_t wait_us;
    int rc;

    query_wait_time(r, &wait_us, &preferred);
    body = wants_body(r);
    if (query_is_bad(r, reply))
        return 0;
    rc = wait_us > 0 ? request_may_wait(r) : 0;
    if (rc < 0)
        return rc;
    rc = parse_job(r, &spec, &faults);
    request_drop_body(r);
    if (rc == -EBADMSG || rc == -EINVAL) {
        reply_problem(reply, rc == -EBADMSG ? 400 : 422, &faults,
                rc == -EBADMSG ? "the body is no JSON that can be read" : "the job is not valid");
        return 0;
    }
    if (rc == 0)
        rc = submit_and_await(r, &spec, wait_us, &job, &outcome);
    job_spec_done(&spec);
    if (rc < 0 || idempotency_refuse(r, outcome, reply))
        return rc;
    ended = wait_us > 0 && job_state_ended(job->state);
    uuid7_format(job->id, id);
    rc = reply_add_header(reply, "Location", "/v1/jobs/%s", id);
    if (rc == 0 && outcome == SUBMIT_REPLAYED)
        rc = idempotency_say_replayed(reply);
    if (rc == 0)
        rc = apply_preference(reply, wait_us, preferred);
    return rc < 0 ? rc : reply_job_and_body(r, reply, ended ? 200 : 202, job, body);
}

int jobs_get(struct request *r, struct reply *reply)
{
    CLEANUP(cleanup_job) struct job *job = NULL;
    bool preferred, body;
    int64_t wait_us;
    struct uuid7 id;
    int rc = request_id(r, &id);

    if (rc < 0)
        return rc;
    query_wait_time(r, &wait_us, &preferred);
    body = wants_body(r);
    if (query_is_bad(r, reply))
        return 0;
    rc = wait_us > 0 ? request_may_wait(r) : 0;
    if (rc == 0)
        rc = await_job(r, id, wait_us, &job);
    if (rc == 0)
        rc = apply_preference(reply, wait_us, preferred);
    return rc < 0 ? rc : reply_job_and_body(r, reply, 200, job, body);
}

int jobs_cancel(struct request *r, struct reply *reply)
{
    CLEANUP(cleanup_job) struct job *job = NULL;
    struct uuid7 id;
    int rc = request_id(r, &id);

    if (rc == 0)
        rc = service_cancel(r->service, id, &job);
    if (rc == -EALREADY) {
        reply_problem(reply, 409, NULL, "the job has ended already: it has %s",
                job_state_name(job->state));
        return 0;
    }
    return rc < 0 ? rc : reply_job(reply, 200, job, NULL);
}

/* The body is the file, or the bytes that were kept in the store. */
static int reply_with_body(struct request *r, struct store_body *body, struct reply *reply)
{
    struct stat st;

    reply->status = 200;
    if (!body->body.file[0]) {
        reply->body = (struct buf){ .data = TAKE_PTR(body->body.data),
            .n = (size_t)body->body.bytes,
            .capacity = (size_t)body->body.bytes };
        return 0;
    }
    reply->fd = openat(
            service_bodies_fd(r->service), body->body.file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (reply->fd < 0)
        return errno == ENOENT ? -ENODATA : -errno;
    if (fstat(reply->fd, &st) < 0)
        return -errno;
    reply->fd_bytes = st.st_size;
    return 0;
}

int jobs_get_body(struct request *r, struct reply *reply)
{
    CLEANUP(store_body_done) struct store_body body = { 0 };
    const char *step_name = query_parameter(r, "step");
    enum job_step step = STEP_MAX;
    struct uuid7 id;
    int rc = request_id(r, &id);

    if (rc < 0)
        return rc;
    if (step_name && job_step_parse(step_name, &step) < 0)
        faults_parameter(&r->faults, "step", "must be request, deliver or collect");
    if (query_is_bad(r, reply))
        return 0;
    rc = service_body(r->service, id, step, &body);
    if (rc == 0)
        rc = reply_with_body(r, &body, reply);
    if (rc < 0)
        return rc;
    /* What a stranger sent must do nothing in a browser. */
    rc = reply_add_header(reply, "Content-Security-Policy", "sandbox; default-src 'none'");
    if (rc == 0)
        rc = reply_add_header(reply, "Content-Disposition", "attachment");
    if (rc < 0)
        return rc;
    return reply_set_type(
            reply, body.type && *body.type && field_is_header_value(body.type, strlen(body.type))
                           ? body.type
                           : "application/octet-stream");
}

static void filter_states(struct request *r, struct store_filter *f)
{
    const char *text = query_parameter(r, "state");

    while (text && *text) {
        size_t n = strcspn(text, ",");
        char name[16] = "";
        enum job_state state;

        if (n < sizeof(name))
            memcpy(name, text, n);
        if (job_state_parse(name, &state) < 0) {
            faults_parameter(&r->faults, "state",
                    "must be one or more of pending, running, waiting, succeeded, failed, "
                    "cancelled, with commas between");
            return;
        }
        f->states |= 1U << state;
        text += n + (text[n] == ',');
    }
}

/* `label_memory` is what the filter's label points into. */
static void read_filter(struct request *r, struct store_filter *f, char **label_memory)
{
    const char *kind = query_parameter(r, "kind"), *batch = query_parameter(r, "batch"),
               *label = query_parameter(r, "label");
    enum job_kind k;
    char *colon;

    f->kind = -1;
    filter_states(r, f);
    if (kind && job_kind_parse(kind, &k) < 0)
        faults_parameter(&r->faults, "kind", "must be fetch or delivery");
    else if (kind)
        f->kind = (int)k;
    if (batch && uuid7_parse(batch, &f->batch) < 0)
        faults_parameter(&r->faults, "batch", "must be the id of a batch");
    f->lane = query_parameter(r, "lane");
    if (!label)
        return;
    *label_memory = strdup(label);
    colon = *label_memory ? strchr(*label_memory, ':') : NULL;
    if (!colon) {
        faults_parameter(&r->faults, "label", "must be a name and a value with a colon between");
        return;
    }
    *colon = 0;
    f->label_key = *label_memory;
    f->label_value = colon + 1;
}

struct shown_page {
    const struct store_page *page;
    struct render_job how;
    json_t *rows;
    const char *cursor;
};

static json_t *row_json(const void *from, size_t i)
{
    const struct shown_page *s = from;

    return render_job(s->page->jobs[i], &s->how);
}

static json_t *page_json(void *arg)
{
    struct shown_page *s = arg;

    return render_page(s->rows, s->cursor);
}

CO_SUSPENDS static int reply_page(
        struct reply *reply, const struct store_page *page, bool full, const char *cursor)
{
    struct shown_page shown = { .page = page, .how = { .full = full }, .cursor = cursor };
    struct reply_items rows = {
        .item = row_json, .from = &shown, .n = page->n, .slice = full ? FULL_SLICE : ROW_SLICE
    };
    int rc = reply_items(&rows, &shown.rows);

    if (rc < 0)
        return rc;
    return page->n > rows.slice ? reply_json_large(reply, 200, page_json, &shown)
                                : reply_json(reply, 200, page_json, &shown);
}

int jobs_list(struct request *r, struct reply *reply)
{
    CLEANUP(cleanup_free) char *label_memory = NULL;
    CLEANUP(store_page_done) struct store_page page = { 0 };
    struct store_filter filter = { 0 };
    char cursor[QUERY_CURSOR_SIZE];
    bool full = query_flag(r, "full");
    size_t limit = query_limit(r, LIST_LIMIT, full ? LIST_LIMIT_FULL : LIST_LIMIT_MAX);
    int64_t from = query_cursor(r);
    int rc;

    read_filter(r, &filter, &label_memory);
    if (query_is_bad(r, reply))
        return 0;
    rc = service_list(r->service, &filter, from, limit, full, &page);
    if (rc < 0)
        return rc;
    query_format_cursor(page.next, cursor);
    rc = reply_page(reply, &page, full, page.next ? cursor : NULL);
    return rc < 0 || !page.next ? rc : query_link_next(r, cursor, reply);
}
