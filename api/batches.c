/* /v1/batches: jobs submitted together. A batch's results are in results.c. */
#include <errno.h>
#include <stdlib.h>

#include "api/handlers.h"
#include "api/parse.h"
#include "api/render.h"
#include "api/request.h"
#include "daemon/engine/service.h"

#define LIST_LIMIT     50
#define LIST_LIMIT_MAX 1000
#define IDS_SLICE      5000 /* ids written before others run */

static bool batch_ended(const struct batch *b)
{
    return b->state == BATCH_SUCCEEDED || b->state == BATCH_FAILED || b->state == BATCH_CANCELLED;
}

/* Suspends when there are many ids (b->total of them; NULL: not shown). */
static int reply_batch(struct request *r, struct reply *reply, unsigned status,
        const struct batch *b, const struct uuid7 *ids)
{
    struct writer w = writer_to(&reply->body);
    int rc = 0;

    writer_open(&w, '{');
    render_batch(b, clock_now_us(service_clock(r->service)), &w);
    if (ids) {
        writer_key(&w, "job_ids");
        writer_open(&w, '[');
        for (unsigned i = 0; i < b->total && rc == 0; i++) {
            if (i > 0 && i % IDS_SLICE == 0)
                rc = co_yield ();
            render_id(ids[i], &w);
        }
        writer_close(&w, ']');
    }
    writer_close(&w, '}');
    buf_append(&reply->body, "\n", 1);
    reply->status = status;
    if (rc == 0)
        rc = w.rc;
    return rc < 0 ? rc : reply_set_type(reply, REPLY_JSON);
}

/* The batch as it stands once it has ended, the time is up, or the daemon stops. */
static int await_batch(struct request *r, struct uuid7 id, int64_t wait_us, struct batch *ret)
{
    struct co_scope scope;
    int rc;

    if (wait_us <= 0)
        return service_get_batch(r->service, id, ret);
    request_wait_open(r, &scope);
    rc = service_wait_batch(r->service, id, clock_mono_ns() + wait_us * CLOCK_NS_PER_US, ret);
    rc = request_wait_close(r, &scope, rc);
    if (rc == -ECANCELED && !request_gone(r))
        rc = service_get_batch(r->service, id, ret);
    return rc;
}

static int read_wait(struct request *r, struct reply *reply, int64_t *ret_us, bool *ret_bad)
{
    bool preferred;

    request_wait_time(r, ret_us, &preferred);
    *ret_bad = request_query_is_bad(r, reply);
    if (*ret_bad || !preferred)
        return 0;
    return reply_add_header(
            reply, "Preference-Applied", "wait=%lld", (long long)(*ret_us / CLOCK_US_PER_S));
}

static void free_specs(struct job_spec *specs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        job_spec_done(&specs[i]);
    free(specs);
}

/* 0 with *ret_ids NULL: the reply says what is wrong with the batch. */
static int submit(struct request *r, struct reply *reply, struct batch *ret, struct uuid7 **ret_ids)
{
    CLEANUP(faults_done) struct faults faults = { 0 };
    struct job_spec *specs = NULL;
    struct batch options;
    size_t n = 0;
    int rc = parse_batch(r->service, r->body.data, r->body.n, &options, &specs, &n, &faults);

    *ret_ids = NULL;
    if (rc == -EBADMSG || rc == -EINVAL) {
        reply_problem(reply, rc == -EBADMSG ? 400 : 422, &faults,
                rc == -EBADMSG ? "the body is no JSON that can be read" : "the batch is not valid");
        return 0;
    }
    if (rc == 0)
        rc = service_submit_batch(r->service, &options, specs, n, ret, ret_ids);
    free_specs(specs, n);
    return rc;
}

int batches_post(struct request *r, struct reply *reply)
{
    CLEANUP(cleanup_free) struct uuid7 *ids = NULL;
    char id[UUID7_TEXT_SIZE];
    struct batch batch;
    int64_t wait_us;
    bool bad;
    int rc = read_wait(r, reply, &wait_us, &bad);

    if (rc < 0 || bad)
        return rc;
    rc = submit(r, reply, &batch, &ids);
    if (rc < 0 || !ids)
        return rc;
    uuid7_format(batch.id, id);
    rc = reply_add_header(reply, "Location", "/v1/batches/%s", id);
    if (rc == 0 && wait_us > 0)
        rc = await_batch(r, batch.id, wait_us, &batch);
    if (rc < 0)
        return rc;
    return reply_batch(r, reply, wait_us > 0 && batch_ended(&batch) ? 200 : 202, &batch, ids);
}

int batches_get(struct request *r, struct reply *reply)
{
    struct batch batch;
    struct uuid7 id;
    int64_t wait_us;
    bool bad;
    int rc = request_id(r, &id);

    if (rc == 0)
        rc = read_wait(r, reply, &wait_us, &bad);
    if (rc < 0 || bad)
        return rc;
    rc = await_batch(r, id, wait_us, &batch);
    return rc < 0 ? rc : reply_batch(r, reply, 200, &batch, NULL);
}

int batches_cancel(struct request *r, struct reply *reply)
{
    struct batch batch;
    struct uuid7 id;
    int rc = request_id(r, &id);

    if (rc == 0)
        rc = service_cancel_batch(r->service, id, &batch);
    if (rc == -EALREADY) {
        reply_problem(reply, 409, NULL, "the batch has ended already");
        return 0;
    }
    return rc < 0 ? rc : reply_batch(r, reply, 200, &batch, NULL);
}

int batches_list(struct request *r, struct reply *reply)
{
    CLEANUP(store_batches_done) struct store_batches page = { 0 };
    struct writer w = writer_to(&reply->body);
    char cursor[REQUEST_CURSOR_SIZE];
    size_t limit = request_limit(r, LIST_LIMIT, LIST_LIMIT_MAX);
    int64_t from = request_cursor(r), now_us;
    int rc;

    if (request_query_is_bad(r, reply))
        return 0;
    rc = service_list_batches(r->service, from, limit, &page);
    if (rc < 0)
        return rc;
    request_format_cursor(page.next, cursor);
    now_us = clock_now_us(service_clock(r->service));
    writer_open(&w, '{');
    writer_key(&w, "data");
    writer_open(&w, '[');
    for (size_t i = 0; i < page.n; i++) {
        writer_open(&w, '{');
        render_batch(&page.batches[i], now_us, &w);
        writer_close(&w, '}');
    }
    writer_close(&w, ']');
    writer_key(&w, "next_cursor");
    writer_text(&w, page.next ? cursor : NULL);
    writer_close(&w, '}');
    buf_append(&reply->body, "\n", 1);
    if (page.next)
        rc = request_link_next(r, cursor, reply);
    reply->status = 200;
    if (rc == 0)
        rc = w.rc;
    return rc < 0 ? rc : reply_set_type(reply, REPLY_JSON);
}
