#include "daemon/engine/record.h"

#include <assert.h>
#include <stdlib.h>

#include "daemon/engine/engine.h"
#include "daemon/model/job.h"

void records_init(struct records *rs, unsigned window, int64_t window_bytes)
{
    *rs = (struct records){ .window = { .max = window, .max_bytes = window_bytes } };
    list_init(&rs->active);
    list_init(&rs->recent);
}

int64_t window_shared_bytes(const struct window *w)
{
    return w->max_bytes - w->max_bytes / 4;
}

bool window_has_room(const struct window *w, bool later)
{
    if (w->n >= w->max || w->bytes >= window_shared_bytes(w))
        return false;
    return !later || (w->n_later < w->max / 2 && w->bytes < w->max_bytes / 2);
}

void window_take(struct window *w, int64_t bytes)
{
    w->n++;
    w->bytes += bytes;
}

void window_give_back(struct window *w, int64_t bytes)
{
    w->n--;
    w->bytes -= bytes;
}

void records_drop(struct records *rs, struct record *r)
{
    assert(!r->busy);
    table_remove(&rs->by_key, &r->by_key);
    list_remove(&r->place);
    if (job_state_ended(r->job->state)) {
        rs->n_recent--;
        rs->recent_bytes -= r->bytes;
    } else {
        record_set_later(r, false);
        window_give_back(&rs->window, r->bytes);
    }
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
    list_init(&r->local);
    list_init(&r->postponed);
    due_item_init(&r->due, NULL);
    due_item_init(&r->deadline, NULL);
    lane_entry_init(&r->entry, NULL);
    return r;
}

struct record *record_free(struct record *r)
{
    if (!r)
        return NULL;
    assert(!r->busy);
    list_remove(&r->member);
    list_remove(&r->held);
    list_remove(&r->local);
    list_remove(&r->postponed);
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
    r->bytes = job_bytes(r->job);
    window_take(&rs->window, r->bytes);
    return 0;
}

static void records_trim(struct records *rs)
{
    while (rs->n_recent > RECORDS_RECENT_MAX || rs->recent_bytes > RECORDS_RECENT_MAX_BYTES)
        records_drop(rs, list_entry(rs->recent.next, struct record, place));
}

void records_end(struct records *rs, struct record *r)
{
    assert(job_state_ended(r->job->state) && !r->busy);

    list_remove(&r->place);
    record_set_later(r, false);
    window_give_back(&rs->window, r->bytes);
    list_append(&rs->recent, &r->place);
    r->bytes = job_bytes(r->job);
    rs->n_recent++;
    rs->recent_bytes += r->bytes;
    records_trim(rs);
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

void record_enter_busy(struct record *r)
{
    assert(!r->busy);
    r->busy = true;
    r->engine->records.window.n--;
    list_append(&r->engine->busy, &r->busy_place);
    r->engine->n_busy++;
}

void record_leave_busy(struct record *r)
{
    assert(r->busy);
    r->busy = false;
    r->engine->records.window.n++;
    list_remove(&r->busy_place);
    if (--r->engine->n_busy == 0)
        co_condition_notify_all(&r->engine->quiet);
}

void record_set_later(struct record *r, bool later)
{
    struct window *w = &r->engine->records.window;

    if (r->later == later)
        return;
    r->later = later;
    w->n_later = later ? w->n_later + 1 : w->n_later - 1;
}
