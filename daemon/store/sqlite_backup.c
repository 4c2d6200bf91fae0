#include "daemon/store/sqlite_backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/uuid7.h"
#include "daemon/store/sqlite_statement.h"

#define STEP_PAGES 100 /* 800 KiB: well below a millisecond */

struct sqlite_backup {
    sqlite3 *to;
    sqlite3_backup *copy;
};

static int copy_open(const char *path, sqlite3 **ret)
{
    return sqlite_error(sqlite3_open_v2(path, ret,
            SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
                    SQLITE_OPEN_EXRESCODE,
            NULL));
}

static int copy_exec(sqlite3 *db, const char *sql)
{
    return sqlite_error(sqlite3_exec(db, sql, NULL, NULL, NULL));
}

int sqlite_backup_start(struct sqlite *d, const char *path, struct sqlite_backup **ret)
{
    struct sqlite_backup *b = calloc(1, sizeof(*b));
    int rc;

    if (!b)
        return -ENOMEM;
    rc = copy_open(path, &b->to);
    /* It is synced as a whole when it is complete; until then it may be lost. */
    if (rc == 0)
        rc = copy_exec(b->to, "PRAGMA locking_mode=EXCLUSIVE;"
                              "PRAGMA journal_mode=OFF;"
                              "PRAGMA synchronous=OFF;");
    if (rc == 0) {
        b->copy = sqlite3_backup_init(b->to, "main", d->db, "main");
        rc = b->copy ? 0 : sqlite_error(sqlite3_errcode(b->to));
    }
    if (rc < 0) {
        sqlite_backup_end(b);
        return rc;
    }
    *ret = b;
    return 0;
}

int sqlite_backup_step(struct sqlite_backup *b)
{
    int code = sqlite3_backup_step(b->copy, STEP_PAGES);

    if (code == SQLITE_OK)
        return 1;
    return code == SQLITE_DONE ? 0 : sqlite_error(code);
}

struct sqlite_backup *sqlite_backup_end(struct sqlite_backup *b)
{
    if (!b)
        return NULL;
    sqlite3_backup_finish(b->copy);
    sqlite3_close(b->to);
    free(b);
    return NULL;
}

/* A name begins with its job's id. 1: a row of the copy has it. */
static int copy_names(sqlite3_stmt *find, const char *name)
{
    char text[UUID7_TEXT_SIZE] = "";
    struct uuid7 id;
    int code;

    memcpy(text, name, strnlen(name, sizeof(text) - 1));
    if (uuid7_parse(text, &id) < 0)
        return 0;
    sqlite3_reset(find);
    sqlite3_bind_int64(find, 1, ANSWER_KEY(id.key, 0));
    sqlite3_bind_int64(find, 2, ANSWER_KEY(id.key, ANSWER_STEPS_MAX - 1));
    sqlite3_bind_text(find, 3, name, -1, SQLITE_STATIC);
    code = sqlite3_step(find);
    return code == SQLITE_ROW ? 1 : code == SQLITE_DONE ? 0 : sqlite_error(code);
}

static int copy_take_files(
        sqlite3_stmt *find, DIR *stream, int (*take)(void *arg, const char *name), void *arg)
{
    struct dirent *entry;
    int rc = 0;

    while (rc >= 0 && (errno = 0, entry = readdir(stream))) {
        rc = copy_names(find, entry->d_name);
        if (rc > 0)
            rc = take(arg, entry->d_name);
    }
    return rc < 0 ? rc : -errno;
}

static int copy_find_files(
        sqlite3 *db, int bodies_fd, int (*take)(void *arg, const char *name), void *arg)
{
    /* A descriptor of its own: the stream has a position and is closed. */
    int own = openat(bodies_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = own < 0 ? NULL : fdopendir(own);
    sqlite3_stmt *find = NULL;
    int rc = stream ? 0 : -errno;

    if (!stream)
        cleanup_close(&own);
    if (rc == 0)
        rc = sqlite_error(sqlite3_prepare_v2(db,
                "SELECT 1 FROM answer INDEXED BY answer_key WHERE key BETWEEN ? AND ? AND file=?",
                -1, &find, NULL));
    if (rc == 0)
        rc = copy_take_files(find, stream, take, arg);
    sqlite3_finalize(find);
    if (stream)
        closedir(stream);
    return rc;
}

int sqlite_backup_complete(
        const char *path, int bodies_fd, int (*take)(void *arg, const char *name), void *arg)
{
    sqlite3 *db = NULL;
    int rc = copy_open(path, &db);

    if (rc == 0)
        rc = copy_exec(db, "PRAGMA locking_mode=EXCLUSIVE;"
                           "PRAGMA synchronous=OFF;"
                           "PRAGMA journal_mode=DELETE;");
    if (rc == 0)
        rc = copy_find_files(db, bodies_fd, take, arg);
    sqlite3_close(db);
    return rc;
}
