/*
 * Batches whose jobs are still being inserted, or, after a failure, being removed. Nobody sees
 * them or their jobs. They are few, and kept in memory. For the driver and the store thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/model/batch.h"

struct sqlite;

/* When the file is opened: what a crash left half-made is dropped from now on. */
int loading_find(struct sqlite *d);
void loading_done(struct sqlite *d);

/* Writes the batch as loading, in the running transaction; may be repeated after a rollback. */
int loading_begin(struct sqlite *d, const struct batch *b);
/* Writes its real state, in the transaction of its last jobs. */
int loading_end(struct sqlite *d, const struct batch *b);
/* After that transaction's commit: now it is seen. */
void loading_show(struct sqlite *d, int64_t batch_key);
/* Its insertion failed: what is there of it is dropped. */
void loading_drop(struct sqlite *d, int64_t batch_key);

bool loading_any(const struct sqlite *d);
bool loading_hides(const struct sqlite *d, int64_t batch_key);
/* Its insertion has failed. */
bool loading_drops(const struct sqlite *d, int64_t batch_key);
/* One slice of dropping, a transaction of its own. 1: there is more to drop, 0: nothing. */
int loading_drop_slice(struct sqlite *d);
