#include "daemon/engine/record.h"

#include <assert.h>
#include <stdlib.h>

#include "daemon/model/job.h"

void records_init(struct records *rs)
{
    *rs = (struct records){ 0 };
    list_init(&rs->active);
    list_init(&rs->recent);
}

void records_drop(struct records *rs, struct record *r)
{
    table_remove(&rs->by_key, &r->by_key);
    list_remove(&r->place);
    record_free(r);
}

void records_done(struct records *rs)
{
    while (!list_empty(&rs->active))
        records_drop(rs, list_entry(rs->active.next, struct record, place));
    while (!list_empty(&rs->recent))
        records_drop(rs, list_entry(rs->recent.next, struct record, place));
    table_done(&rs->by_key);
}

struct record *record_new(struct engine *e, struct job *job)
{
    struct record *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->engine = e;
    r->job = job;
    list_init(&r->place);
    list_init(&r->busy_place);
    list_init(&r->member);
    list_init(&r->held);
    due_item_init(&r->due, NULL);
    due_item_init(&r->deadline, NULL);
    lane_entry_init(&r->entry, NULL);
    co_condition_init(&r->ended);
    return r;
}

struct record *record_free(struct record *r)
{
    if (!r)
        return NULL;
    assert(!r->busy && list_empty(&r->ended.waiters));
    list_remove(&r->member);
    list_remove(&r->held);
    job_unref(r->job);
    free(r);
    return NULL;
}

int records_add(struct records *rs, struct record *r)
{
    int rc = table_add(&rs->by_key, &r->by_key, table_hash_int((uint64_t)r->job->id.key));

    if (rc < 0)
        return rc;
    list_append(&rs->active, &r->place);
    rs->n_active++;
    return 0;
}

void records_end(struct records *rs, struct record *r)
{
    assert(job_state_ended(r->job->state));

    list_remove(&r->place);
    rs->n_active--;
    list_append(&rs->recent, &r->place);
    if (++rs->n_recent > RECORDS_RECENT_MAX) {
        rs->n_recent--;
        records_drop(rs, list_entry(rs->recent.next, struct record, place));
    }
}

struct record *records_find(const struct records *rs, struct uuid7 id)
{
    struct record *r;

    for (struct table_node *n = table_first(&rs->by_key, table_hash_int((uint64_t)id.key)); n;
            n = table_next(n)) {
        r = table_entry(n, struct record, by_key);
        if (r->job->id.key == id.key)
            return r->job->id.tail == id.tail ? r : NULL;
    }
    return NULL;
}
