/*
 * /v1/batches/{id}/results: the jobs as they finish, one a line, held open until the last one. An
 * empty line now and then keeps what is between us and the client from closing it.
 */
#include <errno.h>

#include "api/fields.h"
#include "api/handlers.h"
#include "api/query.h"
#include "api/render.h"
#include "daemon/engine/service.h"

#define RESULTS_PAGE     50
#define RESULTS_PAUSE_US (15 * CLOCK_US_PER_S)

CO_SUSPENDS static int next_page(
        struct request *r, struct uuid7 id, int64_t after, struct store_page *ret, bool *ret_ended)
{
    int64_t deadline_ns = clock_mono_ns() + RESULTS_PAUSE_US * CLOCK_NS_PER_US;
    struct co_scope scope;
    int rc;

    request_wait_open(r, &scope);
    rc = service_batch_results(r->service, id, after, RESULTS_PAGE, deadline_ns, ret, ret_ended);
    return request_wait_close(r, &scope, rc);
}

struct results_line {
    const struct job *job;
    struct buf text;
    int rc;
};

static void make_line(void *arg)
{
    struct results_line *l = arg;
    struct render_job how = { .full = true, .seq = true };

    l->text.n = 0;
    l->rc = shape_write_line(render_job(l->job, &how), &l->text);
}

CO_SUSPENDS static int write_jobs(struct request *r, const struct store_page *page)
{
    struct results_line line = { 0 };
    int rc = 0;

    if (page->n == 0)
        return request_write(r, "\n", 1);
    for (size_t i = 0; i < page->n && rc == 0; i++) {
        line.job = page->jobs[i];
        co_on_loop(make_line, &line);
        rc = line.rc < 0 ? line.rc : request_write(r, line.text.data, line.text.n);
    }
    buf_done(&line.text);
    return rc;
}

CO_SUSPENDS static int stream_results(struct request *r, struct uuid7 id, int64_t after)
{
    bool ended = false;
    int rc = 0;

    while (!ended && rc == 0) {
        struct store_page page = { 0 };

        rc = next_page(r, id, after, &page, &ended);
        if (rc == 0 && (page.n > 0 || !ended))
            rc = write_jobs(r, &page);
        if (page.n > 0)
            after = page.jobs[page.n - 1]->finished_seq;
        store_page_done(&page);
        if (rc == 0 && !ended && request_stopping(r))
            rc = -ESHUTDOWN;
    }
    return rc;
}

int results_get(struct request *r, struct reply *reply)
{
    const char *text = query_parameter(r, "after");
    uint64_t after = 0;
    struct batch batch;
    struct uuid7 id;
    int rc = request_id(r, &id);

    if (rc < 0)
        return rc;
    if (text && field_unsigned(text, INT64_MAX, &after) < 0)
        faults_parameter(&r->faults, "after", "must be a number");
    if (query_is_bad(r, reply))
        return 0;
    rc = service_get_batch(r->service, id, &batch);
    if (rc == 0)
        rc = request_may_wait(r);
    if (rc == 0)
        rc = reply_set_type(reply, REPLY_NDJSON);
    if (rc < 0)
        return rc;
    reply->status = 200;
    if (r->head)
        return 0;
    request_stream(r, reply);
    return stream_results(r, id, (int64_t)after);
}
