/* The tests of retention: jobs that end at a given time, slices, and what is left. */
#pragma once

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/sqlite_purge.h"
#include "daemon/store/sqlite_statement.h"
#include "tests/unit/store/driver.h"

static const struct store_limits nothing_due = { 0, INT64_MAX, INT64_MAX };
static const struct store_limits all_due = { INT64_MAX, 0, 0 };

static inline void end_at(
        struct sqlite *d, struct job *j, enum job_state state, int64_t us, int64_t seq)
{
    struct sample_step step;

    sample_step_init(&step, j, state, "x");
    step.checkpoint.finished_us = us;
    step.checkpoint.started_us = us - 7;
    step.checkpoint.finished_seq = seq;
    commit_step(d, &step);
}

/* All in one transaction, one microsecond after the other. */
static inline void end_together(struct sqlite *d, struct job *const *j, size_t n, int64_t us)
{
    struct sample_step *steps = calloc(n, sizeof(*steps));

    assert_non_null(steps);
    assert_int_equal(sqlite_begin(d), 0);
    for (size_t i = 0; i < n; i++) {
        sample_step_init(&steps[i], j[i], JOB_SUCCEEDED, NULL);
        steps[i].checkpoint.finished_us = us + (int64_t)i;
        assert_int_equal(sqlite_write_checkpoint(d, &steps[i].checkpoint), 0);
    }
    assert_int_equal(sqlite_commit(d), 0);
    for (size_t i = 0; i < n; i++)
        sample_step_apply(&steps[i]);
    free(steps);
}

static inline void update_batch(struct sqlite *d, const struct batch *b)
{
    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(sqlite_update_batch(d, b), 0);
    assert_int_equal(sqlite_commit(d), 0);
}

static inline struct purge_slice purge_slice(struct sqlite *d, struct store_limits limits)
{
    struct purge_slice slice;

    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(purge_run_slice(d, &limits, &slice), 0);
    assert_int_equal(sqlite_commit(d), 0);
    return slice;
}

/* All that is due, PURGE_SLICE jobs at most: a slice ends early where the machine is slow. */
static inline struct purge_slice purge(struct sqlite *d, struct store_limits limits)
{
    struct purge_slice slice = purge_slice(d, limits);

    while (slice.more) {
        struct purge_slice next = purge_slice(d, limits);

        assert_true(slice.n + next.n <= PURGE_SLICE);
        memcpy(slice.ids + slice.n, next.ids, next.n * sizeof(*next.ids));
        slice.n += next.n;
        slice.more = next.more;
        slice.oldest_us = next.oldest_us;
    }
    return slice;
}

/* Those from `j` on and no others, in this order. */
static inline void assert_gone(const struct purge_slice *slice, struct job *const *j, size_t n)
{
    assert_int_equal(slice->n, n);
    for (size_t i = 0; i < n; i++)
        assert_memory_equal(&slice->ids[i], &j[i]->id, sizeof(j[i]->id));
}

static inline bool is_there(struct sqlite *d, const struct job *j)
{
    struct job *stored = NULL;
    int rc = sqlite_read_job(d, j->id, &stored);

    job_unref(stored);
    assert_true(rc == 0 || rc == -ENOENT);
    return rc == 0;
}

static inline int64_t number(struct sqlite *d, const char *sql)
{
    sqlite3_stmt *st;
    int64_t n;

    assert_int_equal(sqlite3_prepare_v2(d->db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

/* Of the tables that a job has rows in. */
static inline int64_t all_rows(struct sqlite *d)
{
    return number(d, "SELECT (SELECT count(*) FROM job) + (SELECT count(*) FROM live)"
                     " + (SELECT count(*) FROM done) + (SELECT count(*) FROM label)"
                     " + (SELECT count(*) FROM attempt) + (SELECT count(*) FROM answer)"
                     " + (SELECT count(*) FROM batch) + (SELECT count(*) FROM ended)");
}
