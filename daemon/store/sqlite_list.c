/*
 * A list walks one tree in the order of the page and looks up, by key, what the filter needs to
 * know. The tree is the narrowest one that holds all that may match: a batch's index, a label's
 * index, the live jobs, the ended ones, or all jobs.
 */
#include <errno.h>
#include <stdlib.h>

#include "daemon/store/sqlite_loading.h"
#include "daemon/store/sqlite_read.h"
#include "daemon/store/sqlite_row.h"
#include "daemon/store/sqlite_statement.h"

#define STATES_LIVE  (1u << JOB_PENDING | 1u << JOB_WAITING)
#define STATES_ENDED (1u << JOB_SUCCEEDED | 1u << JOB_FAILED | 1u << JOB_CANCELLED)

struct list_query {
    const struct store_filter *filter; /* NULL: all */
    unsigned parts;
    size_t limit;
    int64_t bytes;     /* of jobs, after which a page is short; 0: no limit */
    int64_t place_add; /* from a row's place to where the next page begins */
};

static int64_t list_column(const struct row *r, int column)
{
    return sqlite3_column_int64(r->statement, column);
}

/* These say 1: it matches, 0: it does not. */

static int list_match_head(struct sqlite *d, int64_t key, const struct store_filter *f)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_HEAD);
    int rc;

    row_put_int(&r, key);
    rc = statement_next(&r);
    if (rc <= 0)
        return rc;
    if (loading_hides(d, list_column(&r, HEAD_BATCH_KEY)))
        return 0;
    if (f && f->kind >= 0 && f->kind != list_column(&r, HEAD_KIND))
        return 0;
    return !f || !f->batch.key ||
           (f->batch.key == list_column(&r, HEAD_BATCH_KEY) &&
                   f->batch.tail == list_column(&r, HEAD_BATCH_TAIL));
}

static int list_match_state(struct sqlite *d, int64_t key, unsigned states)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_STATE);
    int rc;

    row_put_int(&r, key);
    rc = statement_next(&r);
    if (rc <= 0)
        return rc;
    return (states >> row_take_enum(&r, JOB_RUNNING) & 1) && r.rc == 0;
}

static int list_match_label(struct sqlite *d, int64_t key, const struct store_filter *f)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_LABEL);

    row_put_text(&r, f->label_key);
    row_put_text(&r, f->label_value);
    row_put_int(&r, key);
    return statement_next(&r);
}

static int list_match_lane(struct sqlite *d, int64_t key, const char *lane)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_LANE);

    row_put_int(&r, key);
    row_put_text(&r, lane);
    return statement_next(&r);
}

static int list_match(struct sqlite *d, int64_t key, const struct store_filter *f)
{
    int rc = 1;

    if (loading_any(d) || (f && (f->kind >= 0 || f->batch.key)))
        rc = list_match_head(d, key, f);
    if (rc > 0 && f && f->states)
        rc = list_match_state(d, key, f->states);
    if (rc > 0 && f && f->label_key)
        rc = list_match_label(d, key, f);
    if (rc > 0 && f && f->lane)
        rc = list_match_lane(d, key, f->lane);
    return rc;
}

static int list_fill(struct row *r, const struct list_query *q, struct store_page *p)
{
    int64_t bytes = 0;
    int rc;

    p->jobs = calloc(q->limit ? q->limit : 1, sizeof(struct job *));
    if (!p->jobs)
        return -ENOMEM;
    for (unsigned examined = 0; (rc = statement_next(r)) > 0; examined++) {
        int64_t key = list_column(r, LIST_KEY);

        if (p->n == q->limit || examined == STORE_EXAMINED_MAX || (q->bytes && bytes >= q->bytes))
            return 0;
        p->next = list_column(r, LIST_PLACE) + q->place_add;
        rc = list_match(r->driver, key, q->filter);
        if (rc == 0)
            continue;
        if (rc > 0)
            rc = row_read_job(r->driver, key, q->parts, &p->jobs[p->n]);
        if (rc < 0)
            return rc;
        bytes += job_bytes(p->jobs[p->n++]);
    }
    p->next = 0;
    return rc;
}

/* Reads the page of a statement whose parameters are bound. */
static int list_page(struct row *r, const struct list_query *q, struct store_page *ret)
{
    struct store_page page = { 0 };
    int rc = list_fill(r, q, &page);

    if (rc < 0) {
        store_page_done(&page);
        return rc;
    }
    *ret = page;
    return 0;
}

static int list_batch(
        struct sqlite *d, const struct list_query *q, int64_t from, struct store_page *ret)
{
    struct row r CLEANUP_ROW = statement_start(d, LIST_BATCH);

    row_put_int(&r, q->filter->batch.key);
    row_put_int(&r, from);
    return list_page(&r, q, ret);
}

static int list_label(
        struct sqlite *d, const struct list_query *q, int64_t from, struct store_page *ret)
{
    struct row r CLEANUP_ROW = statement_start(d, LIST_LABEL);

    row_put_text(&r, q->filter->label_key);
    row_put_text(&r, q->filter->label_value);
    row_put_int(&r, from ? from : INT64_MAX);
    return list_page(&r, q, ret);
}

static enum statement list_narrowest(unsigned states)
{
    if (!states || (states & STATES_LIVE && states & STATES_ENDED))
        return LIST_JOBS;
    return states & STATES_ENDED ? LIST_DONE_JOBS : LIST_LIVE_JOBS;
}

static int list_newest(
        struct sqlite *d, const struct list_query *q, int64_t from, struct store_page *ret)
{
    struct row r CLEANUP_ROW = statement_start(d, list_narrowest(q->filter->states));

    row_put_int(&r, from ? from : INT64_MAX);
    return list_page(&r, q, ret);
}

int sqlite_list_jobs(struct sqlite *d, const struct store_filter *filter, int64_t from,
        size_t limit, bool full, struct store_page *ret)
{
    struct list_query q = {
        .filter = filter,
        .parts = full ? ROW_FULL : 0,
        .limit = limit,
        .place_add = filter->batch.key ? 1 : 0,
    };

    if (filter->batch.key)
        return list_batch(d, &q, from, ret);
    return filter->label_key ? list_label(d, &q, from, ret) : list_newest(d, &q, from, ret);
}

int sqlite_list_finished(
        struct sqlite *d, int64_t batch_key, int64_t after, size_t limit, struct store_page *ret)
{
    struct list_query q = { .parts = ROW_FULL, .limit = limit, .bytes = STORE_FINISHED_BYTES };
    struct row r CLEANUP_ROW = statement_start(d, LIST_FINISHED);

    row_put_int(&r, batch_key);
    row_put_int(&r, after);
    return list_page(&r, &q, ret);
}

int sqlite_list_batch_ids(struct sqlite *d, int64_t batch_key, int64_t from, size_t limit,
        struct uuid7 *ret_ids, size_t *ret_n, int64_t *ret_next)
{
    struct row r CLEANUP_ROW = statement_start(d, LIST_BATCH_IDS);
    size_t n = 0;
    int64_t next = 0;
    int rc;

    row_put_int(&r, batch_key);
    row_put_int(&r, from);
    row_put_int(&r, loading_hides(d, batch_key) ? 0 : (int64_t)limit);
    while (n < limit && (rc = statement_next(&r)) != 0) {
        if (rc < 0)
            return rc;
        ret_ids[n].key = row_take_int(&r);
        ret_ids[n++].tail = row_take_int(&r);
        next = row_take_int(&r) + 1;
    }
    *ret_n = n;
    *ret_next = n == limit ? next : 0;
    return 0;
}

static int list_fill_batches(
        struct row *r, bool running_only, size_t limit, struct store_batches *b)
{
    int rc;

    b->batches = calloc(limit ? limit : 1, sizeof(struct batch));
    if (!b->batches)
        return -ENOMEM;
    while ((rc = statement_next(r)) > 0) {
        int64_t key = list_column(r, BATCH_COLUMN_KEY);

        if (b->n == limit)
            return 0;
        b->next = key;
        if (loading_hides(r->driver, key))
            continue;
        rc = row_take_batch(r, running_only, &b->batches[b->n]);
        if (rc < 0)
            return rc;
        b->n++;
    }
    b->next = 0;
    return rc;
}

int sqlite_list_batches(
        struct sqlite *d, bool running_only, int64_t from, size_t limit, struct store_batches *ret)
{
    struct store_batches batches = { 0 };
    struct row r CLEANUP_ROW =
            statement_start(d, running_only ? LIST_BATCHES_RUNNING : LIST_BATCHES);
    int rc;

    row_put_int(&r, from ? from : INT64_MAX);
    rc = list_fill_batches(&r, running_only, limit, &batches);
    if (rc < 0) {
        store_batches_done(&batches);
        return rc;
    }
    *ret = batches;
    return 0;
}
