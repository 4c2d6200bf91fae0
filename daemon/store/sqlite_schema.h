/* The tables and how older ones become them. For sqlite.c only. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>

#include "daemon/base/error.h"

/*
 * Brings the schema to this version, each step in a transaction of its own. -ENOTSUP a newer
 * version wrote it, -EBADMSG it is another program's, or another -errno.
 */
int schema_migrate(sqlite3 *db, const char *path, struct error *ret_why);
/* The one that schema_migrate() brings a database to. */
int schema_version(void);
/* The two checks of schema_migrate() alone, before anything is written. *ret_new: it has no tables. */
int schema_check(sqlite3 *db, const char *path, bool *ret_new, struct error *ret_why);
