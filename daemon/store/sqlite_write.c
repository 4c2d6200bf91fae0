#include "daemon/store/sqlite_write.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "daemon/store/attempts.h"
#include "daemon/store/sqlite_ended.h"
#include "daemon/store/sqlite_statement.h"

_Static_assert(BATCH_LOADING < 2 && BATCH_RUNNING < 2 && BATCH_SUCCEEDED >= 2, "index batch_live");
_Static_assert(STEP_MAX <= ANSWER_STEPS_MAX, "keys of answers");
_Static_assert(EVENT_MAX == 3, "a column for each event");

static void put_request(struct row *r, const struct request_spec *q)
{
    row_put_text(r, q->url);
    row_put_text(r, q->origin);
    row_put_text(r, q->method);
    row_put_blob(r, q->headers.data, q->headers.n);
    row_put_int(r, q->body_bytes);
}

static void put_spec(struct row *r, const struct job_spec *s, const struct blob *expect)
{
    row_put_text(r, s->name);
    put_request(r, &s->request);
    put_request(r, &s->collect);
    row_put_int(r, s->wait_us);
    row_put_int(r, s->timeout_us);
    row_put_int(r, s->deadline_us);
    row_put_int(r, s->delay_us);
    row_put_int(r, s->at_us);
    row_put_int(r, s->max_body_bytes);
    row_put_int(r, s->redirects);
    row_put_blob(r, expect->data, expect->n);
    row_put_int(r, s->attempts);
    row_put_int(r, s->backoff_us);
    row_put_int(r, s->max_backoff_us);
    row_put_int(r, s->priority);
    row_put_int(r, s->on_unknown);
    row_put_int(r, s->idempotent);
    row_put_int(r, s->executor);
    row_put_int(r, (int64_t)s->n_labels);
    row_put_blob(r, s->request.body.data, s->request.body.n);
    row_put_blob(r, s->collect.body.data, s->collect.body.n);
}

static void put_batch_of_job(struct row *r, const struct job *j)
{
    if (j->batch.key) {
        row_put_int(r, j->batch.key);
        row_put_int(r, j->batch.tail);
        row_put_int(r, j->index);
    } else {
        row_put_null(r);
        row_put_null(r);
        row_put_null(r);
    }
}

static int write_job(struct sqlite *d, const struct job *j)
{
    struct row r = statement_start(d, INSERT_JOB);
    struct blob expect;
    int rc = pack_status_ranges(&j->spec.expect, &expect);

    if (rc < 0)
        return rc;
    row_put_int(&r, j->id.key);
    row_put_int(&r, j->id.tail);
    row_put_int(&r, j->spec.kind);
    put_batch_of_job(&r, j);
    row_put_int(&r, j->created_us);
    put_spec(&r, &j->spec, &expect);
    rc = statement_run(&r);
    blob_done(&expect);
    return rc;
}

static int write_live(struct sqlite *d, const struct job *j)
{
    struct row r = statement_start(d, INSERT_LIVE);

    row_put_int(&r, j->id.key);
    row_put_int(&r, j->state);
    row_put_int(&r, j->step);
    row_put_int(&r, j->held);
    row_put_int(&r, j->due_us);
    row_put_int(&r, j->started_us);
    row_put_int(&r, j->events.at_us[EVENT_DELIVERED]);
    return statement_run(&r);
}

/* It leaves memory as the checkpoint leaves it, or as it is (NULL). */
static int write_paged(struct sqlite *d, const struct job *j, const struct checkpoint *c)
{
    struct row r = statement_start(d, INSERT_PAGED);
    enum job_state state = c ? c->state : j->state;

    row_put_int(&r, j->id.key);
    row_put_int(&r, job_lane_key(j, c ? c->step : j->step));
    row_put_int(&r, j->spec.priority);
    row_put_int(&r, j->held);
    row_put_int(&r, c ? c->due_us : j->due_us);
    row_put_int(&r, job_ends_us(j));
    row_put_int(&r, state == JOB_PENDING ? j->spec.at_us : 0);
    return statement_run(&r);
}

int sqlite_write_paged_in(struct sqlite *d, int64_t key)
{
    struct row r = statement_start(d, DELETE_PAGED);

    row_put_int(&r, key);
    return statement_run(&r);
}

static int write_label(struct sqlite *d, int64_t key, size_t seq, const struct label *l)
{
    struct row r = statement_start(d, INSERT_LABEL);

    row_put_int(&r, key);
    row_put_int(&r, (int64_t)seq);
    row_put_text(&r, l->key);
    row_put_text(&r, l->value);
    return statement_run(&r);
}

int sqlite_write_job(struct sqlite *d, const struct job *j)
{
    int rc;

    assert(j->id.key > 0);
    assert(!job_state_ended(j->state));

    rc = write_job(d, j);
    if (rc == 0)
        rc = write_live(d, j);
    if (rc == 0 && j->paged_out)
        rc = write_paged(d, j, NULL);
    for (size_t i = 0; rc == 0 && i < j->spec.n_labels; i++)
        rc = write_label(d, j->id.key, i, &j->spec.labels[i]);
    return rc;
}

/* Remembers the file of an earlier answer that the new one takes the place of. */
static int drop_earlier_file(struct sqlite *d, int64_t answer_key, const char *new_name)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_FILE);
    const char *name;
    int rc;

    row_put_int(&r, answer_key);
    rc = statement_next(&r);
    if (rc <= 0)
        return rc;
    name = (const char *)sqlite3_column_text(r.statement, 0);
    d->file_bytes_change -= sqlite3_column_int64(r.statement, 1);
    if (!name || strcmp(name, new_name) == 0)
        return 0;
    return buf_append(&d->dropped_files, name, strlen(name) + 1);
}

static int write_answer(struct sqlite *d, const struct checkpoint *c)
{
    static const struct body none;
    const struct body *b = c->body ? c->body : &none;
    int64_t key = ANSWER_KEY(c->job->id.key, c->result->step);
    struct row r;
    int rc = 0;

    if (c->job->result.status != 0)
        rc = drop_earlier_file(d, key, b->file);
    if (rc < 0)
        return rc;

    if (b->file[0])
        d->file_bytes_change += b->bytes;
    r = statement_start(d, INSERT_ANSWER);
    row_put_int(&r, key);
    row_put_blob(&r, c->result->headers.data, c->result->headers.n);
    row_put_text(&r, c->result->body_type);
    if (c->body)
        row_put_int(&r, b->bytes);
    else
        row_put_null(&r);
    row_put_int(&r, b->truncated);
    row_put_text(&r, b->file[0] ? b->file : NULL);
    row_put_blob(&r, b->data, b->data ? (size_t)b->bytes : 0);
    return statement_run(&r);
}

/* PROGRESS_COLUMNS as the checkpoint leaves them. */
static void put_progress(struct row *r, const struct checkpoint *c)
{
    const struct job_result *result = c->result ? c->result : &c->job->result;

    row_put_int(r, c->state);
    row_put_int(r, c->step);
    row_put_int(r, c->tries);
    row_put_int(r, (int64_t)(c->job->n_attempts + c->n_attempts));
    row_put_int(r, c->due_us);
    row_put_int(r, c->started_us);
    for (int i = 0; i < EVENT_MAX; i++)
        row_put_int(r, c->events.at_us[i]);
    row_put_int(r, c->error.failure);
    row_put_int(r, c->error.phase);
    row_put_int(r, c->error.retry_safe);
    row_put_text(r, c->error.message);
    row_put_int(r, result->status);
    row_put_int(r, result->step);
    row_put_int(r, result->body_bytes);
    row_put_int(r, result->truncated);
    row_put_text(r, result->body_type);
}

static int write_attempts(struct sqlite *d, const struct checkpoint *c)
{
    struct row r = statement_start(d, INSERT_ATTEMPTS);

    row_put_int(&r, c->job->id.key);
    row_put_int(&r, (int64_t)c->job->n_attempts);
    row_put_blob(&r, d->scratch.data, d->scratch.n);
    return statement_run(&r);
}

static int expect_change(struct sqlite *d, int rc)
{
    if (rc < 0)
        return rc;
    return sqlite3_changes(d->db) == 1 ? 0 : -ENOENT;
}

static int write_going_on(struct sqlite *d, const struct checkpoint *c)
{
    struct row r = statement_start(d, UPDATE_LIVE);
    int rc;

    assert(!c->page_out || !c->job->held);
    put_progress(&r, c);
    row_put_int(&r, c->crashes);
    row_put_int(&r, c->job->id.key);
    rc = expect_change(d, statement_run(&r));
    if (rc == 0 && c->page_out)
        rc = write_paged(d, c->job, c);
    if (rc == 0 && c->n_attempts > 0)
        rc = write_attempts(d, c);
    return rc;
}

static int delete_live(struct sqlite *d, int64_t key)
{
    struct row r = statement_start(d, DELETE_LIVE);

    row_put_int(&r, key);
    return expect_change(d, statement_run(&r));
}

static int write_ended(struct sqlite *d, const struct checkpoint *c)
{
    struct row r = statement_start(d, INSERT_DONE);
    int rc = delete_live(d, c->job->id.key);

    if (rc < 0)
        return rc;
    row_put_int(&r, c->job->id.key);
    if (c->job->batch.key)
        row_put_int(&r, c->job->batch.key);
    else
        row_put_null(&r);
    row_put_int(&r, c->finished_seq);
    row_put_int(&r, c->finished_us);
    row_put_blob(&r, c->n_attempts ? d->scratch.data : NULL, d->scratch.n);
    put_progress(&r, c);
    rc = statement_run(&r);
    return rc < 0 ? rc : ended_add(d, c->job->id.key);
}

/* 1: it is. Looked at first, because changing it opens all its indexes, and most are in memory. */
static int is_paged(struct sqlite *d, int64_t key)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_PAGED);

    row_put_int(&r, key);
    return statement_next(&r);
}

static int update_released(struct sqlite *d, int64_t key)
{
    struct row live = statement_start(d, UPDATE_RELEASED);
    struct row paged = statement_start(d, RELEASE_PAGED);
    int rc;

    row_put_int(&live, key);
    rc = statement_run(&live);
    if (rc == 0)
        rc = is_paged(d, key);
    if (rc <= 0)
        return rc;
    row_put_int(&paged, key);
    return statement_run(&paged);
}

int sqlite_write_checkpoint(struct sqlite *d, const struct checkpoint *c)
{
    int rc;

    assert(c->state != JOB_RUNNING);
    d->scratch.n = 0;
    rc = attempts_pack(c->attempts, c->n_attempts, &c->job->spec, &d->scratch);
    if (rc == 0 && c->job->paged_out)
        rc = sqlite_write_paged_in(d, c->job->id.key);
    if (rc == 0)
        rc = job_state_ended(c->state) ? write_ended(d, c) : write_going_on(d, c);
    if (rc == 0 && c->result)
        rc = write_answer(d, c);
    for (size_t i = 0; rc == 0 && i < c->n_release; i++)
        rc = update_released(d, c->release[i]);
    return rc;
}

int sqlite_write_in_flight(struct sqlite *d, int64_t key)
{
    struct row r = statement_start(d, UPDATE_IN_FLIGHT);

    row_put_int(&r, key);
    return statement_run(&r);
}

int sqlite_write_batch(struct sqlite *d, const struct batch *b)
{
    struct row r = statement_start(d, INSERT_BATCH);

    row_put_int(&r, b->id.key);
    row_put_int(&r, b->id.tail);
    row_put_int(&r, b->run);
    row_put_int(&r, b->on_error);
    row_put_int(&r, b->concurrency);
    row_put_int(&r, b->state);
    row_put_int(&r, b->cancelled);
    row_put_int(&r, b->total);
    row_put_int(&r, b->counts[JOB_SUCCEEDED]);
    row_put_int(&r, b->counts[JOB_FAILED]);
    row_put_int(&r, b->counts[JOB_CANCELLED]);
    row_put_int(&r, b->created_us);
    row_put_int(&r, b->finished_us);
    row_put_int(&r, b->work_us);
    row_put_int(&r, b->finished_seq);
    return statement_run(&r);
}

int sqlite_update_batch(struct sqlite *d, const struct batch *b)
{
    struct row r = statement_start(d, UPDATE_BATCH);

    row_put_int(&r, b->state);
    row_put_int(&r, b->cancelled);
    row_put_int(&r, b->counts[JOB_SUCCEEDED]);
    row_put_int(&r, b->counts[JOB_FAILED]);
    row_put_int(&r, b->counts[JOB_CANCELLED]);
    row_put_int(&r, b->finished_us);
    row_put_int(&r, b->work_us);
    row_put_int(&r, b->finished_seq);
    row_put_int(&r, b->id.key);
    return expect_change(d, statement_run(&r));
}
