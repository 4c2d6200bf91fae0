/*
 * A job goes with one deletion by key from each table. Its batch's row remembers what was removed
 * of it, so that the counts of a batch that still runs can be made from the rows that are left, and
 * goes with its last job once it has ended.
 */
#include "daemon/store/sqlite_purge.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/model/batch.h"
#include "daemon/store/sqlite_ended.h"
#include "daemon/store/sqlite_statement.h"
#include "daemon/store/store.h"

#define SLICE_US    3000
#define SLICE_FILES 16 /* removing a file of 10 MiB takes some 0.3 ms */

/* Free pages are used again, so they are only given back when they are many. */
#define FREE_PAGES_MIN   1024 /* 8 MiB */
#define FREE_PAGES_SHARE 8    /* and an eighth of the file */

_Static_assert(ANSWER_STEPS_MAX - 1 >= STEP_MAX - 1, "keys of answers");

static int64_t purge_number(struct sqlite *d, enum statement which, int *rc)
{
    struct row r CLEANUP_ROW = statement_start(d, which);
    int got = statement_next(&r);

    if (got < 0)
        *rc = got;
    return got > 0 ? sqlite3_column_int64(r.statement, 0) : 0;
}

int purge_count(struct sqlite *d)
{
    int rc = 0;

    d->ended = purge_number(d, COUNT_ENDED, &rc);
    return rc;
}

void purge_set_file_bytes(struct sqlite *d, int64_t bytes)
{
    d->file_bytes = bytes;
}

int purge_used_bytes(struct sqlite *d, int64_t *ret)
{
    int rc = 0;
    int64_t pages = purge_number(d, PAGE_COUNT, &rc) - purge_number(d, FREE_COUNT, &rc);
    int64_t page_bytes = purge_number(d, PAGE_SIZE, &rc);

    if (rc == 0)
        *ret = pages * page_bytes + d->file_bytes + d->file_bytes_change;
    return rc;
}

struct purged {
    int64_t key, tail, batch_key;
    int64_t finished_us, work_us;
    enum job_state state;
};

/* 0: there is no such job any more. */
static int purge_find(struct sqlite *d, int64_t key, struct purged *ret)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_ENDED);
    int64_t started_us;
    int rc;

    row_put_int(&r, key);
    rc = statement_next(&r);
    if (rc <= 0)
        return rc;
    ret->key = key;
    ret->finished_us = row_take_int(&r);
    ret->state = (enum job_state)row_take_enum(&r, JOB_RUNNING);
    started_us = row_take_int(&r);
    ret->batch_key = row_take_int(&r);
    ret->tail = row_take_int(&r);
    ret->work_us = started_us > 0 ? ret->finished_us - started_us : 0;
    return r.rc < 0 ? r.rc : 1;
}

/* 1: it is beyond the limits. */
static int purge_due(struct sqlite *d, const struct store_limits *limits, int64_t finished_us)
{
    int64_t bytes = 0;
    int rc;

    if (finished_us < limits->finished_before_us)
        return 1;
    if (d->ended + d->ended_change > limits->max_ended)
        return 1;
    rc = purge_used_bytes(d, &bytes);
    return rc < 0 ? rc : bytes > limits->max_bytes;
}

static int purge_delete(struct sqlite *d, enum statement which, int64_t key)
{
    struct row r = statement_start(d, which);

    row_put_int(&r, key);
    return statement_run(&r);
}

static int purge_drop_files(struct sqlite *d, int64_t key, size_t *files)
{
    struct row r CLEANUP_ROW = statement_start(d, LIST_FILES);
    int rc;

    row_put_int(&r, ANSWER_KEY(key, 0));
    row_put_int(&r, ANSWER_KEY(key, ANSWER_STEPS_MAX - 1));
    while ((rc = statement_next(&r)) > 0) {
        const char *name = (const char *)sqlite3_column_text(r.statement, 0);

        rc = name ? buf_append(&d->dropped_files, name, strlen(name) + 1) : -ENOMEM;
        if (rc < 0)
            return rc;
        d->file_bytes_change -= sqlite3_column_int64(r.statement, 1);
        ++*files;
    }
    return rc;
}

static int purge_delete_answers(struct sqlite *d, int64_t key)
{
    struct row r = statement_start(d, DELETE_ANSWERS);

    row_put_int(&r, ANSWER_KEY(key, 0));
    row_put_int(&r, ANSWER_KEY(key, ANSWER_STEPS_MAX - 1));
    return statement_run(&r);
}

/* 1: it has other jobs than this one. */
static int purge_batch_has_others(struct sqlite *d, const struct purged *p)
{
    struct row r CLEANUP_ROW = statement_start(d, FIND_OTHER_MEMBER);

    row_put_int(&r, p->batch_key);
    row_put_int(&r, p->key);
    return statement_next(&r);
}

static int purge_note_in_batch(struct sqlite *d, const struct purged *p)
{
    struct row r = statement_start(d, NOTE_REMOVED);

    row_put_int(&r, p->state == JOB_SUCCEEDED);
    row_put_int(&r, p->state == JOB_FAILED);
    row_put_int(&r, p->state == JOB_CANCELLED);
    row_put_int(&r, p->work_us);
    row_put_int(&r, p->finished_us);
    row_put_int(&r, p->key);
    row_put_int(&r, p->batch_key);
    return statement_run(&r);
}

/*
 * 1: the batch lets it go. The last job of a batch that is about to end stays until that is
 * written, a moment later: the batch goes with it.
 */
static int purge_leave_batch(struct sqlite *d, const struct purged *p)
{
    int others, rc;

    if (p->batch_key == 0)
        return 1;
    others = purge_batch_has_others(d, p);
    if (others < 0)
        return others;
    if (others) {
        rc = purge_note_in_batch(d, p);
        return rc < 0 ? rc : 1;
    }
    rc = purge_delete(d, DELETE_ENDED_BATCH, p->batch_key);
    return rc < 0 ? rc : sqlite3_changes(d->db) > 0;
}

/* 1: it was removed. */
static int purge_job(struct sqlite *d, const struct purged *p, size_t *files)
{
    int rc = purge_leave_batch(d, p);

    if (rc <= 0)
        return rc;
    rc = purge_drop_files(d, p->key, files);
    if (rc == 0)
        rc = purge_delete_answers(d, p->key);
    if (rc == 0)
        rc = purge_delete(d, DELETE_ATTEMPTS, p->key);
    if (rc == 0)
        rc = purge_delete(d, DELETE_LABELS, p->key);
    if (rc == 0)
        rc = purge_delete(d, DELETE_DONE, p->key);
    if (rc == 0)
        rc = purge_delete(d, DELETE_JOB, p->key);
    return rc < 0 ? rc : 1;
}

static bool purge_has_many_free(struct sqlite *d, int *rc)
{
    int64_t free_pages = purge_number(d, FREE_COUNT, rc);

    return free_pages > FREE_PAGES_MIN &&
           free_pages > purge_number(d, PAGE_COUNT, rc) / FREE_PAGES_SHARE;
}

static int purge_give_pages_back(struct sqlite *d)
{
    struct row r CLEANUP_ROW = statement_start(d, GIVE_PAGES_BACK);
    int rc;

    while ((rc = statement_next(&r)) > 0)
        ;
    return rc;
}

/* Not in a slice that has removed many jobs. *ret_more: there are pages to give back. */
static int purge_shrink(struct sqlite *d, bool at_once, bool *ret_more)
{
    int rc = 0;

    if (at_once && purge_has_many_free(d, &rc) && rc == 0)
        rc = purge_give_pages_back(d);
    *ret_more = rc == 0 && purge_has_many_free(d, &rc);
    return rc;
}

/* A walk along the list of ended jobs, up to the first one that is not due or one too many. */
struct purge_walk {
    struct sqlite *driver;
    const struct store_limits *limits;
    struct purge_slice *slice;
    int64_t until_us;
    size_t files; /* of the jobs that went */
    bool stopped;
};

/* Those that have to stay do not end a slice: what is behind them could not be reached then. */
static bool purge_is_enough(const struct purge_walk *w)
{
    return w->slice->n == PURGE_SLICE || w->files >= SLICE_FILES ||
           (w->slice->n > 0 && clock_mono_us() >= w->until_us);
}

/* 1: it was removed. */
static int purge_try(struct purge_walk *w, const struct purged *p)
{
    int rc = purge_due(w->driver, w->limits, p->finished_us);

    if (rc > 0 && !purge_is_enough(w))
        return purge_job(w->driver, p, &w->files);
    w->stopped = true;
    w->slice->more = rc > 0 && w->slice->n > 0;
    return rc < 0 ? rc : 0;
}

/* 1: it is in the list no more. */
static int purge_next(struct purge_walk *w, int64_t key)
{
    struct purge_slice *s = w->slice;
    struct purged p;
    int rc = purge_find(w->driver, key, &p);

    if (rc <= 0)
        return rc < 0 ? rc : 1;
    rc = purge_try(w, &p);
    if (rc > 0)
        s->ids[s->n++] = (struct uuid7){ key, p.tail };
    else if (rc == 0 && s->oldest_us == 0)
        s->oldest_us = p.finished_us;
    return rc;
}

/* What stays moves to the front, and is the row from then on. */
static int purge_row(struct purge_walk *w, struct ended_row *row)
{
    size_t n = row->keys.n, at = 0, kept = 0;
    char *keys = row->keys.data;

    for (; at < n && !w->stopped; at += ENDED_DIGITS) {
        int64_t key = 0;
        int rc = ended_parse(keys + at, &key);

        if (rc == 0)
            rc = purge_next(w, key);
        if (rc < 0)
            return rc;
        if (rc > 0) {
            w->driver->ended_change--;
            continue;
        }
        memmove(keys + kept, keys + at, ENDED_DIGITS);
        kept += ENDED_DIGITS;
    }
    if (kept == at)
        return 0;
    memmove(keys + kept, keys + at, n - at);
    row->keys.n = kept + n - at;
    return ended_update(w->driver, row);
}

/* Most walks find that nothing is due: they look at one job. */
static int purge_list(struct purge_walk *w)
{
    struct ended_row row CLEANUP(ended_row_done) = { 0 };
    int rc = 1;

    while (rc > 0 && !w->stopped) {
        rc = ended_next(w->driver, &row);
        if (rc > 0) {
            int done = purge_row(w, &row);

            rc = done < 0 ? done : 1;
        }
    }
    return rc < 0 ? rc : 0;
}

int purge_run_slice(struct sqlite *d, const struct store_limits *limits, struct purge_slice *ret)
{
    struct purge_walk w = {
        .driver = d,
        .limits = limits,
        .slice = ret,
        .until_us = clock_mono_us() + SLICE_US,
    };
    bool free_left = false;
    int rc;

    ret->n = 0;
    ret->more = false;
    ret->oldest_us = 0;
    rc = ended_write(d);
    if (rc == 0)
        rc = purge_list(&w);
    if (rc == 0)
        rc = purge_shrink(d, ret->n < PURGE_SLICE / 2, &free_left);
    ret->more = ret->more || free_left;
    return rc;
}
