/* What the SQLite driver reads: what store.h says of the call of the same name. Batches that are loading do not exist here. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/store/store.h"

struct sqlite;

int sqlite_read_job(struct sqlite *d, struct uuid7 id, struct job **ret);
int sqlite_read_body(struct sqlite *d, struct uuid7 id, enum job_step step, struct store_body *ret);
int sqlite_read_batch(struct sqlite *d, struct uuid7 id, struct batch *ret);

int sqlite_list_jobs(struct sqlite *d, const struct store_filter *filter, int64_t from,
        size_t limit, bool full, struct store_page *ret);
int sqlite_list_finished(
        struct sqlite *d, int64_t batch_key, int64_t after, size_t limit, struct store_page *ret);
/* At most `limit` of them, from an index on. *ret_next: the index to go on from; 0: that was all. */
int sqlite_list_batch_ids(struct sqlite *d, int64_t batch_key, int64_t from, size_t limit,
        struct uuid7 *ret_ids, size_t *ret_n, int64_t *ret_next);
int sqlite_list_batches(
        struct sqlite *d, bool running_only, int64_t from, size_t limit, struct store_batches *ret);
