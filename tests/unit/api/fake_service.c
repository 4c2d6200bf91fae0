#include "tests/unit/api/fake_service.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/list.h"
#include "daemon/base/table.h"
#include "daemon/co/co.h"
#include "tests/unit/api/fake_keys.h"

#define FAKE_COMMIT_NS 200000

struct fake_job {
    struct job *job;
    struct table_node node;
    struct list all;
    struct service *service;
};

struct fake_batch {
    struct batch batch;
    struct list node;
};

struct service {
    struct clock clock;
    struct uuid7_source ids;
    struct table table;
    struct list jobs; /* newest first */
    struct list batches;
    struct list keys;
    struct co_condition changed;
    struct service_rules rules;
    int bodies_fd;
    bool backing_up;
    unsigned backups;
};

struct service *fake_service_new(int bodies_fd)
{
    struct service *s = calloc(1, sizeof(*s));

    assert(s);
    s->clock = clock_start();
    s->bodies_fd = bodies_fd;
    list_init(&s->jobs);
    list_init(&s->batches);
    list_init(&s->keys);
    co_condition_init(&s->changed);
    s->rules = (struct service_rules){ .max_body_bytes = 10 << 20,
        .refs = 1,
        .defaults = { .timeout_us = 30000000,
                .max_body_bytes = 1 << 20,
                .fetch_attempts = 1,
                .delivery_attempts = 3,
                .fetch_redirects = 5,
                .backoff_us = 1000000,
                .max_backoff_us = 300000000 } };
    return s;
}

void fake_service_free(struct service *s)
{
    struct list *node;

    while ((node = list_pop(&s->jobs))) {
        struct fake_job *f = list_entry(node, struct fake_job, all);

        job_unref(f->job);
        free(f);
    }
    while ((node = list_pop(&s->batches)))
        free(list_entry(node, struct fake_batch, node));
    fake_keys_done(&s->keys);
    table_done(&s->table);
    free(s);
}

bool service_ready(const struct service *s)
{
    (void)s;
    return true;
}

const struct clock *service_clock(const struct service *s)
{
    return &s->clock;
}

int service_bodies_fd(const struct service *s)
{
    return s->bodies_fd;
}

struct service_rules *service_rules_ref(struct service *s)
{
    __atomic_add_fetch(&s->rules.refs, 1, __ATOMIC_RELAXED);
    return &s->rules;
}

struct service_rules *service_rules_unref(struct service_rules *r)
{
    __atomic_sub_fetch(&r->refs, 1, __ATOMIC_RELAXED);
    return NULL;
}

int service_vet(const struct service_rules *r, const char *url, struct request_spec *request,
        struct error *ret_why)
{
    size_t n = strcspn(url, "/"), host = 0;

    (void)r;
    if (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0)
        host = n + 2;
    if (host == 0 || !url[host])
        return error_set(ret_why, -EINVAL, "must be an http or https URL");
    if (strncmp(url + host, "10.", 3) == 0)
        return error_set(ret_why, -EACCES, "10.0.0.0/8 is private");
    request->url = strdup(url);
    request->origin = strndup(url, host + strcspn(url + host, "/"));
    return request->url && request->origin ? 0 : -ENOMEM;
}

static struct fake_job *fake_find(struct service *s, struct uuid7 id)
{
    for (struct table_node *n = table_first(&s->table, table_hash_int((uint64_t)id.key)); n;
            n = table_next(n)) {
        struct fake_job *f = CONTAINER_OF(n, struct fake_job, node);

        if (f->job->id.key == id.key && f->job->id.tail == id.tail)
            return f;
    }
    return NULL;
}

static struct fake_batch *fake_find_batch(struct service *s, struct uuid7 id)
{
    list_for_each (it, &s->batches) {
        struct fake_batch *b = list_entry(it, struct fake_batch, node);

        if (b->batch.id.key == id.key && b->batch.id.tail == id.tail)
            return b;
    }
    return NULL;
}

static void fake_count(struct service *s, struct job *j, enum job_state from, enum job_state to)
{
    struct fake_batch *b = j->batch.key ? fake_find_batch(s, j->batch) : NULL;

    if (!b)
        return;
    b->batch.counts[from]--;
    b->batch.counts[to]++;
    if (!job_state_ended(to))
        return;
    j->finished_seq = ++b->batch.finished_seq;
    b->batch.finished_us = j->finished_us;
    b->batch.work_us += j->finished_us - j->started_us;
    if (b->batch.counts[JOB_SUCCEEDED] + b->batch.counts[JOB_CANCELLED] == b->batch.total)
        b->batch.state = b->batch.counts[JOB_CANCELLED] ? BATCH_CANCELLED : BATCH_SUCCEEDED;
}

static void fake_end(struct service *s, struct job *j, enum job_state state)
{
    enum job_state from = j->state;

    if (job_state_ended(j->state))
        return;
    j->state = state;
    j->finished_us = clock_now_us(&s->clock);
    if (state == JOB_SUCCEEDED && j->spec.request.url) {
        j->result = (struct job_result){ .status = 200, .body_bytes = 5 };
        pack_header(&j->result.headers, "x-answer", "1");
        j->result.body_type = strdup("text/plain");
    }
    if (state == JOB_CANCELLED)
        j->error =
                (struct job_error){ .failure = FAILURE_CANCELLED, .message = strdup("cancelled") };
    fake_count(s, j, from, state);
    co_condition_notify_all(&s->changed);
}

static int fake_run(void *arg)
{
    struct fake_job *f = arg;
    struct job *j = f->job;

    j->started_us = clock_now_us(&f->service->clock);
    co_sleep(j->spec.request.url ? FAKE_FETCH_MS * 1000000LL : j->spec.wait_us * 1000);
    fake_end(f->service, j, JOB_SUCCEEDED);
    return 0;
}

static int fake_insert(struct service *s, struct job_spec *spec, struct uuid7 batch, unsigned index,
        struct job **ret)
{
    struct fake_job *f = calloc(1, sizeof(*f));

    assert(f);
    f->service = s;
    f->job = job_new(spec);
    uuid7_next(&s->ids, clock_now_us(&s->clock), &f->job->id);
    f->job->created_us = f->job->due_us = clock_now_us(&s->clock);
    f->job->batch = batch;
    f->job->index = index;
    list_prepend(&s->jobs, &f->all);
    table_add(&s->table, &f->node, table_hash_int((uint64_t)f->job->id.key));
    *ret = job_ref(f->job);
    return co_spawn_detached("fake job", fake_run, f);
}

static enum submit_outcome fake_submit_one(
        struct service *s, struct job_spec *spec, struct job **ret)
{
    bool forgotten = spec->name && strcmp(spec->name, "forgotten") == 0;
    struct idempotency is, *given = spec->idempotency;
    enum submit_outcome outcome = SUBMIT_ACCEPTED;
    struct uuid7 id;

    *ret = NULL;
    if (given) {
        is = *given;
        outcome = fake_keys_look_up(&s->keys, given, &id);
    }
    if (outcome == SUBMIT_REPLAYED && forgotten)
        outcome = SUBMIT_FORGOTTEN;
    if (outcome == SUBMIT_REPLAYED)
        *ret = job_ref(fake_find(s, id)->job);
    if (outcome != SUBMIT_ACCEPTED) {
        job_spec_done(spec);
        *spec = (struct job_spec){ 0 };
        return outcome;
    }
    if (fake_insert(s, spec, (struct uuid7){ 0 }, 0, ret) < 0)
        abort();
    if (given)
        fake_keys_remember(&s->keys, &is, (*ret)->id);
    return outcome;
}

static int fake_refusal(const struct job_spec *spec)
{
    static const struct {
        const char *name;
        int rc;
    } refusals[] = { { "disk full", -ENOSPC }, { "queue full", -EAGAIN },
        { "too many origins", -EUSERS }, { "shutting down", -ESHUTDOWN } };

    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        if (spec->name && strcmp(spec->name, refusals[i].name) == 0)
            return refusals[i].rc;
    return 0;
}

int service_submit(struct service *s, struct job_spec *specs, size_t n, struct job **ret_jobs,
        enum submit_outcome *ret_outcomes)
{
    int rc = co_sleep(FAKE_COMMIT_NS);

    if (rc == 0)
        rc = fake_refusal(&specs[0]);
    for (size_t i = 0; i < n && rc == 0; i++)
        ret_outcomes[i] = fake_submit_one(s, &specs[i], &ret_jobs[i]);
    return rc;
}

static void fake_insert_batch(struct service *s, const struct batch *options,
        struct job_spec *specs, size_t n, struct submitted_batch *ret)
{
    struct fake_batch *b = calloc(1, sizeof(*b));

    assert(b);
    b->batch = *options;
    uuid7_next(&s->ids, clock_now_us(&s->clock), &b->batch.id);
    b->batch.state = BATCH_RUNNING;
    b->batch.total = b->batch.counts[JOB_PENDING] = (unsigned)n;
    b->batch.created_us = clock_now_us(&s->clock);
    list_prepend(&s->batches, &b->node);
    for (size_t i = 0; i < n; i++) {
        struct job *j;

        if (fake_insert(s, &specs[i], b->batch.id, (unsigned)i, &j) < 0)
            abort();
        job_unref(j);
    }
    ret->batch = b->batch;
}

static void fake_list_ids(struct service *s, struct submitted_batch *ret)
{
    ret->n = ret->batch.total;
    ret->ids = calloc(ret->n, sizeof(*ret->ids));
    assert(ret->ids);
    list_for_each (it, &s->jobs) {
        struct job *j = list_entry(it, struct fake_job, all)->job;

        if (j->batch.key == ret->batch.id.key)
            ret->ids[j->index] = j->id;
    }
}

int service_submit_batch(struct service *s, const struct batch *options, struct job_spec *specs,
        size_t n, const struct idempotency *idempotency, struct submitted_batch *ret)
{
    int rc = co_sleep(FAKE_COMMIT_NS);
    struct uuid7 id;

    if (rc == 0)
        rc = fake_refusal(&specs[0]);
    if (rc < 0)
        return rc;
    *ret = (struct submitted_batch){ .outcome = SUBMIT_ACCEPTED };
    if (idempotency)
        ret->outcome = fake_keys_look_up(&s->keys, idempotency, &id);
    if (ret->outcome == SUBMIT_MISMATCHED)
        return 0;
    if (ret->outcome == SUBMIT_REPLAYED)
        ret->batch = fake_find_batch(s, id)->batch;
    else
        fake_insert_batch(s, options, specs, n, ret);
    if (ret->outcome == SUBMIT_ACCEPTED && idempotency)
        fake_keys_remember(&s->keys, idempotency, ret->batch.id);
    fake_list_ids(s, ret);
    return 0;
}

unsigned service_retry_after_s(const struct service *s, int refusal)
{
    (void)s;
    return refusal == -ENOSPC ? 31 : refusal == -EAGAIN ? 7 : refusal == -EUSERS ? 8 : 9;
}

int service_backup(struct service *s, struct store_backup *ret)
{
    int rc;

    if (s->backing_up)
        return -EBUSY;
    if (s->backups++ == 1)
        return -ENOSPC;
    s->backing_up = true;
    rc = co_sleep(FAKE_BACKUP_MS * 1000000LL);
    s->backing_up = false;
    *ret = (struct store_backup){ .path = strdup("/var/backups/1"), .bytes = 4096 };
    return rc;
}

int service_get(struct service *s, struct uuid7 id, struct job **ret)
{
    struct fake_job *f = fake_find(s, id);
    int rc = co_yield();

    if (rc < 0 || !f)
        return rc < 0 ? rc : -ENOENT;
    *ret = job_ref(f->job);
    return 0;
}

static int fake_wait(struct service *s, int64_t deadline_ns)
{
    struct co_scope scope;

    co_scope_open(&scope, deadline_ns, 0);
    return co_scope_close(&scope, co_condition_wait(&s->changed));
}

int service_wait(struct service *s, struct uuid7 id, int64_t deadline_ns, struct job **ret)
{
    struct fake_job *f = fake_find(s, id);
    int rc = 0;

    if (!f)
        return -ENOENT;
    while (!job_state_ended(f->job->state) && rc == 0)
        rc = fake_wait(s, deadline_ns);
    if (rc < 0 && rc != -ETIMEDOUT)
        return rc;
    *ret = job_ref(f->job);
    return 0;
}

int service_cancel(struct service *s, struct uuid7 id, struct job **ret)
{
    struct fake_job *f = fake_find(s, id);

    if (!f)
        return -ENOENT;
    *ret = job_ref(f->job);
    if (f->job->state == JOB_SUCCEEDED || f->job->state == JOB_FAILED)
        return -EALREADY;
    fake_end(s, f->job, JOB_CANCELLED);
    return 0;
}

int service_body(struct service *s, struct uuid7 id, enum job_step step, struct store_body *ret)
{
    struct fake_job *f = fake_find(s, id);
    const char *name;

    if (!f)
        return -ENOENT;
    if (!job_state_ended(f->job->state))
        return -EBUSY;
    if (!f->job->spec.request.url || (step != STEP_MAX && step != f->job->step))
        return -ENODATA;
    name = f->job->spec.name ? f->job->spec.name : "";
    *ret = (struct store_body){ .type = strdup("text/html") };
    if (strcmp(name, "in a file") == 0)
        snprintf(ret->body.file, sizeof(ret->body.file), "large");
    else if (strcmp(name, "binary") == 0)
        ret->body.data = memcpy(malloc(5), "\x00\xff\x01\xfe\x02", 5);
    else
        ret->body.data = memcpy(malloc(5), "hello", 5);
    ret->body.bytes = ret->body.file[0] ? 200000 : 5;
    return 0;
}

int service_list(struct service *s, const struct store_filter *filter, int64_t from, size_t limit,
        bool full, struct store_page *ret)
{
    struct store_page page = { .jobs = calloc(limit, sizeof(struct job *)) };
    int rc = co_yield();

    (void)full;
    assert(page.jobs);
    list_for_each (it, &s->jobs) {
        struct job *j = list_entry(it, struct fake_job, all)->job;

        if ((from && j->id.key > from) ||
                (filter->states && !(filter->states & 1U << job_shown_state(j))) ||
                (filter->batch.key && filter->batch.key != j->batch.key))
            continue;
        if (page.n == limit) {
            page.next = j->id.key;
            break;
        }
        page.jobs[page.n++] = job_ref(j);
    }
    *ret = page;
    return rc;
}

int service_get_batch(struct service *s, struct uuid7 id, struct batch *ret)
{
    struct fake_batch *b = fake_find_batch(s, id);
    int rc = co_yield();

    if (rc < 0 || !b)
        return rc < 0 ? rc : -ENOENT;
    *ret = b->batch;
    return 0;
}

int service_wait_batch(struct service *s, struct uuid7 id, int64_t deadline_ns, struct batch *ret)
{
    struct fake_batch *b = fake_find_batch(s, id);
    int rc = 0;

    if (!b)
        return -ENOENT;
    while (b->batch.state == BATCH_RUNNING && rc == 0)
        rc = fake_wait(s, deadline_ns);
    if (rc < 0 && rc != -ETIMEDOUT)
        return rc;
    *ret = b->batch;
    return 0;
}

int service_cancel_batch(struct service *s, struct uuid7 id, struct batch *ret)
{
    struct fake_batch *b = fake_find_batch(s, id);

    if (!b)
        return -ENOENT;
    if (b->batch.state == BATCH_SUCCEEDED)
        return -EALREADY;
    list_for_each (it, &s->jobs) {
        struct job *j = list_entry(it, struct fake_job, all)->job;

        if (j->batch.key == id.key)
            fake_end(s, j, JOB_CANCELLED);
    }
    *ret = b->batch;
    return 0;
}

int service_list_batches(struct service *s, int64_t from, size_t limit, struct store_batches *ret)
{
    struct store_batches page = { .batches = calloc(limit, sizeof(struct batch)) };

    assert(page.batches);
    list_for_each (it, &s->batches) {
        struct batch *b = &list_entry(it, struct fake_batch, node)->batch;

        if (from && b->id.key > from)
            continue;
        if (page.n == limit) {
            page.next = b->id.key;
            break;
        }
        page.batches[page.n++] = *b;
    }
    *ret = page;
    return co_yield();
}

static int by_finish(const void *a, const void *b)
{
    const struct job *left = *(struct job *const *)a, *right = *(struct job *const *)b;

    return left->finished_seq < right->finished_seq ? -1 : left->finished_seq > right->finished_seq;
}

int service_batch_results(struct service *s, struct uuid7 id, int64_t after, size_t limit,
        int64_t deadline_ns, struct store_page *ret, bool *ret_ended)
{
    struct fake_batch *b = fake_find_batch(s, id);
    struct store_page page = { 0 };
    int rc = 0;

    if (!b)
        return -ENOENT;
    while (b->batch.finished_seq <= after && b->batch.state == BATCH_RUNNING && rc == 0)
        rc = fake_wait(s, deadline_ns);
    if (rc < 0 && rc != -ETIMEDOUT)
        return rc;
    page.jobs = calloc(b->batch.total, sizeof(struct job *));
    assert(page.jobs);
    list_for_each (it, &s->jobs) {
        struct job *j = list_entry(it, struct fake_job, all)->job;

        if (j->batch.key == id.key && j->finished_seq > after)
            page.jobs[page.n++] = job_ref(j);
    }
    qsort(page.jobs, page.n, sizeof(*page.jobs), by_finish);
    while (page.n > limit)
        job_unref(page.jobs[--page.n]);
    *ret_ended = b->batch.state != BATCH_RUNNING &&
                 (page.n == 0 || page.jobs[page.n - 1]->finished_seq == b->batch.finished_seq) &&
                 (page.n > 0 || after >= b->batch.finished_seq);
    *ret = page;
    return 0;
}

void store_page_done(struct store_page *p)
{
    for (size_t i = 0; i < p->n; i++)
        job_unref(p->jobs[i]);
    free(p->jobs);
    *p = (struct store_page){ 0 };
}

void store_batches_done(struct store_batches *b)
{
    free(b->batches);
    *b = (struct store_batches){ 0 };
}

void store_body_done(struct store_body *b)
{
    body_done(&b->body);
    free(b->type);
    *b = (struct store_body){ 0 };
}

void store_backup_done(struct store_backup *b)
{
    free(b->path);
    *b = (struct store_backup){ 0 };
}
