/*
 * A copy of the open database. What is committed meanwhile goes into it, so that it is the database
 * of the moment of its last step. All but sqlite_backup_complete() on the store thread.
 */
#pragma once

#include <stdint.h>

struct sqlite;
struct sqlite_backup;

/* `path` is an empty file. -errno: nothing is left open. */
int sqlite_backup_start(struct sqlite *d, const char *path, struct sqlite_backup **ret);
/* Between two transactions. 1: there is more, 0: it is complete. An error is the copy's alone. */
int sqlite_backup_step(struct sqlite_backup *b);
/* Closes the copy, complete or not. Accepts NULL. */
struct sqlite_backup *sqlite_backup_end(struct sqlite_backup *b);

/*
 * Any thread, after the end: makes it one file, without a log. Calls `take` with each name in
 * the directory `bodies_fd` that a row of the copy names; its error ends it.
 */
int sqlite_backup_complete(
        const char *path, int bodies_fd, int (*take)(void *arg, const char *name), void *arg);
