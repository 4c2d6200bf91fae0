/* The calls that write. Each is an operation in its caller's frame. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/failpoint.h"
#include "daemon/store/sqlite_idempotency.h"
#include "daemon/store/sqlite_loading.h"
#include "daemon/store/sqlite_write.h"
#include "daemon/store/store.h"
#include "daemon/store/store_internal.h"

#define BATCH_SLICE_JOBS 256 /* of a batch in one transaction, two rows each: a group */
#define ROWS_OF_JOB      2

struct insert_op {
    struct op op;
    struct job *const *jobs;
    struct store_outcome *outcomes;
    size_t n;
};

static int insert_job(struct sqlite *db, const struct job *j, struct store_outcome *ret)
{
    int rc = 0;

    *ret = (struct store_outcome){ 0 };
    if (j->spec.idempotency)
        rc = sqlite_claim_key(db, j->spec.idempotency, j->id, ret);
    if (rc < 0 || ret->insertion != STORE_INSERTED)
        return rc;
    return sqlite_write_job(db, j);
}

static int insert_run(struct op *op, struct sqlite *db)
{
    struct insert_op *i = CONTAINER_OF(op, struct insert_op, op);
    int rc = 0;

    for (size_t at = 0; rc == 0 && at < i->n; at++)
        rc = insert_job(db, i->jobs[at], &i->outcomes[at]);
    return rc;
}

static const struct op_class insert_class = { .run = insert_run, .inserts = true };

int store_insert(
        struct store *s, struct job *const *jobs, size_t n, struct store_outcome *ret_outcomes)
{
    struct insert_op i = {
        .op = { .class = &insert_class, .rows = (unsigned)n * ROWS_OF_JOB },
        .jobs = jobs,
        .outcomes = ret_outcomes,
        .n = n,
    };

    return worker_run(&s->worker, &i.op);
}

struct insert_batch_op {
    struct op op;
    const struct batch *batch;
    struct job *const *jobs;
    size_t n;
    const struct idempotency *idempotency;
    struct store_outcome outcome;
    bool waits;   /* the key's batch is being inserted by somebody else */
    size_t at;    /* jobs that are committed */
    size_t slice; /* jobs that this run put behind them */
};

/* Before the first slice; outcome and waits say whether there will be one. */
static int insert_batch_begin(struct insert_batch_op *i, struct sqlite *db)
{
    int rc = 0;

    i->outcome = (struct store_outcome){ 0 };
    if (i->idempotency)
        rc = sqlite_claim_key(db, i->idempotency, i->batch->id, &i->outcome);
    i->waits = i->outcome.insertion != STORE_INSERTED && loading_hides(db, i->outcome.id.key);
    if (rc < 0 || i->outcome.insertion != STORE_INSERTED)
        return rc;
    return loading_begin(db, i->batch);
}

static int insert_batch_slice(struct insert_batch_op *i, struct sqlite *db)
{
    size_t left = i->n - i->at;
    int rc = 0;

    i->slice = left < BATCH_SLICE_JOBS ? left : BATCH_SLICE_JOBS;
    for (size_t j = 0; rc == 0 && j < i->slice; j++)
        rc = sqlite_write_job(db, i->jobs[i->at + j]);
    if (rc == 0 && i->slice == left)
        rc = loading_end(db, i->batch);
    if (i->slice == left)
        failpoint(loading_last_slice);
    else if (i->at == 0)
        failpoint(loading_first_slice);
    else
        failpoint(loading_middle_slice);
    return rc;
}

static int insert_batch_run(struct op *op, struct sqlite *db)
{
    struct insert_batch_op *i = CONTAINER_OF(op, struct insert_batch_op, op);
    int rc = i->at == 0 ? insert_batch_begin(i, db) : 0;

    if (rc < 0 || i->outcome.insertion != STORE_INSERTED)
        return rc;
    return insert_batch_slice(i, db);
}

static bool insert_batch_settle(struct op *op, struct sqlite *db, int rc)
{
    struct insert_batch_op *i = CONTAINER_OF(op, struct insert_batch_op, op);

    if (rc < 0) {
        loading_drop(db, i->batch->id.key);
        return false;
    }
    /* The insertion that it waits for is in the queue too, or being dropped: each turn makes progress. */
    if (i->outcome.insertion != STORE_INSERTED)
        return i->waits;
    i->at += i->slice;
    if (i->at < i->n)
        return true;
    failpoint(loading_after_last);
    loading_show(db, i->batch->id.key);
    return false;
}

static const struct op_class insert_batch_class = {
    .run = insert_batch_run,
    .settle = insert_batch_settle,
    .inserts = true,
};

int store_insert_batch(struct store *s, const struct batch *b, struct job *const *jobs, size_t n,
        const struct idempotency *idempotency, struct store_outcome *ret)
{
    struct insert_batch_op i = {
        .op = {
            .class = &insert_batch_class,
            .rows = (unsigned)(n < BATCH_SLICE_JOBS ? n : BATCH_SLICE_JOBS) * ROWS_OF_JOB,
        },
        .batch = b,
        .jobs = jobs,
        .n = n,
        .idempotency = idempotency,
    };
    int rc = worker_run(&s->worker, &i.op);

    if (rc == 0)
        *ret = i.outcome;
    return rc;
}

struct checkpoint_op {
    struct op op;
    struct checkpoint *const *checkpoints;
    size_t n;
    const struct batch *batch;
};

static int checkpoint_run(struct op *op, struct sqlite *db)
{
    struct checkpoint_op *c = CONTAINER_OF(op, struct checkpoint_op, op);
    int rc = 0;

    for (size_t at = 0; rc == 0 && at < c->n; at++)
        rc = sqlite_write_checkpoint(db, c->checkpoints[at]);
    if (rc == 0 && c->batch)
        rc = sqlite_update_batch(db, c->batch);
    return rc;
}

static const struct op_class checkpoint_class = { .run = checkpoint_run };

static unsigned checkpoint_rows(const struct checkpoint *c)
{
    return 2 + (c->result != NULL) + (unsigned)c->n_release;
}

/* Whoever reads a batch's ends in their order would miss one that is written after a later one. */
static void checkpoint_place(struct op_place *p, const struct checkpoint *c)
{
    if (!job_state_ended(c->state) || c->job->batch.key == 0)
        return;
    if (p->series == 0 || p->n > c->finished_seq)
        *p = (struct op_place){ .series = c->job->batch.key, .n = c->finished_seq };
}

int store_checkpoint(
        struct store *s, struct checkpoint *const *checkpoints, size_t n, const struct batch *batch)
{
    struct checkpoint_op c = {
        .op = { .class = &checkpoint_class, .rows = batch != NULL },
        .checkpoints = checkpoints,
        .n = n,
        .batch = batch,
    };

    for (size_t i = 0; i < n; i++) {
        c.op.rows += checkpoint_rows(checkpoints[i]);
        checkpoint_place(&c.op.place, checkpoints[i]);
    }
    return worker_run(&s->worker, &c.op);
}

struct in_flight_op {
    struct op op;
    size_t n;
    int64_t keys[];
};
_Static_assert(offsetof(struct in_flight_op, op) == 0, "the worker frees the operation");

/* A job that ended meanwhile, or is not there, has nothing to be marked. */
static int in_flight_run(struct op *op, struct sqlite *db)
{
    struct in_flight_op *i = CONTAINER_OF(op, struct in_flight_op, op);
    int rc = 0;

    for (size_t at = 0; rc == 0 && at < i->n; at++)
        rc = sqlite_write_in_flight(db, i->keys[at]);
    return rc;
}

static const struct op_class in_flight_class = { .run = in_flight_run };

int store_mark_in_flight(struct store *s, const int64_t *keys, size_t n)
{
    struct in_flight_op *i = calloc(1, sizeof(*i) + n * sizeof(*keys));

    if (!i)
        return -ENOMEM;
    i->op.class = &in_flight_class;
    i->op.rows = (unsigned)n;
    i->n = n;
    memcpy(i->keys, keys, n * sizeof(*keys));
    worker_post(&s->worker, &i->op);
    return 0;
}

struct forget_keys_op {
    struct op op;
    int64_t before_us;
    bool more;
};

static int forget_keys_run(struct op *op, struct sqlite *db)
{
    struct forget_keys_op *f = CONTAINER_OF(op, struct forget_keys_op, op);
    int rc = sqlite_forget_keys(db, f->before_us);

    f->more = rc > 0;
    return rc < 0 ? rc : 0;
}

static const struct op_class forget_keys_class = { .run = forget_keys_run };

int store_forget_keys(struct store *s, int64_t before_us)
{
    struct forget_keys_op f = {
        .op = { .class = &forget_keys_class, .rows = FORGET_SLICE },
        .before_us = before_us,
    };
    int rc = worker_run(&s->worker, &f.op);

    return rc < 0 ? rc : f.more;
}

struct update_batch_op {
    struct op op;
    const struct batch *batch;
};

static int update_batch_run(struct op *op, struct sqlite *db)
{
    return sqlite_update_batch(db, CONTAINER_OF(op, struct update_batch_op, op)->batch);
}

static const struct op_class update_batch_class = { .run = update_batch_run };

int store_update_batch(struct store *s, const struct batch *b)
{
    struct update_batch_op u = {
        .op = { .class = &update_batch_class, .rows = 1 },
        .batch = b,
    };

    return worker_run(&s->worker, &u.op);
}
