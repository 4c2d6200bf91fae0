/* The check of a database that nobody has open. For store_check() only. */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "daemon/base/error.h"

#define CHECK_LINES_MAX 100 /* faults that are printed */

struct check {
    FILE *out;
    int64_t faults;
    int64_t jobs, batches, files;
};

/* One fault, in the manner of printf(). */
__attribute__((format(printf, 2, 3))) void check_fault(struct check *c, const char *format, ...);

/*
 * Reads all of the database at `path` and of the body files (`bodies_fd` -1: there are none), and
 * changes nothing: the log that a crash left is read where it is. 0: it was checked, whatever was
 * found; -ENOTSUP a newer version wrote it, -EBADMSG it is no database of ours, or another -errno.
 */
int sqlite_check(const char *path, int bodies_fd, struct check *c, struct error *ret_why);
