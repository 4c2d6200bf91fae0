/* The idempotency keys of clients, each in the running transaction. For the driver and the store thread. */
#pragma once

#include <stdint.h>

#include "daemon/store/store.h"

struct sqlite;

/*
 * What a key says of the insertion of `id`; one that is unknown stands for it from now on. The id of
 * the outcome may be that of a batch that is being inserted, and may still fail.
 */
int sqlite_claim_key(
        struct sqlite *d, const struct idempotency *k, struct uuid7 id, struct store_outcome *ret);
/* That of a job or batch, if it has one. */
int sqlite_drop_key(struct sqlite *d, int64_t job_key);

#define FORGET_SLICE 256 /* keys, which are all over their index */
/* A slice of those of jobs and batches created before. 1: there may be more. */
int sqlite_forget_keys(struct sqlite *d, int64_t before_us);
