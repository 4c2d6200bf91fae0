/*
 * The SQLite driver: the one connection, its transactions and its files. What is written is in
 * sqlite_write.h, what is read in sqlite_read.h. One thread at a time; nothing suspends.
 * Errors: -ENOSPC and -ENOMEM pass, nothing happened; -EEXIST, -ENOENT are the caller's mistake;
 * -EIO and -EBADMSG mean that the file can't be trusted any more.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/buf.h"
#include "daemon/base/error.h"

#define SQLITE_DATABASE_NAME "baedal.db" /* in a state directory or a backup */

struct sqlite;

struct sqlite_options {
    const char *path; /* created when it does not exist */
    bool relaxed;     /* synchronous=NORMAL */
};

/* -EBUSY, -EACCES, -EBADMSG, -ENOTSUP as store_open() has them. */
int sqlite_open(const struct sqlite_options *options, struct sqlite **ret, struct error *ret_why);
/* Folds the write-ahead log into the file. */
struct sqlite *sqlite_close(struct sqlite *d);
/* The greatest job or batch key; 0: none. As it was when the file was opened. */
int64_t sqlite_last_key(const struct sqlite *d);

int sqlite_begin(struct sqlite *d);
/* Durable when it returns 0. Otherwise everything since sqlite_begin() is undone. */
int sqlite_commit(struct sqlite *d);
void sqlite_rollback(struct sqlite *d);
/* Names of body files, each with its NUL, that the last committed transaction left without a row. */
struct buf *sqlite_dropped_files(struct sqlite *d);

/* Whether the write-ahead log should be folded into the file: when there is nothing else to do, or at once. */
bool sqlite_wants_tidy(const struct sqlite *d, bool idle);
/* Does it. An error but -EIO may be passed over. `shrink`: gives the log's space back, too. */
int sqlite_tidy(struct sqlite *d, bool shrink);
/* How long the log is; 0 once it was folded, or that failed. */
int sqlite_log_pages(const struct sqlite *d);
/* After a failure: sqlite_close() leaves the log as it is. */
void sqlite_leave_log(struct sqlite *d);

/* 1: a row names this file, 0: none does. */
int sqlite_has_file(struct sqlite *d, int64_t job_key, const char *name);
