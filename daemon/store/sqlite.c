/*
 * One connection in the whole process: Debian 12's SQLite has the WAL-reset bug, which needs two.
 * locking_mode=EXCLUSIVE is set before anything is read, so that the index of the write-ahead log
 * is in our memory and no other process can come between.
 */
#include "daemon/store/sqlite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/base/cleanup.h"
#include "daemon/store/sqlite_ended.h"
#include "daemon/store/sqlite_loading.h"
#include "daemon/store/sqlite_purge.h"
#include "daemon/store/sqlite_schema.h"
#include "daemon/store/sqlite_statement.h"

/*
 * The log's file is written over and over once it has grown: that makes fdatasync() half as dear as
 * growing it (no metadata). So it is folded into the database before it gets long, and truncated
 * only after an unusually large transaction.
 */
#define WAL_IDLE_PAGES 500 /* 4 MiB: folded in when there is time; a start after a crash reads it */
#define WAL_BUSY_PAGES 2000 /* 16 MiB: folded in whatever waits; some 20 ms */
#define WAL_MAX_PAGES  8192 /* 64 MiB: truncated too */

/*
 * What a start may spend on looking for damage is 0.3 s, and quick_check takes some 2 us for each row
 * of each table and index. So a file beyond this size is only checked in what is read all the time,
 * and of that no table with a backlog in it; the rest is --check-store's.
 */
#define CHECK_ALL_MAX_BYTES (32LL << 20)
#define CHECK_TABLE_ROWS    "50000"

static int sqlite_exec(struct sqlite *d, const char *sql)
{
    return sqlite_error(sqlite3_exec(d->db, sql, NULL, NULL, NULL));
}

static int sqlite_committed(void *arg, sqlite3 *db, const char *name, int wal_pages)
{
    struct sqlite *d = arg;

    (void)db;
    (void)name;
    d->wal_pages = wal_pages;
    return SQLITE_OK;
}

static int sqlite_configure(struct sqlite *d)
{
    /* Until it is accepted the file stays as it is. */
    sqlite_leave_log(d);
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    return sqlite_exec(d, "PRAGMA locking_mode=EXCLUSIVE;"
                          "PRAGMA cell_size_check=ON;"
                          "PRAGMA mmap_size=0;"
                          "PRAGMA temp_store=MEMORY;"
                          "PRAGMA cache_size=-65536;");
}

/* Nothing changes them later, but auto_vacuum would be written to the file at every start. */
static int sqlite_configure_new(struct sqlite *d)
{
    return sqlite_exec(d, "PRAGMA page_size=8192;" /* an eighth less CPU per job than 4096 */
                          "PRAGMA auto_vacuum=INCREMENTAL;"); /* costs nothing measurable */
}

static int sqlite_start_wal(struct sqlite *d, bool relaxed)
{
    int rc = sqlite_exec(d, "PRAGMA journal_mode=WAL");

    if (rc == 0)
        rc = sqlite_exec(d, relaxed ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=FULL");
    if (rc == 0)
        rc = sqlite_exec(d, "PRAGMA wal_autocheckpoint=0");
    if (rc == 0)
        sqlite3_wal_hook(d->db, sqlite_committed, d);
    return rc;
}

/* Runs one of the checks, which says `ok` or what is wrong. */
static int sqlite_run_check(
        struct sqlite *d, const char *sql, const char *path, struct error *ret_why)
{
    sqlite3_stmt *st = NULL;
    int rc, code = sqlite3_prepare_v2(d->db, sql, -1, &st, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    if (code != SQLITE_ROW) {
        rc = sqlite_error(code);
        error_set(ret_why, rc, "%s: %s", path, sqlite3_errmsg(d->db));
    } else if (strcmp((const char *)sqlite3_column_text(st, 0), "ok") != 0) {
        rc = error_set(ret_why, -EBADMSG, "%s is damaged: %s", path, sqlite3_column_text(st, 0));
    } else {
        rc = 0;
    }
    sqlite3_finalize(st);
    return rc;
}

/* 1: the table has more rows than are checked at a start. */
static int sqlite_is_long(struct sqlite *d, const char *sql)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(d->db, sql, -1, &st, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    sqlite3_finalize(st);
    return code == SQLITE_ROW ? 1 : sqlite_error(code);
}

static int sqlite_check_file(struct sqlite *d, const char *path, struct error *ret_why)
{
    static const struct {
        const char *is_long, *check;
    } tables[] = {
        { "SELECT 1 FROM live LIMIT 1 OFFSET " CHECK_TABLE_ROWS, "PRAGMA quick_check(live)" },
        { "SELECT 1 FROM batch LIMIT 1 OFFSET " CHECK_TABLE_ROWS, "PRAGMA quick_check(batch)" },
    };
    struct stat file;
    int rc = 0;

    if (stat(path, &file) < 0 || file.st_size <= CHECK_ALL_MAX_BYTES)
        return sqlite_run_check(d, "PRAGMA quick_check(1)", path, ret_why);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(tables); i++) {
        rc = sqlite_is_long(d, tables[i].is_long);
        if (rc < 0)
            return error_set(ret_why, rc, "%s: %s", path, sqlite3_errmsg(d->db));
        rc = rc == 0 ? sqlite_run_check(d, tables[i].check, path, ret_why) : 0;
    }
    return rc;
}

static int sqlite_read_last_key(struct sqlite *d)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(d->db,
            "SELECT max(coalesce((SELECT max(key) FROM job), 0),"
            " coalesce((SELECT max(key) FROM batch), 0))",
            -1, &st, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    if (code == SQLITE_ROW)
        d->last_key = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return sqlite_error(code);
}

static int sqlite_say(struct sqlite *d, const char *path, int rc, struct error *ret_why)
{
    if (rc == -EBADMSG)
        return error_set(
                ret_why, rc, "%s is damaged or no database: %s", path, sqlite3_errmsg(d->db));
    if (rc == -EBUSY)
        return error_set(ret_why, rc, "%s is in use by another process", path);
    return error_set(ret_why, rc, "%s: %s", path, sqlite3_errmsg(d->db));
}

static int sqlite_open_file(struct sqlite *d, const struct sqlite_options *o, struct error *ret_why)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
    bool new = false;
    int rc, code = sqlite3_open_v2(o->path, &d->db, flags, NULL);

    if (!d->db)
        return error_set(ret_why, -ENOMEM, "%s: out of memory", o->path);
    rc = sqlite_error(code);
    if (rc == 0)
        rc = sqlite_configure(d);
    if (rc < 0)
        return sqlite_say(d, o->path, rc, ret_why);
    rc = schema_check(d->db, o->path, &new, ret_why);
    if (rc == 0)
        rc = sqlite_check_file(d, o->path, ret_why);
    if (rc < 0)
        return rc;
    if (new)
        rc = sqlite_configure_new(d);
    if (rc == 0)
        rc = sqlite_start_wal(d, o->relaxed);
    if (rc < 0)
        return sqlite_say(d, o->path, rc, ret_why);
    rc = schema_migrate(d->db, o->path, ret_why);
    if (rc < 0)
        return rc;
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    rc = statement_prepare_all(d);
    if (rc == 0)
        rc = sqlite_read_last_key(d);
    if (rc == 0)
        rc = loading_find(d);
    if (rc == 0)
        rc = purge_count(d);
    return rc < 0 ? sqlite_say(d, o->path, rc, ret_why) : 0;
}

int sqlite_open(const struct sqlite_options *options, struct sqlite **ret, struct error *ret_why)
{
    struct sqlite *d;
    int rc;

    /* Statistics would take a global mutex at each allocation. Refused, harmlessly, once it runs. */
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    d = calloc(1, sizeof(*d));
    if (!d)
        return error_set(ret_why, -ENOMEM, "out of memory");
    list_init(&d->loading);
    rc = sqlite_open_file(d, options, ret_why);
    if (rc < 0) {
        sqlite_close(d);
        return rc;
    }
    *ret = d;
    return 0;
}

struct sqlite *sqlite_close(struct sqlite *d)
{
    if (!d)
        return NULL;
    statement_finalize_all(d);
    sqlite3_close(d->db);
    loading_done(d);
    buf_done(&d->scratch);
    buf_done(&d->dropped_files);
    buf_done(&d->ended_keys);
    free(d);
    return NULL;
}

int64_t sqlite_last_key(const struct sqlite *d)
{
    return d->last_key;
}

static void sqlite_forget_changes(struct sqlite *d)
{
    d->dropped_files.n = d->ended_keys.n = 0;
    d->ended_change = d->file_bytes_change = 0;
}

int sqlite_begin(struct sqlite *d)
{
    struct row r = statement_start(d, BEGIN_GROUP);

    sqlite_forget_changes(d);
    return statement_run(&r);
}

void sqlite_rollback(struct sqlite *d)
{
    struct row r = statement_start(d, ROLLBACK_GROUP);

    sqlite_forget_changes(d);
    if (!sqlite3_get_autocommit(d->db))
        statement_run(&r);
}

int sqlite_commit(struct sqlite *d)
{
    struct row r = statement_start(d, COMMIT_GROUP);
    int rc = ended_write(d);

    if (rc == 0)
        rc = statement_run(&r);
    if (rc == 0) {
        d->ended += d->ended_change;
        d->file_bytes += d->file_bytes_change;
        d->ended_change = d->file_bytes_change = 0;
        return 0;
    }
    sqlite_rollback(d);
    return rc == -ENOSPC || rc == -ENOMEM ? rc : -EIO;
}

struct buf *sqlite_dropped_files(struct sqlite *d)
{
    return &d->dropped_files;
}

bool sqlite_wants_tidy(const struct sqlite *d, bool idle)
{
    return d->wal_pages > (idle ? WAL_IDLE_PAGES : WAL_BUSY_PAGES);
}

int sqlite_log_pages(const struct sqlite *d)
{
    return d->wal_pages;
}

void sqlite_leave_log(struct sqlite *d)
{
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
}

int sqlite_tidy(struct sqlite *d, bool shrink)
{
    int mode = shrink || d->wal_pages > WAL_MAX_PAGES ? SQLITE_CHECKPOINT_TRUNCATE
                                                      : SQLITE_CHECKPOINT_PASSIVE;
    int code = sqlite3_wal_checkpoint_v2(d->db, NULL, mode, NULL, NULL);

    /* After a failure it is due again when the next commit says how long the log is. */
    d->wal_pages = 0;
    return sqlite_error(code);
}

int sqlite_has_file(struct sqlite *d, int64_t job_key, const char *name)
{
    struct row r CLEANUP_ROW = statement_start(d, FIND_FILE);

    row_put_int(&r, ANSWER_KEY(job_key, 0));
    row_put_int(&r, ANSWER_KEY(job_key, ANSWER_STEPS_MAX - 1));
    row_put_text(&r, name);
    return statement_next(&r);
}
