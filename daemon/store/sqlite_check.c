/*
 * The file is opened for reading by a VFS without locks (the state directory's lock is ours), in
 * exclusive mode, so that the index of the log is in memory and no -shm file comes into being; and
 * without the checkpoint that the last connection makes when it closes. Where there is no log the
 * file is immutable for SQLite, which would make an empty log otherwise.
 */
#include "daemon/store/sqlite_check.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/base/buf.h"
#include "daemon/base/cleanup.h"
#include "daemon/store/sqlite_ended.h"
#include "daemon/store/sqlite_schema.h"
#include "daemon/store/sqlite_statement.h"

void check_fault(struct check *c, const char *format, ...)
{
    va_list args;

    if (c->faults++ >= CHECK_LINES_MAX)
        return;
    va_start(args, format);
    vfprintf(c->out, format, args);
    va_end(args);
    fputc('\n', c->out);
}

/* Each gives a line of text for each row that breaks a rule of the schema. */
static const char *const check_rules[] = {
    "SELECT printf('job %d: neither live nor ended', key) FROM job"
    " WHERE NOT EXISTS (SELECT 1 FROM live WHERE live.key=job.key)"
    " AND NOT EXISTS (SELECT 1 FROM done WHERE done.key=job.key)",
    "SELECT printf('job %d: both live and ended', live.key) FROM live JOIN done USING(key)",
    "SELECT printf('job %d: live, but there is no such job', key) FROM live"
    " WHERE NOT EXISTS (SELECT 1 FROM job WHERE job.key=live.key)",
    "SELECT printf('job %d: ended, but there is no such job', key) FROM done"
    " WHERE NOT EXISTS (SELECT 1 FROM job WHERE job.key=done.key)",
    "SELECT printf('job %d: paged out, but not live', key) FROM paged"
    " WHERE NOT EXISTS (SELECT 1 FROM live WHERE live.key=paged.key)",
    "SELECT printf('label %s of job %d: there is no such job', name, job_key) FROM label"
    " WHERE NOT EXISTS (SELECT 1 FROM job WHERE job.key=job_key)",
    "SELECT printf('attempts of job %d: there is no such job', job_key) FROM attempt"
    " WHERE NOT EXISTS (SELECT 1 FROM job WHERE job.key=job_key)",
    "SELECT printf('answer %d of job %d: there is no such job', key & 7, key >> 3) FROM answer"
    " WHERE NOT EXISTS (SELECT 1 FROM job WHERE job.key=answer.key >> 3)",
    "SELECT printf('job %d: has %d labels, not %d', key, n, labels) FROM (SELECT key, labels,"
    " (SELECT count(*) FROM label WHERE job_key=key) AS n FROM job"
    " WHERE batch_key IS NULL OR NOT EXISTS"
    "  (SELECT 1 FROM batch WHERE batch.key=batch_key AND state=0)) WHERE n<>labels",
    "SELECT printf('job %d: has a kind, an executor or the like that does not exist', key) FROM job"
    " WHERE kind NOT IN (0, 1) OR on_unknown NOT IN (0, 1) OR executor NOT BETWEEN 0 AND 2"
    " OR idempotent NOT IN (0, 1)",
    "SELECT printf('job %d: live with state %d and step %d', key, state, step) FROM live"
    " WHERE state NOT IN (0, 1) OR step NOT BETWEEN 0 AND 3 OR held NOT IN (0, 1)"
    " OR in_flight NOT IN (0, 1)",
    "SELECT printf('job %d: paged out, but not live', key) FROM paged"
    " WHERE NOT EXISTS (SELECT 1 FROM live WHERE live.key=paged.key)",
    "SELECT printf('job %d: paged out otherwise than it is', key) FROM paged JOIN live USING(key)"
    " WHERE paged.held<>live.held OR paged.due_us<>live.due_us",
    "SELECT printf('job %d: ended with state %d and step %d', key, state, step) FROM done"
    " WHERE state NOT BETWEEN 2 AND 4 OR step NOT BETWEEN 0 AND 3",
    "SELECT printf('job %d: its batch %d does not exist', key, batch_key) FROM job"
    " WHERE batch_key IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.key=batch_key)",
    "SELECT printf('job %d: ended in batch %d, but is of batch %d', done.key, done.batch_key,"
    " job.batch_key) FROM done JOIN job USING(key) WHERE done.batch_key IS NOT job.batch_key",
    "SELECT printf('job %d: held, but no batch that runs has it', live.key)"
    " FROM live JOIN job USING(key) LEFT JOIN batch ON batch.key=job.batch_key"
    " WHERE held AND batch.state IS NOT 0 AND batch.state IS NOT 1",
    "SELECT printf('job %d: of the ended batch %d, but has not ended', live.key, batch.key)"
    " FROM live JOIN job USING(key) JOIN batch ON batch.key=job.batch_key WHERE batch.state>=2",
    "SELECT printf('job %d: its answer of step %d is missing', key, answer_step) FROM"
    " (SELECT key, status, answer_step FROM live UNION ALL SELECT key, status, answer_step"
    " FROM done) AS j WHERE status<>0"
    " AND NOT EXISTS (SELECT 1 FROM answer WHERE answer.key=(j.key << 3 | answer_step))",
    "SELECT printf('answer %d of job %d: %d bytes of body, not %d', key & 7, key >> 3,"
    " length(data), bytes) FROM answer"
    " WHERE data IS NOT NULL AND file IS NULL AND length(data) IS NOT bytes",
    "SELECT printf('batch %d: has a state, a run or the like that does not exist', key) FROM batch"
    " WHERE state NOT BETWEEN 0 AND 4 OR run NOT IN (0, 1) OR on_error NOT IN (0, 1)",
    /* Jobs that retention removed are counted in the batch's row. */
    "SELECT printf('batch %d: has %d of %d jobs', key, n, total) FROM (SELECT key, total,"
    " removed_succeeded+removed_failed+removed_cancelled"
    " +(SELECT count(*) FROM job WHERE batch_key=batch.key) AS n"
    " FROM batch WHERE state>=1) WHERE n<>total",
    "SELECT printf('batch %d: says that of its jobs %d succeeded, %d failed, %d were cancelled; it is"
    " %d, %d, %d', key, jobs_succeeded, jobs_failed, jobs_cancelled, s, f, c) FROM"
    " (SELECT key, jobs_succeeded, jobs_failed, jobs_cancelled,"
    " removed_succeeded+(SELECT count(*) FROM done WHERE batch_key=batch.key AND state=2) AS s,"
    " removed_failed+(SELECT count(*) FROM done WHERE batch_key=batch.key AND state=3) AS f,"
    " removed_cancelled+(SELECT count(*) FROM done WHERE batch_key=batch.key AND state=4) AS c"
    " FROM batch WHERE state>=2)"
    " WHERE jobs_succeeded<>s OR jobs_failed<>f OR jobs_cancelled<>c",
    "SELECT printf('batch %d: two jobs finished as number %d', batch_key, finished_seq) FROM done"
    " WHERE batch_key IS NOT NULL GROUP BY batch_key, finished_seq HAVING count(*)>1",
};

/* What is no plain letter of a path is escaped. */
static int check_uri(const char *path, bool log, struct buf *uri)
{
    int rc = buf_append_str(uri, "file:");

    for (const char *c = path; rc == 0 && *c; c++)
        rc = isalnum((unsigned char)*c) || strchr("/._-", *c)
                     ? buf_append(uri, c, 1)
                     : buf_printf(uri, "%%%02x", (unsigned char)*c);
    if (rc == 0)
        rc = buf_append_str(uri, log ? "?" : "?immutable=1");
    return rc == 0 ? buf_append(uri, "", 1) : rc;
}

static int check_open(const char *path, sqlite3 **ret)
{
    char *log CLEANUP(cleanup_free) = NULL;
    struct buf uri CLEANUP(buf_done) = { 0 };
    struct stat file;
    int rc;

    if (asprintf(&log, "%s-wal", path) < 0) {
        log = NULL;
        return -ENOMEM;
    }
    rc = check_uri(path, stat(log, &file) == 0 && file.st_size > 0, &uri);
    if (rc == 0)
        rc = sqlite_error(sqlite3_open_v2(uri.data, ret,
                SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX |
                        SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE,
                "unix-none"));
    if (rc < 0)
        return rc;
    sqlite3_db_config(*ret, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(*ret, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return sqlite_error(sqlite3_exec(*ret,
            "PRAGMA locking_mode=EXCLUSIVE;"
            "PRAGMA query_only=ON;"
            "PRAGMA cell_size_check=ON;"
            "PRAGMA mmap_size=0;"
            "PRAGMA temp_store=MEMORY;"
            "PRAGMA cache_size=-65536;",
            NULL, NULL, NULL));
}

/* Each row's text is a fault, but for `fine`. */
static int check_texts(struct check *c, sqlite3 *db, const char *sql, const char *fine)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(st);
        if (code != SQLITE_ROW)
            break;
        const char *text = (const char *)sqlite3_column_text(st, 0);

        if (text && (!fine || strcmp(text, fine) != 0))
            check_fault(c, "%s", text);
    }
    sqlite3_finalize(st);
    return code == SQLITE_DONE ? 0 : sqlite_error(code);
}

static void check_file(
        struct check *c, int bodies_fd, int64_t answer_key, const char *name, int64_t bytes)
{
    struct stat file;

    if (!name || !*name || strchr(name, '/'))
        check_fault(c, "answer %lld of job %lld: not the name of a body file",
                (long long)(answer_key & (ANSWER_STEPS_MAX - 1)), (long long)(answer_key >> 3));
    else if (bodies_fd < 0 || fstatat(bodies_fd, name, &file, AT_SYMLINK_NOFOLLOW) < 0)
        check_fault(c, "bodies/%s: %s", name, bodies_fd < 0 ? strerror(ENOENT) : strerror(errno));
    else if (!S_ISREG(file.st_mode) || file.st_size != bytes)
        check_fault(c, "bodies/%s: %lld bytes, not %lld", name, (long long)file.st_size,
                (long long)bytes);
}

static int check_files(struct check *c, sqlite3 *db, int bodies_fd)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(
            db, "SELECT key, file, bytes FROM answer WHERE file IS NOT NULL", -1, &st, NULL);

    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(st);
        if (code != SQLITE_ROW)
            break;
        c->files++;
        check_file(c, bodies_fd, sqlite3_column_int64(st, 0),
                (const char *)sqlite3_column_text(st, 1), sqlite3_column_int64(st, 2));
    }
    sqlite3_finalize(st);
    return code == SQLITE_DONE ? 0 : sqlite_error(code);
}

static int check_listed_row(struct check *c, sqlite3_stmt *st, struct buf *ret_keys)
{
    const char *digits = sqlite3_column_blob(st, 1);
    int rc = 0, n = sqlite3_column_bytes(st, 1);
    bool sound = digits && n % ENDED_DIGITS == 0;

    for (int at = 0; rc == 0 && sound && at < n; at += ENDED_DIGITS) {
        int64_t key = 0;

        sound = ended_parse(digits + at, &key) == 0;
        if (sound)
            rc = buf_append(ret_keys, &key, sizeof(key));
    }
    if (!sound)
        check_fault(c, "row %lld of the ended jobs: no list of keys",
                (long long)sqlite3_column_int64(st, 0));
    return rc;
}

static int check_listed(struct check *c, sqlite3 *db, struct buf *ret_keys)
{
    sqlite3_stmt *st = NULL;
    int rc = 0, code = sqlite3_prepare_v2(db, "SELECT id, keys FROM ended", -1, &st, NULL);

    while (rc == 0 && (code == SQLITE_OK || code == SQLITE_ROW)) {
        code = sqlite3_step(st);
        if (code == SQLITE_ROW)
            rc = check_listed_row(c, st, ret_keys);
    }
    sqlite3_finalize(st);
    return rc < 0 ? rc : sqlite_error(code);
}

static int compare_keys(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void check_not_ended(struct check *c, int64_t key)
{
    check_fault(c, "job %lld: listed as ended, but has not", (long long)key);
}

/* Compares what is listed, in the order of keys, to the next one of `done`. Returns what comes behind that. */
static size_t check_next_ended(
        struct check *c, const int64_t *listed, size_t n, size_t at, int64_t key)
{
    for (; at < n && listed[at] < key; at++)
        check_not_ended(c, listed[at]);
    if (at == n || listed[at] != key) {
        check_fault(c, "job %lld: ended, but not listed as that", (long long)key);
        return at;
    }
    for (at++; at < n && listed[at] == key; at++)
        check_fault(c, "job %lld: listed as ended twice", (long long)key);
    return at;
}

/* Each ended job is in the list of them once. SQL would read a row of it anew for each of its keys. */
static int check_ended(struct check *c, sqlite3 *db)
{
    struct buf keys CLEANUP(buf_done) = { 0 };
    sqlite3_stmt *st = NULL;
    int64_t *listed;
    size_t n, at = 0;
    int code, rc = check_listed(c, db, &keys);

    if (rc < 0)
        return rc;
    listed = (int64_t *)(void *)keys.data;
    n = keys.n / sizeof(*listed);
    if (n > 0)
        qsort(listed, n, sizeof(*listed), compare_keys);
    code = sqlite3_prepare_v2(db, "SELECT key FROM done ORDER BY key", -1, &st, NULL);
    if (code == SQLITE_OK)
        while ((code = sqlite3_step(st)) == SQLITE_ROW)
            at = check_next_ended(c, listed, n, at, sqlite3_column_int64(st, 0));
    for (; code == SQLITE_DONE && at < n; at++)
        check_not_ended(c, listed[at]);
    sqlite3_finalize(st);
    return sqlite_error(code);
}

/* What this version's rules say; an older version's database has not the columns for them. */
static int check_rows(struct check *c, sqlite3 *db, int bodies_fd)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(check_rules); i++)
        rc = check_texts(c, db, check_rules[i], NULL);
    if (rc == 0)
        rc = check_ended(c, db);
    if (rc == 0)
        rc = check_files(c, db, bodies_fd);
    return rc;
}

static int check_counts(struct check *c, sqlite3 *db)
{
    int rc = schema_number(db, "SELECT count(*) FROM job", &c->jobs);

    return rc < 0 ? rc : schema_number(db, "SELECT count(*) FROM batch", &c->batches);
}

/* 1: it is empty, and so sound. */
static int check_schema(
        struct check *c, sqlite3 *db, const char *path, bool *ret_current, struct error *ret_why)
{
    int64_t version = 0;
    bool new = false;
    int rc = schema_check(db, path, &new, ret_why);

    if (rc < 0 || new)
        return rc < 0 ? rc : 1;
    rc = schema_number(db, "PRAGMA user_version", &version);
    if (rc < 0)
        return error_set(ret_why, rc, "%s: %s", path, sqlite3_errmsg(db));
    *ret_current = version == schema_version();
    if (!*ret_current)
        fprintf(c->out,
                "%s: schema %lld of an older version: its rows are not checked before a start has"
                " brought it to schema %d\n",
                path, (long long)version, schema_version());
    return 0;
}

static int check_database(
        struct check *c, sqlite3 *db, const char *path, int bodies_fd, struct error *ret_why)
{
    bool current = false;
    int rc = check_schema(c, db, path, &current, ret_why);

    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = check_texts(c, db, "PRAGMA integrity_check(100)", "ok");
    if (rc == 0 && current)
        rc = check_rows(c, db, bodies_fd);
    if (rc == 0)
        rc = check_counts(c, db);
    /* What is damaged so much that it can't be read on has been told, at least once. */
    if (rc == -EBADMSG) {
        check_fault(c, "%s: %s", path, sqlite3_errmsg(db));
        return 0;
    }
    return rc < 0 ? error_set(ret_why, rc, "%s: %s", path, sqlite3_errmsg(db)) : 0;
}

int sqlite_check(const char *path, int bodies_fd, struct check *c, struct error *ret_why)
{
    sqlite3 *db = NULL;
    int rc = check_open(path, &db);

    if (rc < 0)
        error_set(ret_why, rc, "%s: %s", path, db ? sqlite3_errmsg(db) : strerror(-rc));
    else
        rc = check_database(c, db, path, bodies_fd, ret_why);
    sqlite3_close(db);
    return rc;
}
