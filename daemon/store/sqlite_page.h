/*
 * What the SQLite driver pages in, each in the running transaction: what store.h says of the call of
 * the same name. What a failed transaction has given is still the caller's to free.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/store/store.h"

struct sqlite;

int sqlite_page_class(struct sqlite *d, int64_t lane, int priority, int64_t due_us, size_t limit,
        int64_t max_bytes, struct store_page *ret);
int sqlite_page_ends(struct sqlite *d, int64_t ends_us, size_t limit, struct store_page *ret);
int sqlite_page_batch(struct sqlite *d, int64_t batch_key, int64_t from, bool held_only,
        size_t limit, struct store_page *ret);
int sqlite_page_job(struct sqlite *d, struct uuid7 id, struct job **ret);

int sqlite_take_census(struct sqlite *d, struct store_census *ret);
int sqlite_redate(struct sqlite *d, int64_t offset_us, int64_t *after);
int sqlite_set_clock_offset(struct sqlite *d, int64_t offset_us);
