/* The tables and how older ones become them. For sqlite*.c only. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/error.h"

/* What says and finds which jobs are paged out: all of `live`, or those of a WHERE behind it. */
#define SCHEMA_PAGE_OUT                                                                         \
    "INSERT INTO paged(key, lane, priority, held, due_us, ends_us, at_us)"                      \
    " SELECT live.key, lane_key(CASE live.step WHEN 2 THEN NULL WHEN 3 THEN job.collect_origin" \
    " ELSE job.origin END), job.priority, live.held, live.due_us,"                              \
    " CASE WHEN job.deadline_us>0 THEN job.created_us+job.deadline_us ELSE 0 END,"              \
    " CASE WHEN live.state=0 THEN job.at_us ELSE 0 END"                                         \
    " FROM live CROSS JOIN job ON job.key=live.key"
#define SCHEMA_PAGED_INDEXES                                                      \
    "CREATE INDEX paged_lane ON paged(lane, priority DESC, due_us) WHERE held=0;" \
    "CREATE INDEX paged_ends ON paged(ends_us) WHERE ends_us>0;"

/*
 * Brings the schema to this version, each step in a transaction of its own. -ENOTSUP a newer
 * version wrote it, -EBADMSG it is another program's, or another -errno.
 */
int schema_migrate(sqlite3 *db, const char *path, struct error *ret_why);
/* The first column of the first row that `sql` gives; 0, and *ret unchanged, when it gives none but no error. */
int schema_number(sqlite3 *db, const char *sql, int64_t *ret);
/* The one that schema_migrate() brings a database to. */
int schema_version(void);
/* The two checks of schema_migrate() alone, before anything is written. *ret_new: it has no tables. */
int schema_check(sqlite3 *db, const char *path, bool *ret_new, struct error *ret_why);
