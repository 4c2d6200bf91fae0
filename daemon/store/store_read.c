/* The calls that read. */
#include "daemon/base/buf.h"
#include "daemon/base/cleanup.h"
#include "daemon/store/sqlite_read.h"
#include "daemon/store/store.h"
#include "daemon/store/store_internal.h"

#define BATCH_IDS_SLICE 4096 /* read at a time: others wait for it */

struct get_op {
    struct op op;
    struct uuid7 id;
    struct job *job;
};

static int get_run(struct op *op, struct sqlite *db)
{
    struct get_op *g = CONTAINER_OF(op, struct get_op, op);

    return sqlite_read_job(db, g->id, &g->job);
}

static const struct op_class get_class = { .run = get_run, .reads = true };

int store_get(struct store *s, struct uuid7 id, struct job **ret)
{
    struct get_op g = { .op = { .class = &get_class }, .id = id };
    int rc = worker_run(&s->worker, &g.op);

    if (rc == 0)
        *ret = g.job;
    return rc;
}

struct get_body_op {
    struct op op;
    struct uuid7 id;
    enum job_step step;
    struct store_body body;
};

static int get_body_run(struct op *op, struct sqlite *db)
{
    struct get_body_op *g = CONTAINER_OF(op, struct get_body_op, op);

    return sqlite_read_body(db, g->id, g->step, &g->body);
}

static const struct op_class get_body_class = { .run = get_body_run, .reads = true };

int store_get_body(struct store *s, struct uuid7 id, enum job_step step, struct store_body *ret)
{
    struct get_body_op g = { .op = { .class = &get_body_class }, .id = id, .step = step };
    int rc = worker_run(&s->worker, &g.op);

    if (rc == 0)
        *ret = g.body;
    return rc;
}

struct list_op {
    struct op op;
    const struct store_filter *filter;
    int64_t from;
    size_t limit;
    bool full;
    struct store_page page;
};

static int list_run(struct op *op, struct sqlite *db)
{
    struct list_op *l = CONTAINER_OF(op, struct list_op, op);

    return sqlite_list_jobs(db, l->filter, l->from, l->limit, l->full, &l->page);
}

static const struct op_class list_class = { .run = list_run, .reads = true };

CO_SUSPENDS static int list_call(struct store *s, struct list_op *l, struct store_page *ret)
{
    int rc = worker_run(&s->worker, &l->op);

    if (rc == 0)
        *ret = l->page;
    return rc;
}

int store_list(struct store *s, const struct store_filter *filter, int64_t from, size_t limit,
        bool full, struct store_page *ret)
{
    struct list_op l = {
        .op = { .class = &list_class },
        .filter = filter,
        .from = from,
        .limit = limit,
        .full = full,
    };

    return list_call(s, &l, ret);
}

struct list_finished_op {
    struct list_op list;
    int64_t batch_key;
};

static int list_finished_run(struct op *op, struct sqlite *db)
{
    struct list_finished_op *l = CONTAINER_OF(op, struct list_finished_op, list.op);

    return sqlite_list_finished(db, l->batch_key, l->list.from, l->list.limit, &l->list.page);
}

static const struct op_class list_finished_class = { .run = list_finished_run, .reads = true };

int store_list_finished(
        struct store *s, int64_t batch_key, int64_t after, size_t limit, struct store_page *ret)
{
    struct list_finished_op l = {
        .list = { .op = { .class = &list_finished_class }, .from = after, .limit = limit },
        .batch_key = batch_key,
    };

    return list_call(s, &l.list, ret);
}

struct get_batch_op {
    struct op op;
    struct uuid7 id;
    struct batch batch;
};

static int get_batch_run(struct op *op, struct sqlite *db)
{
    struct get_batch_op *g = CONTAINER_OF(op, struct get_batch_op, op);

    return sqlite_read_batch(db, g->id, &g->batch);
}

static const struct op_class get_batch_class = { .run = get_batch_run, .reads = true };

int store_get_batch(struct store *s, struct uuid7 id, struct batch *ret)
{
    struct get_batch_op g = { .op = { .class = &get_batch_class }, .id = id };
    int rc = worker_run(&s->worker, &g.op);

    if (rc == 0)
        *ret = g.batch;
    return rc;
}

struct batch_ids_op {
    struct op op;
    int64_t batch_key;
    int64_t from, next;
    struct uuid7 *ids; /* room for a slice */
    size_t n;
};

static int batch_ids_run(struct op *op, struct sqlite *db)
{
    struct batch_ids_op *b = CONTAINER_OF(op, struct batch_ids_op, op);

    return sqlite_list_batch_ids(
            db, b->batch_key, b->from, BATCH_IDS_SLICE, b->ids, &b->n, &b->next);
}

static const struct op_class batch_ids_class = { .run = batch_ids_run, .reads = true };

int store_batch_ids(struct store *s, int64_t batch_key, struct uuid7 **ret_ids, size_t *ret_n)
{
    struct batch_ids_op b = { .batch_key = batch_key };
    struct buf ids CLEANUP(buf_done) = { 0 };
    int rc;

    do {
        rc = buf_reserve(&ids, BATCH_IDS_SLICE * sizeof(*b.ids));
        if (rc < 0)
            return rc;
        b.op = (struct op){ .class = &batch_ids_class };
        b.ids = (struct uuid7 *)(void *)(ids.data + ids.n);
        b.from = b.next;
        rc = worker_run(&s->worker, &b.op);
        if (rc < 0)
            return rc;
        ids.n += b.n * sizeof(*b.ids);
    } while (b.next);
    *ret_n = ids.n / sizeof(**ret_ids);
    *ret_ids = (struct uuid7 *)(void *)TAKE_PTR(ids.data);
    return 0;
}

struct list_batches_op {
    struct op op;
    bool running_only;
    int64_t from;
    size_t limit;
    struct store_batches batches;
};

static int list_batches_run(struct op *op, struct sqlite *db)
{
    struct list_batches_op *l = CONTAINER_OF(op, struct list_batches_op, op);

    return sqlite_list_batches(db, l->running_only, l->from, l->limit, &l->batches);
}

static const struct op_class list_batches_class = { .run = list_batches_run, .reads = true };

int store_list_batches(
        struct store *s, bool running_only, int64_t from, size_t limit, struct store_batches *ret)
{
    struct list_batches_op l = {
        .op = { .class = &list_batches_class },
        .running_only = running_only,
        .from = from,
        .limit = limit,
    };
    int rc = worker_run(&s->worker, &l.op);

    if (rc == 0)
        *ret = l.batches;
    return rc;
}
