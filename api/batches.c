/* /v1/batches: jobs submitted together. A batch's results are in results.c. */
#include <errno.h>
#include <stdlib.h>

#include "api/handlers.h"
#include "api/idempotency.h"
#include "api/parse.h"
#include "api/query.h"
#include "api/render.h"
#include "daemon/engine/service.h"

#define LIST_LIMIT     50
#define LIST_LIMIT_MAX 1000
#define ROW_SLICE      200  /* rows made before others run */
#define IDS_SLICE      5000 /* the same of ids */

static bool batch_ended(const struct batch *b)
{
    return b->state == BATCH_SUCCEEDED || b->state == BATCH_FAILED || b->state == BATCH_CANCELLED;
}

struct shown_batch {
    const struct batch *batch;
    int64_t now_us;
    json_t *ids; /* NULL: not shown */
};

static json_t *shown_batch_json(void *arg)
{
    const struct shown_batch *s = arg;
    json_t *o = render_batch(s->batch, s->now_us);

    if (s->ids)
        shape_set(&o, "job_ids", s->ids);
    return o;
}

static json_t *id_json(const void *from, size_t i)
{
    return render_id(((const struct uuid7 *)from)[i]);
}

/* Suspends when there are many ids (those of `jobs`; NULL: they are not shown). */
CO_SUSPENDS static int reply_batch(struct request *r, struct reply *reply, unsigned status,
        const struct batch *b, const struct submitted_batch *jobs)
{
    struct shown_batch shown = { .batch = b, .now_us = clock_now_us(service_clock(r->service)) };
    struct reply_items list = { .item = id_json,
        .from = jobs ? jobs->ids : NULL,
        .n = jobs ? jobs->n : 0,
        .slice = IDS_SLICE };
    int rc = jobs ? reply_items(&list, &shown.ids) : 0;

    if (rc < 0)
        return rc;
    return list.n > list.slice ? reply_json_large(reply, status, shown_batch_json, &shown)
                               : reply_json(reply, status, shown_batch_json, &shown);
}

/* The batch as it stands once it has ended, the time is up, or the daemon stops. */
CO_SUSPENDS static int await_batch(
        struct request *r, struct uuid7 id, int64_t wait_us, struct batch *ret)
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

    query_wait_time(r, ret_us, &preferred);
    *ret_bad = query_is_bad(r, reply);
    if (!*ret_bad && *ret_us > 0 && request_may_wait(r) < 0)
        return -EMLINK;
    if (*ret_bad || !preferred)
        return 0;
    return reply_add_header(
            reply, "Preference-Applied", "wait=%lld", (long long)(*ret_us / CLOCK_US_PER_S));
}

static void submitted_done(struct submitted_batch *b)
{
    free(b->ids);
}

/* 0 with nothing in *ret but the outcome: the reply says what is wrong with the batch. */
CO_SUSPENDS static int submit(struct request *r, struct reply *reply, struct submitted_batch *ret)
{
    CLEANUP(parsed_batch_done) struct parsed_batch parsed = { 0 };
    CLEANUP(faults_done) struct faults faults = { 0 };
    int rc = parse_batch(r, &parsed, &faults);

    request_drop_body(r);
    if (rc == -EBADMSG || rc == -EINVAL) {
        reply_problem(reply, rc == -EBADMSG ? 400 : 422, &faults,
                rc == -EBADMSG ? "the body is no JSON that can be read" : "the batch is not valid");
        return 0;
    }
    if (rc == 0)
        rc = service_submit_batch(r->service, &parsed.options, parsed.specs, parsed.n,
                parsed.keyed ? &parsed.idempotency : NULL, ret);
    if (rc == 0)
        idempotency_refuse(r, ret->outcome, reply);
    return rc;
}

static int head_submitted(struct reply *reply, const struct submitted_batch *submitted)
{
    char id[UUID7_TEXT_SIZE];
    int rc;

    uuid7_format(submitted->batch.id, id);
    rc = reply_add_header(reply, "Location", "/v1/batches/%s", id);
    if (rc == 0 && submitted->outcome == SUBMIT_REPLAYED)
        rc = idempotency_say_replayed(reply);
    return rc;
}

int batches_post(struct request *r, struct reply *reply)
{
    CLEANUP(submitted_done) struct submitted_batch submitted = { 0 };
    int64_t wait_us;
    bool bad;
    int rc = read_wait(r, reply, &wait_us, &bad);

    if (rc < 0 || bad)
        return rc;
    rc = submit(r, reply, &submitted);
    if (rc < 0 || reply->status)
        return rc;
    rc = head_submitted(reply, &submitted);
    if (rc == 0 && wait_us > 0)
        rc = await_batch(r, submitted.batch.id, wait_us, &submitted.batch);
    if (rc < 0)
        return rc;
    return reply_batch(r, reply, wait_us > 0 && batch_ended(&submitted.batch) ? 200 : 202,
            &submitted.batch, &submitted);
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

struct shown_batches {
    const struct store_batches *page;
    int64_t now_us;
    json_t *rows;
    const char *cursor;
};

static json_t *row_json(const void *from, size_t i)
{
    const struct shown_batches *s = from;

    return render_batch(&s->page->batches[i], s->now_us);
}

static json_t *page_json(void *arg)
{
    struct shown_batches *s = arg;

    return render_page(s->rows, s->cursor);
}

int batches_list(struct request *r, struct reply *reply)
{
    CLEANUP(store_batches_done) struct store_batches page = { 0 };
    struct shown_batches shown = { .page = &page };
    struct reply_items rows = { .item = row_json, .from = &shown, .slice = ROW_SLICE };
    char cursor[QUERY_CURSOR_SIZE];
    size_t limit = query_limit(r, LIST_LIMIT, LIST_LIMIT_MAX);
    int64_t from = query_cursor(r);
    int rc;

    if (query_is_bad(r, reply))
        return 0;
    rc = service_list_batches(r->service, from, limit, &page);
    if (rc < 0)
        return rc;
    query_format_cursor(page.next, cursor);
    shown.cursor = page.next ? cursor : NULL;
    shown.now_us = clock_now_us(service_clock(r->service));
    rows.n = page.n;
    rc = reply_items(&rows, &shown.rows);
    if (rc == 0)
        rc = page.n > rows.slice ? reply_json_large(reply, 200, page_json, &shown)
                                 : reply_json(reply, 200, page_json, &shown);
    return rc < 0 || !page.next ? rc : query_link_next(r, cursor, reply);
}
