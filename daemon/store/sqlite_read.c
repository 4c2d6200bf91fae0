#include "daemon/store/sqlite_read.h"

#include <errno.h>
#include <string.h>

#include "daemon/store/sqlite_loading.h"
#include "daemon/store/sqlite_row.h"
#include "daemon/store/sqlite_statement.h"

/* 0 when there is such a job that may be seen; -ENOENT. */
static int read_check(struct sqlite *d, struct uuid7 id)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_HEAD);
    int rc;

    row_put_int(&r, id.key);
    rc = statement_next(&r);
    if (rc < 0)
        return rc;
    if (rc == 0 || sqlite3_column_int64(r.statement, HEAD_TAIL) != id.tail ||
            loading_hides(d, sqlite3_column_int64(r.statement, HEAD_BATCH_KEY)))
        return -ENOENT;
    return 0;
}

int sqlite_read_job(struct sqlite *d, struct uuid7 id, struct job **ret)
{
    int rc = read_check(d, id);

    return rc < 0 ? rc : row_read_job(d, id.key, ROW_FULL | ROW_REQUEST_BODIES, ret);
}

static int read_answer_body(struct sqlite *d, int64_t answer_key, struct store_body *ret)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_BODY);
    struct store_body b = { 0 };
    const char *file;
    struct blob data;
    int rc;

    row_put_int(&r, answer_key);
    rc = statement_next(&r);
    if (rc <= 0)
        return rc < 0 ? rc : -ENOENT;
    b.type = row_take_text(&r);
    b.body.bytes = row_take_int(&r);
    b.body.truncated = row_take_int(&r) != 0;
    file = (const char *)sqlite3_column_text(r.statement, r.at++);
    if (file && strlen(file) < sizeof(b.body.file))
        strcpy(b.body.file, file);
    else if (file)
        r.rc = -EBADMSG;
    data = row_take_blob(&r);
    b.body.data = data.data;
    if (r.rc == 0 && !file && (int64_t)data.n != b.body.bytes)
        r.rc = -EBADMSG;
    if (r.rc < 0) {
        store_body_done(&b);
        return r.rc;
    }
    *ret = b;
    return 0;
}

/* Of the answer that is the job's result. */
static int read_result_step(struct sqlite *d, int64_t key, unsigned *ret_step)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_RESULT_STEP);
    unsigned status, step;
    int rc;

    row_put_int(&r, key);
    rc = statement_next(&r);
    if (rc <= 0)
        return rc < 0 ? rc : -ENOENT;
    status = row_take_enum(&r, UINT32_MAX);
    step = row_take_enum(&r, STEP_MAX);
    if (r.rc < 0 || status == 0)
        return r.rc < 0 ? r.rc : -ENOENT;
    *ret_step = step;
    return 0;
}

int sqlite_read_body(struct sqlite *d, struct uuid7 id, enum job_step step, struct store_body *ret)
{
    unsigned which = step;
    int rc = read_check(d, id);

    if (rc == 0 && step == STEP_MAX)
        rc = read_result_step(d, id.key, &which);
    return rc < 0 ? rc : read_answer_body(d, ANSWER_KEY(id.key, which), ret);
}

int sqlite_read_batch(struct sqlite *d, struct uuid7 id, struct batch *ret)
{
    struct row r CLEANUP_ROW = statement_start(d, SELECT_BATCH);
    int rc;

    row_put_int(&r, id.key);
    row_put_int(&r, id.tail);
    rc = statement_next(&r);
    if (rc < 0)
        return rc;
    if (rc == 0 || loading_hides(d, id.key))
        return -ENOENT;
    return row_take_batch(&r, true, ret);
}
