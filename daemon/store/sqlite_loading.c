#include "daemon/store/sqlite_loading.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/base/failpoint.h"
#include "daemon/store/sqlite.h"
#include "daemon/store/sqlite_idempotency.h"
#include "daemon/store/sqlite_statement.h"
#include "daemon/store/sqlite_write.h"

#define DROP_SLICE 512 /* jobs removed in one transaction: others wait for it */

struct loading {
    struct list link;
    int64_t batch_key;
    bool dropping;
};

static struct loading *loading_get(const struct sqlite *d, int64_t batch_key)
{
    list_for_each (it, &d->loading) {
        struct loading *l = list_entry(it, struct loading, link);

        if (l->batch_key == batch_key)
            return l;
    }
    return NULL;
}

static struct loading *loading_add(struct sqlite *d, int64_t batch_key)
{
    struct loading *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->batch_key = batch_key;
    list_append(&d->loading, &l->link);
    return l;
}

static void loading_remove(struct loading *l)
{
    list_remove(&l->link);
    free(l);
}

int loading_find(struct sqlite *d)
{
    struct row r CLEANUP_ROW = statement_start(d, LIST_BATCHES_RUNNING);
    int rc;

    row_put_int(&r, INT64_MAX);
    while ((rc = statement_next(&r)) > 0) {
        struct loading *l;

        if (sqlite3_column_int64(r.statement, BATCH_COLUMN_STATE) != BATCH_LOADING)
            continue;
        l = loading_add(d, sqlite3_column_int64(r.statement, 0));
        if (!l)
            return -ENOMEM;
        l->dropping = true;
    }
    return rc;
}

void loading_done(struct sqlite *d)
{
    list_for_each_safe (it, &d->loading)
        loading_remove(list_entry(it, struct loading, link));
}

int loading_begin(struct sqlite *d, const struct batch *b)
{
    struct loading *l = loading_get(d, b->id.key);
    struct batch hidden = *b;

    if (l && l->dropping)
        return -EEXIST;
    if (!l && !loading_add(d, b->id.key))
        return -ENOMEM;
    hidden.state = BATCH_LOADING;
    return sqlite_write_batch(d, &hidden);
}

int loading_end(struct sqlite *d, const struct batch *b)
{
    struct row r = statement_start(d, SHOW_BATCH);

    row_put_int(&r, b->state);
    row_put_int(&r, b->id.key);
    return statement_run(&r);
}

void loading_show(struct sqlite *d, int64_t batch_key)
{
    struct loading *l = loading_get(d, batch_key);

    if (l)
        loading_remove(l);
}

void loading_drop(struct sqlite *d, int64_t batch_key)
{
    struct loading *l = loading_get(d, batch_key);

    if (l)
        l->dropping = true;
}

bool loading_any(const struct sqlite *d)
{
    return !list_empty(&d->loading);
}

bool loading_hides(const struct sqlite *d, int64_t batch_key)
{
    return loading_get(d, batch_key);
}

bool loading_drops(const struct sqlite *d, int64_t batch_key)
{
    const struct loading *l = loading_get(d, batch_key);

    return l && l->dropping;
}

static int loading_delete(struct sqlite *d, enum statement which, int64_t batch_key)
{
    struct row r = statement_start(d, which);

    row_put_int(&r, batch_key);
    row_put_int(&r, DROP_SLICE);
    return statement_run(&r);
}

/* *ret_empty: all of it is gone, the batch's own row and its idempotency key too. */
static int loading_delete_slice(struct sqlite *d, int64_t batch_key, bool *ret_empty)
{
    int rc = loading_delete(d, DROP_LABELS, batch_key);

    if (rc == 0)
        rc = loading_delete(d, DROP_LIVE, batch_key);
    if (rc == 0)
        rc = loading_delete(d, DROP_PAGED, batch_key);
    if (rc == 0)
        rc = loading_delete(d, DROP_JOBS, batch_key);
    *ret_empty = rc == 0 && sqlite3_changes(d->db) == 0;
    if (*ret_empty) {
        struct row r = statement_start(d, DELETE_BATCH);

        row_put_int(&r, batch_key);
        rc = statement_run(&r);
        if (rc == 0)
            rc = sqlite_drop_key(d, batch_key);
    }
    return rc;
}

int loading_drop_slice(struct sqlite *d)
{
    struct loading *l = NULL;
    bool empty;
    int rc;

    list_for_each (it, &d->loading)
        if (list_entry(it, struct loading, link)->dropping)
            l = list_entry(it, struct loading, link);
    if (!l)
        return 0;

    rc = sqlite_begin(d);
    if (rc < 0)
        return rc;
    rc = loading_delete_slice(d, l->batch_key, &empty);
    if (rc < 0) {
        sqlite_rollback(d);
        return rc;
    }
    failpoint(loading_drop_slice);
    rc = sqlite_commit(d);
    if (rc < 0)
        return rc;
    if (empty)
        loading_remove(l);
    return 1;
}
