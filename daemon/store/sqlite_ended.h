/*
 * The ended jobs in the order in which they ended: a list of keys in the database, one row for each
 * transaction that ended any, so a job costs its key and no index. That is the order of their finish
 * but for steps of the clock. For sqlite*.c only.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/buf.h"

struct sqlite;

#define ENDED_DIGITS 16 /* of each key, in hexadecimal: what SQL can make, too */

/* Puts a job that ended at the end of the list, with the next ended_write(). */
int ended_add(struct sqlite *d, int64_t key);
/* Writes what the running transaction has added: before it is committed, or the list is read. */
int ended_write(struct sqlite *d);

/* A row of the list. `{0}` is before the first one. */
struct ended_row {
    int64_t id;
    struct buf keys; /* owned: ENDED_DIGITS for each */
};
void ended_row_done(struct ended_row *r);
/* 1: *r is the row behind *r; 0: there is none. -EBADMSG: it is no list of keys. */
int ended_next(struct sqlite *d, struct ended_row *r);
/* Stores the row with the keys that it has now; without any it is removed. */
int ended_update(struct sqlite *d, const struct ended_row *r);
/* The key at ENDED_DIGITS digits. -EBADMSG. */
int ended_parse(const char *digits, int64_t *ret);
