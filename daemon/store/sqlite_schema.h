/* The tables and how older ones become them. For sqlite.c and sqlite_census.c only. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>

#include "daemon/base/error.h"

/* What finds the jobs that are paged out. */
#define SCHEMA_LIVE_INDEXES                                                      \
    "CREATE INDEX live_lane ON live(lane, priority DESC, due_us) WHERE place=1;" \
    "CREATE INDEX live_ends ON live(ends_us) WHERE place>0 AND ends_us>0;"

/*
 * Brings the schema to this version, each step in a transaction of its own. -ENOTSUP a newer
 * version wrote it, -EBADMSG it is another program's, or another -errno.
 */
int schema_migrate(sqlite3 *db, const char *path, struct error *ret_why);
/* The two checks of schema_migrate() alone, before anything is written. *ret_new: it has no tables. */
int schema_check(sqlite3 *db, const char *path, bool *ret_new, struct error *ret_why);
