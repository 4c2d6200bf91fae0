#include "daemon/engine/waits.h"

#include <assert.h>
#include <stdlib.h>

#include "daemon/model/job.h"

void waits_done(struct waits *ws)
{
    assert(ws->by_key.n == 0);
    table_done(&ws->by_key);
}

static struct wait *waits_find(const struct waits *ws, struct uuid7 id)
{
    struct table_node *n;

    if (ws->by_key.n == 0)
        return NULL;
    for (n = table_first(&ws->by_key, table_hash_int((uint64_t)id.key)); n; n = table_next(n)) {
        struct wait *w = table_entry(n, struct wait, by_key);

        if (w->id.key == id.key && w->id.tail == id.tail)
            return w;
    }
    return NULL;
}

struct wait *wait_enter(struct waits *ws, struct uuid7 id)
{
    struct wait *w = waits_find(ws, id);

    if (!w) {
        w = calloc(1, sizeof(*w));
        if (!w)
            return NULL;
        w->id = id;
        co_condition_init(&w->changed);
        if (table_add(&ws->by_key, &w->by_key, table_hash_int((uint64_t)id.key)) < 0) {
            free(w);
            return NULL;
        }
    }
    w->users++;
    return w;
}

void wait_leave(struct waits *ws, struct wait *w)
{
    if (--w->users > 0)
        return;
    table_remove(&ws->by_key, &w->by_key);
    job_unref(w->job);
    free(w);
}

void waits_end(struct waits *ws, struct job *j)
{
    struct wait *w = waits_find(ws, j->id);

    if (!w || w->job)
        return;
    w->job = job_ref(j);
    co_condition_notify_all(&w->changed);
}

void waits_wake(struct waits *ws)
{
    for (size_t i = 0; i < ws->by_key.n_buckets; i++)
        for (struct table_node *n = ws->by_key.buckets[i]; n; n = n->next)
            co_condition_notify_all(&table_entry(n, struct wait, by_key)->changed);
}
