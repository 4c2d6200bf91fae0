/* Rows become jobs and batches. For sqlite_read.c, sqlite_list.c and sqlite_page.c only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/model/batch.h"
#include "daemon/model/job.h"
#include "daemon/store/sqlite_statement.h"

enum row_parts {
    ROW_REQUEST_BODIES = 1 << 0, /* of a job that has not ended */
    ROW_ATTEMPTS = 1 << 1,
    ROW_RESULT_HEADERS = 1 << 2,
    ROW_FULL = ROW_ATTEMPTS | ROW_RESULT_HEADERS,
};

/* The job of this key, with `parts` of it. -ENOENT. */
int row_read_job(struct sqlite *d, int64_t key, unsigned parts, struct job **ret);
/* The batch in the current row; `recount`: what one that has not ended says of its jobs is made from their rows. */
int row_take_batch(struct row *r, bool recount, struct batch *ret);
