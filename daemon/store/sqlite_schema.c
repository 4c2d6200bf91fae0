#include "daemon/store/sqlite_schema.h"

#include <errno.h>
#include <stdio.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/failpoint.h"
#include "daemon/model/job.h"
#include "daemon/store/sqlite_statement.h"

/* "baed": tells our file from another program's. */
#define SCHEMA_APPLICATION_ID 0x62616564

/*
 * job      what was asked for; written once
 * live     how a job that has not ended stands; small, changes, and goes when the job ends
 * paged    which of these are not in memory, and when they are to come back
 * done     how it ended; written once
 * ended    the keys of `done` in the order of their end, 16 hexadecimal digits for each: a row for
 *          each transaction that ended jobs. What retention takes goes from its beginning
 * attempt  what a checkpoint that did not end the job tried; the last one's are in `done`
 * answer   what the exchange of a step brought, in the order in which it did; its key is the job's
 *          << 3 | step
 * idempotency  the keys of clients, each with the job or batch that it stands for; may outlive that
 * meta     numbers of the store as a whole: clock_offset (microseconds)
 *
 * A key is uuid7.key, so rows go to the right end of their tree, and a job that ended has its rows
 * in no index unless it is in a batch. Rows are added and removed rather than changed: an UPDATE of
 * one wide row and an index on its state cost a third more than all of this.
 *
 * paged has the jobs of `live` that are not in memory, and what finds them: the lane is
 * job_lane_key() of the step that is next, held and due_us are those of `live`, ends_us is
 * job_ends_us(), at_us is the job's until it has begun; 0: none. It is a table of its own because
 * each index of `live` would cost a job that stays in memory, too: as much as a row, for opening it.
 *
 * The steps of the migration: 2 adds executors; 3 adds paging, idempotency and meta, and makes each
 * job that has not ended one that is paged out; 4 adds what retention needs; 5 has the answers in the
 * order of their coming; 6 lists the ended jobs by transaction.
 */
#define SCHEMA_PROGRESS                         \
    " state INTEGER NOT NULL,"                  \
    " step INTEGER NOT NULL,"                   \
    " tries INTEGER NOT NULL DEFAULT 0,"        \
    " attempts INTEGER NOT NULL DEFAULT 0,"     \
    " due_us INTEGER NOT NULL,"                 \
    " started_us INTEGER NOT NULL DEFAULT 0,"   \
    " delivered_us INTEGER NOT NULL DEFAULT 0," \
    " waited_us INTEGER NOT NULL DEFAULT 0,"    \
    " collected_us INTEGER NOT NULL DEFAULT 0," \
    " failure INTEGER NOT NULL DEFAULT 0,"      \
    " phase INTEGER NOT NULL DEFAULT 0,"        \
    " retry_safe INTEGER NOT NULL DEFAULT 0,"   \
    " message TEXT,"                            \
    " status INTEGER NOT NULL DEFAULT 0,"       \
    " answer_step INTEGER NOT NULL DEFAULT 0,"  \
    " body_bytes INTEGER NOT NULL DEFAULT 0,"   \
    " truncated INTEGER NOT NULL DEFAULT 0,"    \
    " body_type TEXT"

/* `bytes` is NULL where there is no body; `file` is below bodies/, instead of data. */
#define SCHEMA_ANSWER              \
    " headers BLOB,"               \
    " type TEXT,"                  \
    " bytes INTEGER,"              \
    " truncated INTEGER NOT NULL," \
    " file TEXT,"                  \
    " data BLOB"

static const char schema_1[] =
        "CREATE TABLE job("
        " key INTEGER PRIMARY KEY,"
        " tail INTEGER NOT NULL,"
        " kind INTEGER NOT NULL,"
        " batch_key INTEGER,"
        " batch_tail INTEGER,"
        " batch_index INTEGER,"
        " created_us INTEGER NOT NULL,"
        " name TEXT,"
        " url TEXT,"
        " origin TEXT,"
        " method TEXT,"
        " headers BLOB,"
        " body_bytes INTEGER NOT NULL,"
        " collect_url TEXT,"
        " collect_origin TEXT,"
        " collect_method TEXT,"
        " collect_headers BLOB,"
        " collect_body_bytes INTEGER NOT NULL,"
        " wait_us INTEGER NOT NULL,"
        " timeout_us INTEGER NOT NULL,"
        " deadline_us INTEGER NOT NULL,"
        " delay_us INTEGER NOT NULL,"
        " at_us INTEGER NOT NULL,"
        " max_body_bytes INTEGER NOT NULL,"
        " redirects INTEGER NOT NULL,"
        " expect BLOB NOT NULL,"
        " tries_max INTEGER NOT NULL,"
        " backoff_us INTEGER NOT NULL,"
        " max_backoff_us INTEGER NOT NULL,"
        " priority INTEGER NOT NULL,"
        " on_unknown INTEGER NOT NULL,"
        " idempotent INTEGER NOT NULL,"
        " labels INTEGER NOT NULL," /* how many */
        " body BLOB,"
        " collect_body BLOB"
        ") STRICT;"
        "CREATE INDEX job_batch ON job(batch_key, batch_index) WHERE batch_key IS NOT NULL;"

        "CREATE TABLE label("
        " job_key INTEGER NOT NULL,"
        " seq INTEGER NOT NULL,"
        " name TEXT NOT NULL,"
        " value TEXT NOT NULL,"
        " PRIMARY KEY(job_key, seq)"
        ") STRICT, WITHOUT ROWID;"
        "CREATE INDEX label_job ON label(name, value, job_key);"

        "CREATE TABLE live("
        " key INTEGER PRIMARY KEY,"
        " held INTEGER NOT NULL,"
        " in_flight INTEGER NOT NULL DEFAULT 0," SCHEMA_PROGRESS ") STRICT;"

        "CREATE TABLE done("
        " key INTEGER PRIMARY KEY,"
        " batch_key INTEGER,"
        " finished_seq INTEGER NOT NULL,"
        " finished_us INTEGER NOT NULL," SCHEMA_PROGRESS ","
        " last_attempts BLOB"
        ") STRICT;"
        "CREATE INDEX done_batch ON done(batch_key, finished_seq) WHERE batch_key IS NOT NULL;"

        "CREATE TABLE attempt("
        " job_key INTEGER NOT NULL,"
        " seq INTEGER NOT NULL," /* the number of the first one in data */
        " data BLOB NOT NULL,"
        " PRIMARY KEY(job_key, seq)"
        ") STRICT, WITHOUT ROWID;"

        "CREATE TABLE answer("
        " key INTEGER PRIMARY KEY," SCHEMA_ANSWER ") STRICT;"

        "CREATE TABLE batch("
        " key INTEGER PRIMARY KEY,"
        " tail INTEGER NOT NULL,"
        " run INTEGER NOT NULL,"
        " on_error INTEGER NOT NULL,"
        " concurrency INTEGER NOT NULL,"
        " state INTEGER NOT NULL,"
        " cancelled INTEGER NOT NULL,"
        " total INTEGER NOT NULL,"
        " jobs_succeeded INTEGER NOT NULL,"
        " jobs_failed INTEGER NOT NULL,"
        " jobs_cancelled INTEGER NOT NULL,"
        " created_us INTEGER NOT NULL,"
        " finished_us INTEGER NOT NULL,"
        " work_us INTEGER NOT NULL,"
        " finished_seq INTEGER NOT NULL"
        ") STRICT;"
        "CREATE INDEX batch_live ON batch(key) WHERE state < 2;";

/* Of its values 0 and 1 take no bytes, so that reading them walks over no body before them. */
static const char schema_2[] = "ALTER TABLE job ADD COLUMN executor INTEGER NOT NULL DEFAULT 0;";

/* The key of a client is as good as random: so the index of keys is narrow, and the rest is in order of age. */
static const char schema_3[] = "ALTER TABLE live ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;"

                               "CREATE TABLE paged("
                               " key INTEGER PRIMARY KEY,"
                               " lane INTEGER NOT NULL,"
                               " priority INTEGER NOT NULL,"
                               " held INTEGER NOT NULL,"
                               " due_us INTEGER NOT NULL,"
                               " ends_us INTEGER NOT NULL,"
                               " at_us INTEGER NOT NULL"
                               ") STRICT;" SCHEMA_PAGE_OUT ";" SCHEMA_PAGED_INDEXES

                               "CREATE TABLE idempotency("
                               " job_key INTEGER PRIMARY KEY," /* or of a batch */
                               " tail INTEGER NOT NULL,"
                               " key BLOB NOT NULL,"
                               " fingerprint BLOB NOT NULL"
                               ") STRICT;"
                               "CREATE UNIQUE INDEX idempotency_key ON idempotency(key);"

                               "CREATE TABLE meta("
                               " name TEXT PRIMARY KEY,"
                               " value INTEGER NOT NULL"
                               ") STRICT, WITHOUT ROWID;";

/* What retention took of a batch is counted in the batch's row. */
static const char schema_4[] =
        "CREATE INDEX done_age ON done(finished_us);"
        "ALTER TABLE batch ADD COLUMN removed_succeeded INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE batch ADD COLUMN removed_failed INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE batch ADD COLUMN removed_cancelled INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE batch ADD COLUMN removed_work_us INTEGER NOT NULL DEFAULT 0;";

/*
 * Jobs end in another order than they began in. In order of their keys the answers of a group went
 * to as many pages as it had answers, each of them split in the end and written six times: more than
 * two thirds of what was written. In order of their coming they fill a page before the next.
 */
static const char schema_5[] =
        "ALTER TABLE answer RENAME TO answer_of_4;"
        "CREATE TABLE answer("
        " id INTEGER PRIMARY KEY,"
        " key INTEGER NOT NULL," SCHEMA_ANSWER ") STRICT;"
        "INSERT INTO answer(key, headers, type, bytes, truncated, file, data)"
        " SELECT key, headers, type, bytes, truncated, file, data"
        " FROM answer_of_4 ORDER BY key;"
        "DROP TABLE answer_of_4;"
        "CREATE UNIQUE INDEX answer_key ON answer(key);";

/*
 * An index in the order of finish cost a job a twentieth of its CPU; `ended` costs it a few bytes in
 * a row that it shares. The jobs that the index knew get a row each.
 */
static const char schema_6[] =
        "CREATE TABLE ended(id INTEGER PRIMARY KEY, keys BLOB NOT NULL) STRICT;"
        "INSERT INTO ended(keys) SELECT CAST(printf('%016x', key) AS BLOB)"
        " FROM done INDEXED BY done_age ORDER BY finished_us, key;"
        "DROP INDEX done_age;";

/* Append only: the number of steps is the version, kept in user_version. */
static const char *const schema_steps[] = {
    schema_1,
    schema_2,
    schema_3,
    schema_4,
    schema_5,
    schema_6,
};

int schema_version(void)
{
    return (int)ARRAY_LEN(schema_steps);
}

int schema_number(sqlite3 *db, const char *sql, int64_t *ret)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    if (code == SQLITE_ROW)
        *ret = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return code == SQLITE_ROW ? 0 : sqlite_error(code);
}

int schema_check(sqlite3 *db, const char *path, bool *ret_new, struct error *ret_why)
{
    int64_t version = 0, id = 0, tables = 0;
    int rc = schema_number(db, "PRAGMA user_version", &version);

    if (rc == 0)
        rc = schema_number(db, "PRAGMA application_id", &id);
    if (rc == 0)
        rc = schema_number(db, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rc < 0)
        return error_set(ret_why, rc, "%s: %s", path, sqlite3_errmsg(db));
    if (tables > 0 && id != SCHEMA_APPLICATION_ID)
        return error_set(ret_why, -EBADMSG, "%s is not a database of baedal", path);
    if (version > (int64_t)ARRAY_LEN(schema_steps))
        return error_set(ret_why, -ENOTSUP,
                "%s was written by a newer version of baedal (schema %lld, this one knows %zu)",
                path, (long long)version, ARRAY_LEN(schema_steps));
    *ret_new = tables == 0;
    return 0;
}

static int schema_exec(sqlite3 *db, const char *sql)
{
    return sqlite_error(sqlite3_exec(db, sql, NULL, NULL, NULL));
}

_Static_assert(STEP_WAIT == 2 && STEP_COLLECT == 3 && JOB_PENDING == 0, "SCHEMA_PAGE_OUT");

static void schema_lane_key(sqlite3_context *context, int n, sqlite3_value **values)
{
    (void)n;
    sqlite3_result_int64(context, lane_key((const char *)sqlite3_value_text(values[0])));
}

static int schema_step(sqlite3 *db, size_t step)
{
    char version[96];
    int rc;

    snprintf(version, sizeof(version), "PRAGMA application_id=%d; PRAGMA user_version=%zu",
            SCHEMA_APPLICATION_ID, step + 1);
    rc = schema_exec(db, "BEGIN IMMEDIATE");
    if (rc == 0)
        rc = schema_exec(db, schema_steps[step]);
    if (rc == 0)
        rc = schema_exec(db, version);
    failpoint(migrate_before_commit);
    if (rc == 0)
        rc = schema_exec(db, "COMMIT");
    failpoint(migrate_after_commit);
    return rc;
}

int schema_migrate(sqlite3 *db, const char *path, struct error *ret_why)
{
    int64_t version = 0;
    bool new;
    int rc = schema_check(db, path, &new, ret_why);

    if (rc < 0)
        return rc;
    rc = schema_number(db, "PRAGMA user_version", &version);
    if (rc == 0)
        rc = sqlite_error(sqlite3_create_function(db, "lane_key", 1,
                SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, NULL, schema_lane_key, NULL,
                NULL));
    for (size_t step = (size_t)version; rc == 0 && step < ARRAY_LEN(schema_steps); step++)
        rc = schema_step(db, step);
    if (rc < 0)
        return error_set(ret_why, rc, "%s: can't bring it to schema %zu: %s", path,
                ARRAY_LEN(schema_steps), sqlite3_errmsg(db));
    return 0;
}
