/*
 * A page is read by walking an index, and taken out of that index only when the walk is over.
 * A batch that is loading has its jobs in the indexes already: these are passed over.
 */
#include "daemon/store/sqlite_page.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/base/cleanup.h"
#include "daemon/store/sqlite_loading.h"
#include "daemon/store/sqlite_read.h"
#include "daemon/store/sqlite_row.h"
#include "daemon/store/sqlite_statement.h"
#include "daemon/store/sqlite_write.h"

struct page_limits {
    int64_t until; /* of what the page is ordered by */
    size_t jobs;
    int64_t bytes;
};

/* 1: the job's batch is loading, 0: it may be seen. */
static int page_hides(struct sqlite *d, int64_t key)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_HEAD);
    int rc;

    if (!loading_any(d))
        return 0;
    row_put_int(&r, key);
    rc = statement_next(&r);
    if (rc <= 0)
        return rc;
    return loading_hides(d, sqlite3_column_int64(r.statement, HEAD_BATCH_KEY));
}

static int page_fill(struct row *r, const struct page_limits *l, struct store_page *p)
{
    int64_t bytes = 0;
    int rc;

    p->jobs = calloc(l->jobs ? l->jobs : 1, sizeof(struct job *));
    if (!p->jobs)
        return -ENOMEM;
    while ((rc = statement_next(r)) > 0) {
        int64_t key = row_take_int(r), place = row_take_int(r);

        if (place > l->until || p->n == l->jobs || (p->n > 0 && bytes >= l->bytes)) {
            p->next = place;
            return 0;
        }
        rc = page_hides(r->driver, key);
        if (rc > 0)
            continue;
        if (rc == 0)
            rc = row_read_job(r->driver, key, ROW_FULL | ROW_REQUEST_BODIES, &p->jobs[p->n]);
        if (rc < 0)
            return rc;
        bytes += job_bytes(p->jobs[p->n++]);
    }
    return rc;
}

/* Pages in by a statement whose parameters are bound. */
static int page_take(struct row *r, const struct page_limits *l, struct store_page *ret)
{
    struct store_page page = { 0 };
    int rc = page_fill(r, l, &page);

    row_done(r);
    for (size_t i = 0; rc == 0 && i < page.n; i++)
        rc = sqlite_write_paged_in(r->driver, page.jobs[i]->id.key);
    if (rc < 0) {
        store_page_done(&page);
        return rc;
    }
    for (size_t i = 0; i < page.n; i++)
        page.jobs[i]->paged_out = false;
    *ret = page;
    return 0;
}

int sqlite_page_class(struct sqlite *d, int64_t lane, int priority, int64_t due_us, size_t limit,
        int64_t max_bytes, struct store_page *ret)
{
    struct page_limits l = { .until = due_us, .jobs = limit, .bytes = max_bytes };
    struct row r CLEANUP_ROW = statement_start(d, PAGE_CLASS);

    row_put_int(&r, lane);
    row_put_int(&r, priority);
    return page_take(&r, &l, ret);
}

int sqlite_page_ends(struct sqlite *d, int64_t ends_us, size_t limit, struct store_page *ret)
{
    struct page_limits l = { .until = ends_us, .jobs = limit, .bytes = INT64_MAX };
    struct row r CLEANUP_ROW = statement_start(d, PAGE_ENDS);

    return page_take(&r, &l, ret);
}

int sqlite_page_batch(struct sqlite *d, int64_t batch_key, int64_t from, bool held_only,
        size_t limit, struct store_page *ret)
{
    struct page_limits l = { .until = INT64_MAX, .jobs = limit, .bytes = INT64_MAX };
    struct row r CLEANUP_ROW = statement_start(d, PAGE_BATCH);

    row_put_int(&r, batch_key);
    row_put_int(&r, from);
    row_put_int(&r, held_only);
    return page_take(&r, &l, ret);
}

int sqlite_page_job(struct sqlite *d, struct uuid7 id, struct job **ret)
{
    struct job *j CLEANUP(cleanup_job) = NULL;
    int rc = sqlite_read_job(d, id, &j);

    if (rc == 0 && !j->paged_out)
        rc = -EALREADY;
    if (rc == 0)
        rc = sqlite_write_paged_in(d, id.key);
    if (rc < 0)
        return rc;
    j->paged_out = false;
    *ret = TAKE_PTR(j);
    return 0;
}
