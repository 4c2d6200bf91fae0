/*
 * The calls that page. They write, so they are committed with their group, and may be repeated
 * when that is rolled back: a run begins by freeing what the one before it gave.
 */
#include <errno.h>
#include <stdlib.h>

#include "daemon/base/cleanup.h"
#include "daemon/store/sqlite_page.h"
#include "daemon/store/store.h"
#include "daemon/store/store_internal.h"

struct page_op {
    struct op op;
    int64_t of; /* the lane, or the batch */
    int priority;
    int64_t place; /* until when, or from which index */
    bool held_only;
    size_t limit;
    int64_t max_bytes;
    struct store_page page;
};

static int page_class_run(struct op *op, struct sqlite *db)
{
    struct page_op *p = CONTAINER_OF(op, struct page_op, op);

    store_page_done(&p->page);
    return sqlite_page_class(db, p->of, p->priority, p->place, p->limit, p->max_bytes, &p->page);
}

static int page_ends_run(struct op *op, struct sqlite *db)
{
    struct page_op *p = CONTAINER_OF(op, struct page_op, op);

    store_page_done(&p->page);
    return sqlite_page_ends(db, p->place, p->limit, &p->page);
}

static int page_batch_run(struct op *op, struct sqlite *db)
{
    struct page_op *p = CONTAINER_OF(op, struct page_op, op);

    store_page_done(&p->page);
    return sqlite_page_batch(db, p->of, p->place, p->held_only, p->limit, &p->page);
}

static const struct op_class page_class_class = { .run = page_class_run };
static const struct op_class page_ends_class = { .run = page_ends_run };
static const struct op_class page_batch_class = { .run = page_batch_run };

CO_SUSPENDS static int page_call(struct store *s, struct page_op *p, struct store_page *ret)
{
    int rc;

    p->op.rows = (unsigned)p->limit;
    rc = worker_run(&s->worker, &p->op);
    if (rc == 0)
        *ret = p->page;
    else
        store_page_done(&p->page);
    return rc;
}

int store_page_class(struct store *s, int64_t lane, int priority, int64_t due_us, size_t limit,
        int64_t max_bytes, struct store_page *ret)
{
    struct page_op p = {
        .op = { .class = &page_class_class },
        .of = lane,
        .priority = priority,
        .place = due_us,
        .limit = limit,
        .max_bytes = max_bytes,
    };

    return page_call(s, &p, ret);
}

int store_page_ends(struct store *s, int64_t ends_us, size_t limit, struct store_page *ret)
{
    struct page_op p = {
        .op = { .class = &page_ends_class },
        .place = ends_us,
        .limit = limit,
    };

    return page_call(s, &p, ret);
}

int store_page_batch(struct store *s, int64_t batch_key, int64_t from, bool held_only, size_t limit,
        struct store_page *ret)
{
    struct page_op p = {
        .op = { .class = &page_batch_class },
        .of = batch_key,
        .place = from,
        .held_only = held_only,
        .limit = limit,
    };

    return page_call(s, &p, ret);
}

struct page_job_op {
    struct op op;
    struct uuid7 id;
    struct job *job;
    int outcome; /* -ENOENT and -EALREADY are no failures, for which a whole group would be rolled back */
};

static int page_job_run(struct op *op, struct sqlite *db)
{
    struct page_job_op *p = CONTAINER_OF(op, struct page_job_op, op);
    int rc;

    p->job = job_unref(p->job);
    rc = sqlite_page_job(db, p->id, &p->job);
    p->outcome = rc == -ENOENT || rc == -EALREADY ? rc : 0;
    return p->outcome ? 0 : rc;
}

static const struct op_class page_job_class = { .run = page_job_run };

int store_page_job(struct store *s, struct uuid7 id, struct job **ret)
{
    struct page_job_op p = { .op = { .class = &page_job_class, .rows = 1 }, .id = id };
    int rc = worker_run(&s->worker, &p.op);

    if (rc == 0)
        rc = p.outcome;
    if (rc == 0)
        *ret = p.job;
    else
        job_unref(p.job);
    return rc;
}

void store_census_done(struct store_census *c)
{
    free(c->classes);
    free(c->flying);
    *c = (struct store_census){ 0 };
}

struct census_op {
    struct op op;
    struct store_census census;
};

static int census_run(struct op *op, struct sqlite *db)
{
    struct census_op *c = CONTAINER_OF(op, struct census_op, op);

    store_census_done(&c->census);
    return sqlite_take_census(db, &c->census);
}

static const struct op_class census_class = { .run = census_run };

int store_take_census(struct store *s, struct store_census *ret)
{
    struct census_op c = { .op = { .class = &census_class, .rows = 1 } };
    int rc = worker_run(&s->worker, &c.op);

    if (rc == 0)
        *ret = c.census;
    else
        store_census_done(&c.census);
    return rc;
}

struct clock_op {
    struct op op;
    int64_t offset_us;
    int64_t after, next; /* of a slice: where it begins, and where it has ended */
    bool more;
};

static int redate_run(struct op *op, struct sqlite *db)
{
    struct clock_op *c = CONTAINER_OF(op, struct clock_op, op);
    int rc;

    c->next = c->after;
    rc = sqlite_redate(db, c->offset_us, &c->next);
    c->more = rc > 0;
    return rc < 0 ? rc : 0;
}

static const struct op_class redate_class = { .run = redate_run };

int store_redate(struct store *s, int64_t offset_us, int64_t *after)
{
    struct clock_op c = {
        .op = { .class = &redate_class, .rows = 1 },
        .offset_us = offset_us,
        .after = *after,
    };
    int rc = worker_run(&s->worker, &c.op);

    if (rc < 0)
        return rc;
    *after = c.next;
    return c.more;
}

static int clock_offset_run(struct op *op, struct sqlite *db)
{
    return sqlite_set_clock_offset(db, CONTAINER_OF(op, struct clock_op, op)->offset_us);
}

static const struct op_class clock_offset_class = { .run = clock_offset_run };

int store_set_clock_offset(struct store *s, int64_t offset_us)
{
    struct clock_op c = {
        .op = { .class = &clock_offset_class, .rows = 1 },
        .offset_us = offset_us,
    };

    return worker_run(&s->worker, &c.op);
}
