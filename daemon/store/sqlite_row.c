#include "daemon/store/sqlite_row.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/store/attempts.h"

static void take_request(struct row *r, struct request_spec *q)
{
    q->url = row_take_text(r);
    q->origin = row_take_text(r);
    q->method = row_take_text(r);
    q->headers = row_take_headers(r);
    q->body_bytes = row_take_int(r);
}

static void take_expect(struct row *r, struct status_ranges *ret)
{
    const void *data = sqlite3_column_blob(r->statement, r->at);
    int n = sqlite3_column_bytes(r->statement, r->at++);

    if (!data || unpack_status_ranges(data, (size_t)n, ret) < 0)
        r->rc = -EBADMSG;
}

/* The columns of the spec, without the labels. */
static void take_spec(struct row *r, struct job_spec *s)
{
    s->name = row_take_text(r);
    take_request(r, &s->request);
    take_request(r, &s->collect);
    s->wait_us = row_take_int(r);
    s->timeout_us = row_take_int(r);
    s->deadline_us = row_take_int(r);
    s->delay_us = row_take_int(r);
    s->at_us = row_take_int(r);
    s->max_body_bytes = row_take_int(r);
    s->redirects = (unsigned)row_take_int(r);
    take_expect(r, &s->expect);
    s->attempts = (unsigned)row_take_int(r);
    s->backoff_us = row_take_int(r);
    s->max_backoff_us = row_take_int(r);
    s->priority = (int)row_take_int(r);
    s->on_unknown = (enum on_unknown)row_take_enum(r, UNKNOWN_MAX);
    s->idempotent = row_take_int(r) != 0;
    s->executor = (enum executor)row_take_enum(r, EXECUTOR_MAX);
}

static int read_labels(struct sqlite *d, int64_t key, size_t n, struct job_spec *s)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_LABELS);
    int rc;

    if (n == 0)
        return 0;
    s->labels = calloc(n, sizeof(*s->labels));
    if (!s->labels)
        return -ENOMEM;
    row_put_int(&r, key);
    while ((rc = statement_next(&r)) > 0) {
        if (s->n_labels == n)
            return -EBADMSG;
        s->labels[s->n_labels].key = row_take_text(&r);
        s->labels[s->n_labels++].value = row_take_text(&r);
        if (r.rc < 0)
            return r.rc;
    }
    return rc == 0 && s->n_labels != n ? -EBADMSG : rc;
}

/* What was asked for. */
static int read_asked(struct sqlite *d, int64_t key, bool bodies, struct job *j)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_JOB);
    unsigned n_labels;
    int rc;

    row_put_int(&r, key);
    row_put_int(&r, bodies);
    rc = statement_next(&r);
    if (rc <= 0)
        return rc < 0 ? rc : -ENOENT;
    j->id.key = row_take_int(&r);
    j->id.tail = row_take_int(&r);
    j->spec.kind = (enum job_kind)row_take_enum(&r, JOB_KIND_MAX);
    j->batch.key = row_take_int(&r);
    j->batch.tail = row_take_int(&r);
    j->index = (unsigned)row_take_int(&r);
    j->created_us = row_take_int(&r);
    take_spec(&r, &j->spec);
    n_labels = row_take_enum(&r, JOB_LABELS_MAX + 1);
    j->spec.request.body = row_take_blob(&r);
    j->spec.collect.body = row_take_blob(&r);
    return r.rc < 0 ? r.rc : read_labels(d, key, n_labels, &j->spec);
}

/* PROGRESS_COLUMNS. *ret_attempts: how many there are. */
static void take_progress(struct row *r, struct job *j, size_t *ret_attempts)
{
    j->state = (enum job_state)row_take_enum(r, JOB_RUNNING);
    j->step = (enum job_step)row_take_enum(r, STEP_MAX);
    j->tries = (unsigned)row_take_int(r);
    *ret_attempts = (size_t)row_take_int(r);
    j->due_us = row_take_int(r);
    j->started_us = row_take_int(r);
    for (int i = 0; i < EVENT_MAX; i++)
        j->events.at_us[i] = row_take_int(r);
    j->error.failure = (enum failure)row_take_enum(r, FAILURE_MAX);
    j->error.phase = (enum phase)row_take_enum(r, PHASE_MAX);
    j->error.retry_safe = row_take_int(r) != 0;
    j->error.message = row_take_text(r);
    j->result.status = (unsigned)row_take_int(r);
    j->result.step = row_take_enum(r, STEP_MAX);
    j->result.body_bytes = row_take_int(r);
    j->result.truncated = row_take_int(r) != 0;
    j->result.body_type = row_take_text(r);
}

/* Those of the checkpoints that did not end the job. */
static int read_earlier_attempts(struct sqlite *d, struct job *j)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_ATTEMPTS);
    int rc;

    row_put_int(&r, j->id.key);
    while ((rc = statement_next(&r)) > 0) {
        rc = attempts_unpack(sqlite3_column_blob(r.statement, 0),
                (size_t)sqlite3_column_bytes(r.statement, 0), &j->spec, &j->attempts,
                &j->n_attempts);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* `last` is packed and belongs to the row that says that there are `n` in all. */
static int read_attempts(
        struct sqlite *d, size_t n, const void *last, size_t last_size, struct job *j)
{
    struct attempt *of_end CLEANUP(cleanup_free) = NULL;
    size_t n_of_end = 0;
    int rc = attempts_unpack(last, last_size, &j->spec, &of_end, &n_of_end);

    if (rc == 0 && n_of_end < n)
        rc = read_earlier_attempts(d, j);
    if (rc == 0 && n_of_end > 0) {
        struct attempt *all = reallocarray(j->attempts, j->n_attempts + n_of_end, sizeof(*all));

        rc = all ? 0 : -ENOMEM;
        if (all) {
            memcpy(all + j->n_attempts, of_end, n_of_end * sizeof(*all));
            j->attempts = all;
            j->n_attempts += n_of_end;
            n_of_end = 0;
        }
    }
    for (size_t i = 0; i < n_of_end; i++)
        attempt_done(&of_end[i]);
    return rc == 0 && j->n_attempts != n ? -EBADMSG : rc;
}

/* 1: the job lives, 0: it does not. */
static int read_live(struct sqlite *d, unsigned parts, struct job *j)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_LIVE);
    size_t n_attempts;
    int rc;

    row_put_int(&r, j->id.key);
    rc = statement_next(&r);
    if (rc <= 0)
        return rc;
    j->held = row_take_int(&r) != 0;
    j->in_flight = row_take_int(&r) != 0;
    j->crashes = (unsigned)row_take_int(&r);
    j->paged_out = row_take_int(&r) != 0;
    take_progress(&r, j, &n_attempts);
    if (r.rc == 0 && parts & ROW_ATTEMPTS && n_attempts > 0)
        r.rc = read_attempts(d, n_attempts, NULL, 0, j);
    return r.rc < 0 ? r.rc : 1;
}

static int read_done(struct sqlite *d, unsigned parts, struct job *j)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_DONE);
    size_t n_attempts;
    int rc, last;

    row_put_int(&r, j->id.key);
    rc = statement_next(&r);
    if (rc <= 0)
        return rc < 0 ? rc : -EBADMSG;
    j->finished_seq = row_take_int(&r);
    j->finished_us = row_take_int(&r);
    last = r.at++;
    take_progress(&r, j, &n_attempts);
    if (r.rc == 0 && parts & ROW_ATTEMPTS && n_attempts > 0)
        r.rc = read_attempts(d, n_attempts, sqlite3_column_blob(r.statement, last),
                (size_t)sqlite3_column_bytes(r.statement, last), j);
    return r.rc;
}

static int read_result_headers(struct sqlite *d, struct job *j)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_ANSWER_HEADERS);
    int rc;

    row_put_int(&r, ANSWER_KEY(j->id.key, j->result.step));
    rc = statement_next(&r);
    if (rc <= 0)
        return rc < 0 ? rc : -EBADMSG;
    j->result.headers = row_take_headers(&r);
    return r.rc;
}

int row_read_job(struct sqlite *d, int64_t key, unsigned parts, struct job **ret)
{
    struct job_spec spec = { 0 };
    struct job *j CLEANUP(cleanup_job) = job_new(&spec);
    int rc;

    if (!j)
        return -ENOMEM;
    rc = read_asked(d, key, parts & ROW_REQUEST_BODIES, j);
    if (rc == 0)
        rc = read_live(d, parts, j);
    if (rc == 0) {
        blob_done(&j->spec.request.body);
        blob_done(&j->spec.collect.body);
        rc = read_done(d, parts, j);
    }
    if (rc >= 0 && parts & ROW_RESULT_HEADERS && j->result.status != 0)
        rc = read_result_headers(d, j);
    if (rc < 0)
        return rc;
    *ret = TAKE_PTR(j);
    return 0;
}

/* Those that retention removed. */
static int recount_removed(struct sqlite *d, struct batch *b)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_REMOVED);
    int rc;

    row_put_int(&r, b->id.key);
    rc = statement_next(&r);
    if (rc <= 0)
        return rc;
    b->counts[JOB_SUCCEEDED] += (unsigned)row_take_int(&r);
    b->counts[JOB_FAILED] += (unsigned)row_take_int(&r);
    b->counts[JOB_CANCELLED] += (unsigned)row_take_int(&r);
    b->work_us += row_take_int(&r);
    return 0;
}

/* The jobs' rows are the truth; what the batch's own row says was so when it was last written. */
static int recount_batch(struct sqlite *d, struct batch *b)
{
    struct row live CLEANUP_ROW = statement_start(d, COUNT_LIVE);
    struct row done CLEANUP_ROW = statement_start(d, COUNT_DONE);
    int64_t finished_us, finished_seq;
    int rc;

    row_put_int(&live, b->id.key);
    rc = statement_next(&live);
    if (rc <= 0)
        return rc;
    b->counts[JOB_PENDING] = (unsigned)row_take_int(&live);
    b->counts[JOB_WAITING] = (unsigned)row_take_int(&live);
    b->n_held = (unsigned)row_take_int(&live);

    row_put_int(&done, b->id.key);
    rc = statement_next(&done);
    if (rc <= 0)
        return rc;
    b->counts[JOB_SUCCEEDED] = (unsigned)row_take_int(&done);
    b->counts[JOB_FAILED] = (unsigned)row_take_int(&done);
    b->counts[JOB_CANCELLED] = (unsigned)row_take_int(&done);
    finished_us = row_take_int(&done);
    finished_seq = row_take_int(&done);
    b->work_us = row_take_int(&done);
    if (b->finished_us < finished_us)
        b->finished_us = finished_us;
    if (b->finished_seq < finished_seq)
        b->finished_seq = finished_seq;
    return recount_removed(d, b);
}

int row_take_batch(struct row *r, bool recount, struct batch *ret)
{
    struct batch b = { 0 };
    unsigned ended;
    int rc = 0;

    r->at = 0;
    r->rc = 0;
    b.id.key = row_take_int(r);
    b.id.tail = row_take_int(r);
    b.run = (enum batch_run)row_take_enum(r, BATCH_RUN_MAX);
    b.on_error = (enum batch_on_error)row_take_enum(r, ON_ERROR_MAX);
    b.concurrency = (unsigned)row_take_int(r);
    b.state = (enum batch_state)row_take_enum(r, BATCH_STATE_MAX);
    b.cancelled = row_take_int(r) != 0;
    b.total = (unsigned)row_take_int(r);
    b.counts[JOB_SUCCEEDED] = (unsigned)row_take_int(r);
    b.counts[JOB_FAILED] = (unsigned)row_take_int(r);
    b.counts[JOB_CANCELLED] = (unsigned)row_take_int(r);
    b.created_us = row_take_int(r);
    b.finished_us = row_take_int(r);
    b.work_us = row_take_int(r);
    b.finished_seq = row_take_int(r);
    if (r->rc < 0)
        return r->rc;

    ended = b.counts[JOB_SUCCEEDED] + b.counts[JOB_FAILED] + b.counts[JOB_CANCELLED];
    b.counts[JOB_PENDING] = b.total > ended ? b.total - ended : 0;
    if (recount && b.state == BATCH_RUNNING)
        rc = recount_batch(r->driver, &b);
    if (rc < 0)
        return rc;
    *ret = b;
    return 0;
}
