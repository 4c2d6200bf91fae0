/* The inside of the SQLite driver: the connection, its prepared statements, values in and out. For sqlite*.c only. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/buf.h"
#include "daemon/base/list.h"
#include "daemon/model/pack.h"

enum statement {
    BEGIN_GROUP,
    COMMIT_GROUP,
    ROLLBACK_GROUP,
    INSERT_JOB,
    INSERT_LABEL,
    INSERT_LIVE,
    INSERT_DONE,
    INSERT_ENDED,
    INSERT_ATTEMPTS,
    INSERT_ANSWER,
    UPDATE_LIVE,
    UPDATE_IN_FLIGHT,
    UPDATE_RELEASED,
    DELETE_LIVE,
    INSERT_BATCH,
    UPDATE_BATCH,
    SHOW_BATCH,
    DROP_LABELS,
    DROP_LIVE,
    DROP_JOBS,
    DELETE_BATCH,
    SELECT_JOB,
    SELECT_HEAD,
    SELECT_LIVE,
    SELECT_DONE,
    SELECT_STATE,
    SELECT_RESULT_STEP,
    SELECT_LABELS,
    SELECT_LABEL,
    SELECT_LANE,
    SELECT_ATTEMPTS,
    SELECT_ANSWER_HEADERS,
    SELECT_BODY,
    SELECT_FILE,
    FIND_FILE,
    LIST_JOBS,
    LIST_LIVE_JOBS,
    LIST_DONE_JOBS,
    LIST_LABEL,
    LIST_BATCH,
    LIST_FINISHED,
    SELECT_BATCH,
    LIST_BATCHES,
    LIST_BATCHES_RUNNING,
    COUNT_LIVE,
    COUNT_DONE,

    PAGE_CLASS,
    PAGE_ENDS,
    PAGE_BATCH,
    INSERT_PAGED,
    DELETE_PAGED,
    SELECT_PAGED,
    RELEASE_PAGED,
    DROP_PAGED,
    PAGE_OUT_REST,
    SHIFT_JOBS,
    SHIFT_LIVE,
    REDATE_LIVE,
    REDATE_PAGED,
    REDATE_END,
    COUNT_ALL_LIVE,
    LIST_FLYING,
    LIST_CLASSES,
    FIRST_END,
    SELECT_META,
    SET_META,
    LIST_BATCH_IDS,
    FIND_KEY,
    INSERT_KEY,
    DELETE_KEY,
    FORGET_KEYS,

    SELECT_REMOVED,
    COUNT_ENDED,
    PAGE_COUNT,
    PAGE_SIZE,
    FREE_COUNT,
    GIVE_PAGES_BACK,
    NEXT_ENDED,
    UPDATE_ENDED,
    DELETE_ENDED,
    SELECT_ENDED,
    LIST_FILES,
    FIND_OTHER_MEMBER,
    NOTE_REMOVED,
    DELETE_ENDED_BATCH,
    DELETE_ANSWERS,
    DELETE_ATTEMPTS,
    DELETE_LABELS,
    DELETE_DONE,
    DELETE_JOB,
    STATEMENT_MAX
};

/* The key of an answer: 60 bits of the job's, 3 of the step. */
#define ANSWER_STEPS_MAX          8
#define ANSWER_KEY(job_key, step) ((job_key) << 3 | (int64_t)(step))

/* Places in SELECT_HEAD. */
enum {
    HEAD_TAIL,
    HEAD_KIND,
    HEAD_BATCH_KEY,
    HEAD_BATCH_TAIL,
};
/* Places in the lists of jobs. */
enum {
    LIST_KEY,
    LIST_PLACE,
};
/* Places in BATCH_COLUMNS that are looked at before a row is taken. */
enum {
    BATCH_COLUMN_KEY = 0,
    BATCH_COLUMN_STATE = 5,
};

struct sqlite {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_MAX];
    struct list loading; /* batches that nobody sees: struct loading of sqlite_loading.c */
    struct buf scratch;  /* what a statement of now borrows */
    struct buf
            dropped_files; /* names, each with its NUL, that no row has once this transaction is committed */
    struct buf ended_keys; /* what this transaction puts at the end of the list of ended jobs */
    int64_t ended, ended_change; /* keys in that list; what this transaction makes of them */
    int64_t file_bytes, file_bytes_change; /* of the body files; the same */
    int wal_pages;
    int64_t last_key;
};

/* A running statement: values are put and taken in order. A failed take stays in rc. */
struct row {
    struct sqlite *driver;
    sqlite3_stmt *statement;
    int at;
    int rc;
};

/* 0 or the -errno for the result code of an SQLite call that has just returned: it looks at errno too. */
int sqlite_error(int code);
/* Prepares the whole table. */
int statement_prepare_all(struct sqlite *d);
void statement_finalize_all(struct sqlite *d);

/* Starts one; it is finished by statement_run() or by row_done(). */
struct row statement_start(struct sqlite *d, enum statement which);
/* Runs one that gives no rows. */
int statement_run(struct row *r);
/* 1: a row, whose values are taken from the first column on; 0: no more. */
int statement_next(struct row *r);
void row_done(struct row *r);
#define CLEANUP_ROW __attribute__((cleanup(row_done)))

/* Borrowed until the statement has run. A NULL pointer is NULL. */
void row_put_text(struct row *r, const char *text);
void row_put_blob(struct row *r, const void *data, size_t n);

static inline void row_put_int(struct row *r, int64_t value)
{
    sqlite3_bind_int64(r->statement, ++r->at, value);
}

static inline void row_put_null(struct row *r)
{
    sqlite3_bind_null(r->statement, ++r->at);
}

static inline int64_t row_take_int(struct row *r)
{
    return sqlite3_column_int64(r->statement, r->at++);
}

/* A number below `max`, else rc is -EBADMSG. */
unsigned row_take_enum(struct row *r, unsigned max);
/* Owned copies; NULL and {0} for NULL. */
char *row_take_text(struct row *r);
struct blob row_take_blob(struct row *r);
/* A packed list of headers, checked. */
struct blob row_take_headers(struct row *r);
