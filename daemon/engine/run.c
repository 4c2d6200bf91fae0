#include "daemon/engine/run.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "daemon/engine/record.h"

#define RUN_HELD_LOW     16 /* fewer in memory, and more are brought in */
#define RUN_NONE_MISSING UINT_MAX

void runs_done(struct runs *rs)
{
    for (size_t i = 0; i < rs->by_key.n_buckets; i++)
        for (struct table_node *n = rs->by_key.buckets[i], *next; n; n = next) {
            struct run *run = table_entry(n, struct run, by_key);

            next = n->next;
            free(run);
        }
    table_done(&rs->by_key);
    rs->n = 0;
}

static unsigned run_ended(const struct batch *b)
{
    return b->counts[JOB_SUCCEEDED] + b->counts[JOB_FAILED] + b->counts[JOB_CANCELLED];
}

struct run *run_new(struct engine *e, struct runs *rs, const struct batch *b)
{
    struct run *run = calloc(1, sizeof(*run));

    if (!run)
        return NULL;
    run->engine = e;
    run->batch = run->posted = *b;
    list_init(&run->members);
    list_init(&run->held);
    list_init(&run->postponed);
    run->let_go = b->total - run_ended(b) - b->n_held;
    run->held_out = b->n_held > 0;
    run->missing_from = RUN_NONE_MISSING;
    co_condition_init(&run->changed);
    if (table_add(&rs->by_key, &run->by_key, table_hash_int((uint64_t)b->id.key)) < 0) {
        free(run);
        return NULL;
    }
    rs->n++;
    return run;
}

struct run *runs_find(const struct runs *rs, struct uuid7 id)
{
    struct run *run;

    for (struct table_node *n = table_first(&rs->by_key, table_hash_int((uint64_t)id.key)); n;
            n = table_next(n)) {
        run = table_entry(n, struct run, by_key);
        if (run->batch.id.key == id.key)
            return run->batch.id.tail == id.tail ? run : NULL;
    }
    return NULL;
}

bool run_over(const struct run *run)
{
    return run->batch.state > BATCH_RUNNING;
}

void run_discard(struct runs *rs, struct run *run)
{
    assert(list_empty(&run->members) && list_empty(&run->postponed));
    table_remove(&rs->by_key, &run->by_key);
    rs->n--;
    free(run);
}

void run_drop_unused(struct runs *rs, struct run *run)
{
    if (run_over(run) && run->users == 0)
        run_discard(rs, run);
}

/* Mostly at the end. */
static void run_hold(struct run *run, struct record *r)
{
    struct list *after = run->held.prev;

    while (after != &run->held &&
            list_entry(after, struct record, held)->job->index > r->job->index)
        after = after->prev;
    list_append(after->next, &r->held);
    run->n_held++;
}

void run_join(struct run *run, struct record *r)
{
    r->run = run;
    list_append(&run->members, &r->member);
    if (r->job->held)
        run_hold(run, r);
}

void run_let_go(struct run *run, struct record *r)
{
    list_remove(&r->held);
    run->n_held--;
    run->let_go++;
    r->job->held = false;
}

void run_count(struct run *run, enum job_state from, enum job_state to)
{
    assert(run->batch.counts[from] > 0);
    run->batch.counts[from]--;
    run->batch.counts[to]++;
}

static enum batch_state run_verdict(const struct batch *b)
{
    if (b->counts[JOB_SUCCEEDED] == b->total)
        return BATCH_SUCCEEDED; /* a cancel that came too late changed nothing */
    return b->cancelled ? BATCH_CANCELLED : BATCH_FAILED;
}

void run_settle(struct run *run)
{
    struct batch *b = &run->batch;

    if (run_ended(b) == b->total)
        b->state = run_verdict(b);
}

static void run_add_sums(struct batch *b, const struct checkpoint *c)
{
    if (c->started_us)
        b->work_us += c->finished_us - c->started_us;
    if (b->finished_us < c->finished_us)
        b->finished_us = c->finished_us;
}

void run_miss(struct run *run, const struct job *j)
{
    if (run->missing_from > j->index)
        run->missing_from = j->index;
}

void run_retry(struct run *run)
{
    run->missing_from = RUN_NONE_MISSING;
}

/* One that came by itself, to be cancelled, may be ahead of others. */
static struct record *run_next(const struct run *run)
{
    struct record *r;

    if (list_empty(&run->held))
        return NULL;
    r = list_entry(run->held.next, struct record, held);
    if (r->job->index >= run->missing_from)
        return NULL;
    return run->held_out && r->job->index >= run->held_from ? NULL : r;
}

bool run_wants_held(const struct run *run, bool room)
{
    if (!run->held_out || run->cancelling || run->missing_from != RUN_NONE_MISSING)
        return false;
    if (room && run->n_held < RUN_HELD_LOW)
        return true;
    return run->let_go < run->batch.concurrency && !run_next(run);
}

struct record *run_choose_successor(struct run *run)
{
    struct batch *b = &run->posted;
    struct record *r = run_next(run);

    if (!r || run->cancelling || b->concurrency == 0 || run->let_go >= b->concurrency)
        return NULL;
    run->let_go++;
    run->n_held--;
    list_remove(&r->held);
    return r;
}

const struct batch *run_post_end(
        struct run *run, struct record *r, struct checkpoint *c, struct record **ret_successor)
{
    struct batch *b = &run->posted;

    if (list_empty(&r->held)) {
        run->let_go--;
    } else {
        list_remove(&r->held);
        run->n_held--;
    }
    c->finished_seq = ++b->finished_seq;
    b->counts[c->state]++;
    run_add_sums(b, c);
    if (c->state == JOB_FAILED && b->on_error == ON_ERROR_CANCEL)
        run->cancelling = true;
    *ret_successor = run_choose_successor(run);
    if (run_ended(b) < b->total)
        return NULL;
    b->state = run_verdict(b);
    return b;
}

void run_end_member(struct run *run, struct record *r)
{
    struct batch *b = &run->batch;
    const struct job *j = r->job;

    list_remove(&r->member);
    r->run = NULL;
    if (j->started_us)
        b->work_us += j->finished_us - j->started_us;
    if (b->finished_us < j->finished_us)
        b->finished_us = j->finished_us;
    if (b->finished_seq < j->finished_seq)
        b->finished_seq = j->finished_seq;
    run_settle(run);
    co_condition_notify_all(&run->changed);
}
