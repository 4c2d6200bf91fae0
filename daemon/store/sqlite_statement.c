#include "daemon/store/sqlite_statement.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/sqlite_schema.h"

/* Each in the order in which sqlite_row.c takes them. */
#define JOB_COLUMNS                                                                                \
    "key, tail, kind, batch_key, batch_tail, batch_index, created_us, name, url, origin, method,"  \
    " headers, body_bytes, collect_url, collect_origin, collect_method, collect_headers,"          \
    " collect_body_bytes, wait_us, timeout_us, deadline_us, delay_us, at_us, max_body_bytes,"      \
    " redirects, expect, tries_max, backoff_us, max_backoff_us, priority, on_unknown, idempotent," \
    " executor, labels"

#define PROGRESS_COLUMNS                                                                       \
    "state, step, tries, attempts, due_us, started_us, delivered_us, waited_us, collected_us," \
    " failure, phase, retry_safe, message, status, answer_step, body_bytes, truncated, body_type"

#define BATCH_COLUMNS                                                                              \
    "key, tail, run, on_error, concurrency, state, cancelled, total, jobs_succeeded, jobs_failed," \
    " jobs_cancelled, created_us, finished_us, work_us, finished_seq"

/* Where the planner could walk a table instead of an index, INDEXED BY makes that an error at prepare. */
static const char *const statement_texts[STATEMENT_MAX] = {
    [BEGIN_GROUP] = "BEGIN IMMEDIATE",
    [COMMIT_GROUP] = "COMMIT",
    [ROLLBACK_GROUP] = "ROLLBACK",

    [INSERT_JOB] =
            "INSERT INTO job(" JOB_COLUMNS ", body, collect_body)"
            " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [INSERT_LABEL] = "INSERT INTO label(job_key, seq, name, value) VALUES(?,?,?,?)",
    [INSERT_LIVE] = "INSERT INTO live(key, state, step, held, due_us, started_us, delivered_us)"
                    " VALUES(?,?,?,?,?,?,?)",
    [INSERT_DONE] = "INSERT INTO done(key, batch_key, finished_seq, finished_us, last_attempts,"
                    " " PROGRESS_COLUMNS ")"
                    " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [INSERT_ENDED] = "INSERT INTO ended(keys) VALUES(?)",
    [INSERT_ATTEMPTS] = "INSERT INTO attempt(job_key, seq, data) VALUES(?,?,?)",
    [INSERT_ANSWER] = "INSERT OR REPLACE INTO answer(key, headers, type, bytes, truncated, file,"
                      " data) VALUES(?,?,?,?,?,?,?)",
    [UPDATE_LIVE] =
            "UPDATE live SET held=0, in_flight=0, state=?, step=?, tries=?, attempts=?, due_us=?,"
            " started_us=?, delivered_us=?, waited_us=?, collected_us=?, failure=?,"
            " phase=?, retry_safe=?, message=?, status=?, answer_step=?, body_bytes=?,"
            " truncated=?, body_type=?, crashes=? WHERE key=?",
    [UPDATE_IN_FLIGHT] = "UPDATE live SET in_flight=1 WHERE key=?",
    [UPDATE_RELEASED] = "UPDATE live SET held=0 WHERE key=?",
    [DELETE_LIVE] = "DELETE FROM live WHERE key=?",
    [INSERT_BATCH] = "INSERT INTO batch(" BATCH_COLUMNS ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [UPDATE_BATCH] = "UPDATE batch SET state=?, cancelled=?, jobs_succeeded=?, jobs_failed=?,"
                     " jobs_cancelled=?, finished_us=?, work_us=?, finished_seq=? WHERE key=?",
    [SHOW_BATCH] = "UPDATE batch SET state=? WHERE key=?",

    [DROP_LABELS] = "DELETE FROM label WHERE job_key IN"
                    " (SELECT key FROM job INDEXED BY job_batch WHERE batch_key=? LIMIT ?)",
    [DROP_LIVE] = "DELETE FROM live WHERE key IN"
                  " (SELECT key FROM job INDEXED BY job_batch WHERE batch_key=? LIMIT ?)",
    [DROP_JOBS] = "DELETE FROM job WHERE key IN"
                  " (SELECT key FROM job INDEXED BY job_batch WHERE batch_key=? LIMIT ?)",
    [DELETE_BATCH] = "DELETE FROM batch WHERE key=?",

    [SELECT_JOB] = "SELECT " JOB_COLUMNS ", CASE WHEN ?2 THEN body END,"
                   " CASE WHEN ?2 THEN collect_body END FROM job WHERE key=?1",
    [SELECT_HEAD] = "SELECT tail, kind, batch_key, batch_tail FROM job WHERE key=?",
    [SELECT_LIVE] = "SELECT held, in_flight, crashes,"
                    " EXISTS(SELECT 1 FROM paged WHERE paged.key=live.key), " PROGRESS_COLUMNS
                    " FROM live WHERE key=?",
    [SELECT_DONE] = "SELECT finished_seq, finished_us, last_attempts, " PROGRESS_COLUMNS
                    " FROM done WHERE key=?",
    [SELECT_STATE] = "SELECT state FROM live WHERE key=?1"
                     " UNION ALL SELECT state FROM done WHERE key=?1",
    [SELECT_RESULT_STEP] = "SELECT status, answer_step FROM live WHERE key=?1"
                           " UNION ALL SELECT status, answer_step FROM done WHERE key=?1",
    [SELECT_LABELS] = "SELECT name, value FROM label WHERE job_key=? ORDER BY seq",
    [SELECT_LABEL] = "SELECT 1 FROM label INDEXED BY label_job"
                     " WHERE name=? AND value=? AND job_key=?",
    [SELECT_LANE] = "SELECT 1 FROM job WHERE key=? AND ? IN (origin, collect_origin)",
    [SELECT_ATTEMPTS] = "SELECT data FROM attempt WHERE job_key=? ORDER BY seq",
    [SELECT_ANSWER_HEADERS] = "SELECT headers FROM answer INDEXED BY answer_key WHERE key=?",
    [SELECT_BODY] = "SELECT type, bytes, truncated, file, data FROM answer INDEXED BY answer_key"
                    " WHERE key=? AND bytes IS NOT NULL",
    [SELECT_FILE] =
            "SELECT file, bytes FROM answer INDEXED BY answer_key WHERE key=? AND file IS NOT NULL",
    [FIND_FILE] = "SELECT 1 FROM answer INDEXED BY answer_key WHERE key BETWEEN ? AND ? AND file=?",

    /* A job's key, and its place in the list. */
    [LIST_JOBS] = "SELECT key, key FROM job WHERE key<? ORDER BY key DESC",
    [LIST_LIVE_JOBS] = "SELECT key, key FROM live WHERE key<? ORDER BY key DESC",
    [LIST_DONE_JOBS] = "SELECT key, key FROM done WHERE key<? ORDER BY key DESC",
    [LIST_LABEL] = "SELECT job_key, job_key FROM label INDEXED BY label_job"
                   " WHERE name=? AND value=? AND job_key<? ORDER BY job_key DESC",
    [LIST_BATCH] = "SELECT key, batch_index FROM job INDEXED BY job_batch"
                   " WHERE batch_key=? AND batch_index>=? ORDER BY batch_index",
    [LIST_FINISHED] = "SELECT key, finished_seq FROM done INDEXED BY done_batch"
                      " WHERE batch_key=? AND finished_seq>? ORDER BY finished_seq",

    [SELECT_BATCH] = "SELECT " BATCH_COLUMNS " FROM batch WHERE key=? AND tail=?",
    [LIST_BATCHES] = "SELECT " BATCH_COLUMNS " FROM batch WHERE key<? ORDER BY key DESC",
    [LIST_BATCHES_RUNNING] = "SELECT " BATCH_COLUMNS " FROM batch INDEXED BY batch_live"
                             " WHERE state<2 AND key<? ORDER BY key DESC",
    [COUNT_LIVE] = "SELECT sum(state=0), sum(state=1), sum(held) FROM job INDEXED BY job_batch"
                   " CROSS JOIN live ON live.key=job.key WHERE batch_key=?",
    [COUNT_DONE] = "SELECT sum(state=2), sum(state=3), sum(state=4), max(finished_us),"
                   " max(finished_seq),"
                   " sum(CASE WHEN started_us>0 THEN finished_us-started_us ELSE 0 END)"
                   " FROM done INDEXED BY done_batch WHERE batch_key=?",

    /* A job's key, and what the page is ordered by. */
    [PAGE_CLASS] = "SELECT key, due_us FROM paged INDEXED BY paged_lane"
                   " WHERE held=0 AND lane=? AND priority=? ORDER BY due_us, key",
    [PAGE_ENDS] = "SELECT key, ends_us FROM paged INDEXED BY paged_ends"
                  " WHERE ends_us>0 ORDER BY ends_us, key",
    [PAGE_BATCH] = "SELECT job.key, job.batch_index FROM job INDEXED BY job_batch"
                   " CROSS JOIN paged ON paged.key=job.key"
                   " WHERE job.batch_key=? AND job.batch_index>=? AND paged.held>=?"
                   " ORDER BY job.batch_index",
    [INSERT_PAGED] = "INSERT INTO paged(key, lane, priority, held, due_us, ends_us, at_us)"
                     " VALUES(?,?,?,?,?,?,?)",
    [DELETE_PAGED] = "DELETE FROM paged WHERE key=?",
    [SELECT_PAGED] = "SELECT 1 FROM paged WHERE key=?",
    [RELEASE_PAGED] = "UPDATE paged SET held=0 WHERE key=?",
    [DROP_PAGED] = "DELETE FROM paged WHERE key IN"
                   " (SELECT key FROM job INDEXED BY job_batch WHERE batch_key=? LIMIT ?)",

    [PAGE_OUT_REST] = SCHEMA_PAGE_OUT " WHERE live.key NOT IN (SELECT key FROM paged)",
    [SHIFT_JOBS] = "UPDATE job SET created_us=created_us+?"
                   " WHERE deadline_us>0 AND key IN (SELECT key FROM live)",
    /* One that has not begun and has an `at`, which is wall clock time, is due then. */
    [SHIFT_LIVE] = "UPDATE live SET due_us=coalesce((SELECT at_us FROM job"
                   " WHERE job.key=live.key AND at_us>0 AND live.state=0),"
                   " CASE WHEN due_us>0 THEN due_us+? ELSE 0 END)",
    [REDATE_LIVE] = "UPDATE live SET due_us=(SELECT at_us-?1 FROM paged WHERE paged.key=live.key)"
                    " WHERE key IN (SELECT key FROM paged WHERE key>?2 AND key<=?3"
                    " AND at_us>0 AND due_us<>at_us-?1)",
    [REDATE_PAGED] = "UPDATE paged SET due_us=at_us-?1 WHERE key>?2 AND key<=?3"
                     " AND at_us>0 AND due_us<>at_us-?1",
    [REDATE_END] = "SELECT count(*), max(key) FROM"
                   " (SELECT key FROM paged WHERE key>? ORDER BY key LIMIT ?)",
    [COUNT_ALL_LIVE] = "SELECT count(*) FROM live",
    [LIST_FLYING] = "SELECT live.key, job.tail FROM live"
                    " CROSS JOIN job ON job.key=live.key WHERE live.in_flight=1",
    [LIST_CLASSES] = "SELECT lane, priority, min(due_us) FROM paged INDEXED BY paged_lane"
                     " WHERE held=0 GROUP BY lane, priority",
    [FIRST_END] = "SELECT ends_us FROM paged INDEXED BY paged_ends"
                  " WHERE ends_us>0 ORDER BY ends_us LIMIT 1",
    [SELECT_META] = "SELECT value FROM meta WHERE name=?",
    [SET_META] = "INSERT OR REPLACE INTO meta(name, value) VALUES(?,?)",
    [LIST_BATCH_IDS] = "SELECT key, tail, batch_index FROM job INDEXED BY job_batch"
                       " WHERE batch_key=? AND batch_index>=? ORDER BY batch_index LIMIT ?",

    [FIND_KEY] = "SELECT job_key, tail, fingerprint FROM idempotency INDEXED BY idempotency_key"
                 " WHERE key=?",
    [INSERT_KEY] = "INSERT INTO idempotency(job_key, tail, key, fingerprint) VALUES(?,?,?,?)",
    [DELETE_KEY] = "DELETE FROM idempotency WHERE job_key=?",
    [FORGET_KEYS] = "DELETE FROM idempotency WHERE job_key IN"
                    " (SELECT job_key FROM idempotency WHERE job_key<? ORDER BY job_key LIMIT ?)",
    [SELECT_REMOVED] = "SELECT removed_succeeded, removed_failed, removed_cancelled,"
                       " removed_work_us FROM batch WHERE key=?",

    /* length() of a blob reads none of it. */
    [COUNT_ENDED] = "SELECT coalesce(sum(length(keys)), 0)/16 FROM ended",
    [PAGE_COUNT] = "PRAGMA page_count",
    [PAGE_SIZE] = "PRAGMA page_size",
    [FREE_COUNT] = "PRAGMA freelist_count",
    [GIVE_PAGES_BACK] = "PRAGMA incremental_vacuum(64)",
    [NEXT_ENDED] = "SELECT id, keys FROM ended WHERE id>? ORDER BY id LIMIT 1",
    [UPDATE_ENDED] = "UPDATE ended SET keys=? WHERE id=?",
    [DELETE_ENDED] = "DELETE FROM ended WHERE id=?",
    [SELECT_ENDED] = "SELECT finished_us, state, started_us, done.batch_key, tail"
                     " FROM done CROSS JOIN job ON job.key=done.key WHERE done.key=?",
    [LIST_FILES] = "SELECT file, bytes FROM answer INDEXED BY answer_key"
                   " WHERE key BETWEEN ? AND ? AND file IS NOT NULL",
    [FIND_OTHER_MEMBER] = "SELECT 1 FROM job INDEXED BY job_batch WHERE batch_key=? AND key<>?"
                          " LIMIT 1",
    [NOTE_REMOVED] = "UPDATE batch SET removed_succeeded=removed_succeeded+?1,"
                     " removed_failed=removed_failed+?2, removed_cancelled=removed_cancelled+?3,"
                     " removed_work_us=removed_work_us+?4, finished_us=max(finished_us, ?5),"
                     " finished_seq=max(finished_seq,"
                     " (SELECT finished_seq FROM done WHERE done.key=?6))"
                     " WHERE key=?7",
    [DELETE_ENDED_BATCH] = "DELETE FROM batch WHERE key=? AND state>=2",
    [DELETE_ANSWERS] = "DELETE FROM answer INDEXED BY answer_key WHERE key BETWEEN ? AND ?",
    [DELETE_ATTEMPTS] = "DELETE FROM attempt WHERE job_key=?",
    [DELETE_LABELS] = "DELETE FROM label WHERE job_key=?",
    [DELETE_DONE] = "DELETE FROM done WHERE key=?",
    [DELETE_JOB] = "DELETE FROM job WHERE key=?",
};

int sqlite_error(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_CONSTRAINT:
        return -EEXIST;
    case SQLITE_TOOBIG:
        return -E2BIG;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EBADMSG;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        return -EACCES;
    case SQLITE_IOERR:
        if (code == SQLITE_IOERR_NOMEM)
            return -ENOMEM;
        /* A quota or a size limit is no broken disk; after a failed fsync nothing is known. */
        if (code == SQLITE_IOERR_WRITE && (errno == EDQUOT || errno == EFBIG))
            return -ENOSPC;
        return -EIO;
    }
    return -EIO;
}

int statement_prepare_all(struct sqlite *d)
{
    for (int i = 0; i < STATEMENT_MAX; i++) {
        int code = sqlite3_prepare_v3(
                d->db, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT, &d->statements[i], NULL);

        if (code != SQLITE_OK)
            return sqlite_error(code);
    }
    return 0;
}

void statement_finalize_all(struct sqlite *d)
{
    for (int i = 0; i < STATEMENT_MAX; i++) {
        sqlite3_finalize(d->statements[i]);
        d->statements[i] = NULL;
    }
}

struct row statement_start(struct sqlite *d, enum statement which)
{
    return (struct row){ .driver = d, .statement = d->statements[which] };
}

int statement_run(struct row *r)
{
    int code, rc;

    assert(r->at == sqlite3_bind_parameter_count(r->statement));
    code = sqlite3_step(r->statement);
    rc = code == SQLITE_DONE ? 0 : sqlite_error(code);
    sqlite3_reset(r->statement);
    return rc;
}

int statement_next(struct row *r)
{
    int code = sqlite3_step(r->statement);

    r->at = 0;
    if (code == SQLITE_ROW)
        return 1;
    return code == SQLITE_DONE ? 0 : sqlite_error(code);
}

void row_done(struct row *r)
{
    if (r->statement)
        sqlite3_reset(r->statement);
}

void row_put_text(struct row *r, const char *text)
{
    sqlite3_bind_text(r->statement, ++r->at, text, -1, SQLITE_STATIC);
}

void row_put_blob(struct row *r, const void *data, size_t n)
{
    sqlite3_bind_blob64(r->statement, ++r->at, data, n, SQLITE_STATIC);
}

unsigned row_take_enum(struct row *r, unsigned max)
{
    int64_t value = row_take_int(r);

    if (value >= 0 && value < max)
        return (unsigned)value;
    r->rc = -EBADMSG;
    return 0;
}

char *row_take_text(struct row *r)
{
    const void *text = sqlite3_column_text(r->statement, r->at);
    int n = sqlite3_column_bytes(r->statement, r->at++);
    char *copy;

    if (!text)
        return NULL;
    copy = malloc((size_t)n + 1);
    if (!copy) {
        r->rc = -ENOMEM;
        return NULL;
    }
    memcpy(copy, text, (size_t)n + 1);
    return copy;
}

struct blob row_take_blob(struct row *r)
{
    const void *data = sqlite3_column_blob(r->statement, r->at);
    int n = sqlite3_column_bytes(r->statement, r->at++);
    struct blob b = { 0 };

    if (n > 0 && (!data || blob_copy(data, (size_t)n, &b) < 0))
        r->rc = -ENOMEM;
    return b;
}

struct blob row_take_headers(struct row *r)
{
    struct blob b = row_take_blob(r);

    if (pack_headers_check(&b) < 0)
        r->rc = -EBADMSG;
    return b;
}
