/* The calls of retention, backup and space. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/failpoint.h"
#include "daemon/co/co.h"
#include "daemon/store/backups.h"
#include "daemon/store/sqlite.h"
#include "daemon/store/sqlite_backup.h"
#include "daemon/store/sqlite_purge.h"
#include "daemon/store/store.h"
#include "daemon/store/store_internal.h"

struct purge_op {
    struct op op;
    const struct store_limits *limits;
    struct purge_slice slice;
};

static int purge_run(struct op *op, struct sqlite *db)
{
    struct purge_op *p = CONTAINER_OF(op, struct purge_op, op);
    int rc = purge_run_slice(db, p->limits, &p->slice);

    failpoint(purge_before_commit);
    return rc;
}

static const struct op_class purge_class = { .run = purge_run };

int store_purge(struct store *s, const struct store_limits *limits, struct store_purge *ret)
{
    struct purge_op p = {
        .op = { .class = &purge_class, .rows = PURGE_SLICE },
        .limits = limits,
    };
    struct uuid7 *ids CLEANUP(cleanup_free) = calloc(PURGE_SLICE, sizeof(*ids));
    int rc;

    if (!ids)
        return -ENOMEM;
    rc = worker_run(&s->worker, &p.op);
    if (rc < 0)
        return rc;
    memcpy(ids, p.slice.ids, p.slice.n * sizeof(*ids));
    *ret = (struct store_purge){
        .ids = TAKE_PTR(ids),
        .n = p.slice.n,
        .more = p.slice.more,
        .oldest_us = p.slice.oldest_us,
    };
    return 0;
}

void store_purge_done(struct store_purge *p)
{
    free(p->ids);
    *p = (struct store_purge){ 0 };
}

bool store_more_space(struct store *s)
{
    return space_give_up(&s->space);
}

struct backup {
    struct store *store;
    struct backups_entry entry;
    char *database; /* path of the copy */
};

static int backup_begin(void *arg)
{
    struct backup *b = arg;

    return backups_begin(b->store->lock.directory_fd, b->store->bodies_fd, &b->entry);
}

/* The rest of the directory, once the database is copied. */
static int backup_complete(void *arg)
{
    struct backup *b = arg;
    int rc;

    failpoint(backup_copied);
    rc = sqlite_backup_complete(b->database, b->store->bodies_fd, backups_take_file, &b->entry);
    return rc < 0 ? rc : backups_publish(&b->entry);
}

static int backup_end(void *arg)
{
    struct backup *b = arg;

    backups_end(&b->entry);
    return 0;
}

/* A slice in each run, between the groups: others wait for one at most. */
struct copy_op {
    struct op op;
    const struct backup *backup;
    struct sqlite_backup *copy;
    bool more;
};

static int copy_begin(struct copy_op *c, struct sqlite *db)
{
    struct store *s = c->backup->store;
    int64_t bytes = 0;
    int rc = purge_used_bytes(db, &bytes);

    if (rc < 0)
        return rc;
    if (space_short_of(&s->space, bytes))
        return -ENOSPC;
    worker_keep_files(&s->worker, true);
    return sqlite_backup_start(db, c->backup->database, &c->copy);
}

static int copy_run(struct op *op, struct sqlite *db)
{
    struct copy_op *c = CONTAINER_OF(op, struct copy_op, op);
    int rc = c->copy ? 0 : copy_begin(c, db);

    if (rc == 0 && space_short(&c->backup->store->space))
        rc = -ENOSPC;
    if (rc == 0)
        rc = sqlite_backup_step(c->copy);
    c->more = rc > 0;
    if (!c->more)
        c->copy = sqlite_backup_end(c->copy);
    return rc < 0 ? rc : 0;
}

static bool copy_settle(struct op *op, struct sqlite *db, int rc)
{
    struct copy_op *c = CONTAINER_OF(op, struct copy_op, op);

    (void)db;
    if (rc == 0)
        return c->more;
    c->copy = sqlite_backup_end(c->copy);
    return false;
}

static const struct op_class copy_class = { .run = copy_run, .settle = copy_settle, .reads = true };

struct keep_op {
    struct op op;
    struct store *store;
};

static int keep_run(struct op *op, struct sqlite *db)
{
    (void)db;
    worker_keep_files(&CONTAINER_OF(op, struct keep_op, op)->store->worker, false);
    return 0;
}

static const struct op_class keep_class = { .run = keep_run, .reads = true };

CO_SUSPENDS static int backup_on_thread(struct backup *b, int (*fn)(void *arg))
{
    int result = 0;
    int rc = co_to_thread(fn, b, &result);

    return rc < 0 ? rc : result;
}

CO_SUSPENDS static int backup_fill(struct backup *b)
{
    struct copy_op copy = { .op = { .class = &copy_class }, .backup = b };
    struct keep_op keep = { .op = { .class = &keep_class }, .store = b->store };
    int kept, rc;

    if (asprintf(&b->database, "%s/" BACKUPS_DIRECTORY "/%s.tmp/" SQLITE_DATABASE_NAME,
                b->store->directory, b->entry.name) < 0) {
        b->database = NULL;
        return -ENOMEM;
    }
    rc = worker_run(&b->store->worker, &copy.op);
    if (rc == 0)
        rc = backup_on_thread(b, backup_complete);
    kept = worker_run(&b->store->worker, &keep.op);
    return rc < 0 ? rc : kept;
}

CO_SUSPENDS static int backup_make(struct store *s, struct store_backup *ret)
{
    struct backup b = { .store = s };
    char *path CLEANUP(cleanup_free) = NULL;
    int rc = backup_on_thread(&b, backup_begin);

    if (rc < 0)
        return rc;
    rc = backup_fill(&b);
    free(b.database);
    if (rc == 0 && asprintf(&path, "%s/" BACKUPS_DIRECTORY "/%s", s->directory, b.entry.name) < 0) {
        path = NULL;
        rc = -ENOMEM;
    }
    if (rc == 0)
        *ret = (struct store_backup){ .path = TAKE_PTR(path), .bytes = b.entry.bytes };
    /* Without a thread for it, what is half-made is left to the next start. */
    (void)backup_on_thread(&b, backup_end);
    return rc;
}

int store_backup(struct store *s, struct store_backup *ret)
{
    struct co_scope shield;
    int rc;

    if (s->backing_up)
        return -EBUSY;
    s->backing_up = true;
    co_scope_open(&shield, CO_NEVER, CO_SHIELD);
    rc = backup_make(s, ret);
    co_scope_close(&shield, 0);
    s->backing_up = false;
    return rc;
}

void store_backup_done(struct store_backup *b)
{
    free(b->path);
    *b = (struct store_backup){ 0 };
}
