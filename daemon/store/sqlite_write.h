/* What the SQLite driver writes, each in the running transaction. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/model/batch.h"
#include "daemon/model/job.h"

struct sqlite;

/* A new job: its id, spec, batch, state, step, held flag, due time, start and delivery. -EEXIST. */
int sqlite_write_job(struct sqlite *d, const struct job *j);
/* New attempts are put behind the job's own. -ENOENT. */
int sqlite_write_checkpoint(struct sqlite *d, const struct checkpoint *c);
/* The job is in memory from now on. */
int sqlite_write_paged_in(struct sqlite *d, int64_t key);
int sqlite_write_in_flight(struct sqlite *d, int64_t key);
/* A new batch. -EEXIST. */
int sqlite_write_batch(struct sqlite *d, const struct batch *b);
/* State, ended counts, finish and sums. -ENOENT. */
int sqlite_update_batch(struct sqlite *d, const struct batch *b);
