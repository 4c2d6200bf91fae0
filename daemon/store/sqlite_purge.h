/*
 * Retention: what is kept of ended jobs, and its removal in the order in which they ended. For the
 * driver and the store thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/uuid7.h"

struct sqlite;
struct store_limits;

#define PURGE_SLICE 64 /* jobs removed in one transaction: others wait for it */

/* When the file is opened: how many ended jobs there are. */
int purge_count(struct sqlite *d);
/* Of the body files, before anything is written: what they take. */
void purge_set_file_bytes(struct sqlite *d, int64_t bytes);
/* Pages in use, and body files. */
int purge_used_bytes(struct sqlite *d, int64_t *ret);

struct purge_slice {
    struct uuid7 ids[PURGE_SLICE]; /* of the jobs that were removed */
    size_t n;
    bool more;
    int64_t oldest_us; /* finish of the first one left; 0: none */
};
/*
 * One slice, in the running transaction: jobs beyond the limits, and when there are few of them a
 * part of the free pages. It ends at the first job that is not too old: after a step of the clock a
 * later one may be, and waits for it. The last job of a batch that is about to end stays, and what
 * ended after it goes. The files of their bodies are sqlite_dropped_files() then.
 */
int purge_run_slice(struct sqlite *d, const struct store_limits *limits, struct purge_slice *ret);
