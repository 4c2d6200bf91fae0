/* The driver's tests: an open database, and jobs on their way through it. */
#pragma once

#include "daemon/store/sqlite.h"
#include "daemon/store/sqlite_read.h"
#include "daemon/store/sqlite_write.h"
#include "tests/unit/store/sample.h"

static inline struct sqlite *open_database(const struct sample *s)
{
    struct sqlite *d = NULL;
    struct error why;
    int rc = sqlite_open(&(struct sqlite_options){ .path = s->database }, &d, &why);

    if (rc < 0)
        fail_msg("%s", why.text);
    return d;
}

static inline void write_jobs(struct sqlite *d, struct job *const *jobs, size_t n)
{
    assert_int_equal(sqlite_begin(d), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(sqlite_write_job(d, jobs[i]), 0);
    assert_int_equal(sqlite_commit(d), 0);
}

/* Commits the checkpoint and applies it to the job. */
static inline void commit_step(struct sqlite *d, struct sample_step *step)
{
    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(sqlite_write_checkpoint(d, &step->checkpoint), 0);
    assert_int_equal(sqlite_commit(d), 0);
    sample_step_apply(step);
}

static inline void end_job(struct sqlite *d, struct job *j, enum job_state state, int64_t seq)
{
    struct sample_step step;

    sample_step_init(&step, j, state, "x");
    step.checkpoint.finished_seq = seq;
    commit_step(d, &step);
}

static inline void assert_stored(struct sqlite *d, const struct job *j)
{
    struct job *stored = NULL;

    assert_int_equal(sqlite_read_job(d, j->id, &stored), 0);
    sample_assert_same(stored, j);
    job_unref(stored);
}
