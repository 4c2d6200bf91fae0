#include "tests/unit/store/sample.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/clock.h"

int sample_setup(void **state)
{
    struct sample *s = calloc(1, sizeof(*s));

    if (!s)
        return -1;
    /* In memory where it goes: nothing here depends on how slow a disk is. */
    snprintf(s->directory, sizeof(s->directory), "%s/baedal-store-XXXXXX",
            access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(s->directory))
        return -1;
    snprintf(s->database, sizeof(s->database), "%s/baedal.db", s->directory);
    snprintf(s->bodies, sizeof(s->bodies), "%s/bodies", s->directory);
    *state = s;
    return 0;
}

static int remove_one(const char *path, const struct stat *file, int kind, struct FTW *place)
{
    (void)file;
    (void)kind;
    (void)place;
    return remove(path);
}

int sample_teardown(void **state)
{
    struct sample *s = *state;

    nftw(s->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(s);
    return 0;
}

struct uuid7 sample_id(void)
{
    static struct uuid7_source source;
    struct uuid7 id;

    assert_int_equal(uuid7_next(&source, clock_wall_us(), &id), 0);
    return id;
}

static void set_request(struct request_spec *q, const char *url, const char *origin)
{
    q->url = strdup(url);
    q->origin = strdup(origin);
    q->method = strdup("GET");
}

static void set_body(struct request_spec *q, size_t n, char fill)
{
    q->body.data = malloc(n);
    q->body.n = n;
    q->body_bytes = (int64_t)n;
    memset(q->body.data, fill, n);
}

static struct job *make_job(struct job_spec *spec)
{
    struct job *j = job_new(spec);

    assert_non_null(j);
    j->id = sample_id();
    j->created_us = clock_wall_us();
    j->due_us = j->created_us + 5;
    return j;
}

struct job *sample_fetch(void)
{
    struct job_spec spec = {
        .kind = JOB_FETCH,
        .timeout_us = 30000000,
        .max_body_bytes = 10 << 20,
        .redirects = 5,
        .expect = { .n = 1, .range = { { 200, 299 } } },
        .attempts = 1,
        .backoff_us = 1000000,
        .max_backoff_us = 300000000,
        .idempotent = true,
    };

    set_request(&spec.request, "http://127.0.0.1:8080/file", "http://127.0.0.1:8080");
    assert_int_equal(pack_header(&spec.request.headers, "accept", "*/*"), 0);
    return make_job(&spec);
}

static void set_labels(struct job_spec *spec)
{
    char text[JOB_LABEL_MAX_BYTES + 1];

    spec->n_labels = JOB_LABELS_MAX;
    spec->labels = calloc(spec->n_labels, sizeof(*spec->labels));
    for (size_t i = 0; i < spec->n_labels; i++) {
        /* Not in alphabetical order. */
        snprintf(text, sizeof(text), "key-%zu-라벨", spec->n_labels - i);
        spec->labels[i].key = strdup(text);
        memset(text, 'v', JOB_LABEL_MAX_BYTES);
        text[i == 3 ? 0 : JOB_LABEL_MAX_BYTES] = 0;
        spec->labels[i].value = strdup(text);
    }
}

struct job *sample_full(void)
{
    char name[32], value[400];
    struct job *j;
    struct job_spec spec = {
        .kind = JOB_DELIVERY,
        .name = strdup("배달 – “first” ☕"),
        .wait_us = 9000001,
        .timeout_us = 30000002,
        .deadline_us = 600000003,
        .delay_us = 4,
        .at_us = 1800000000000005,
        .max_body_bytes = 6,
        .redirects = 7,
        .attempts = JOB_ATTEMPTS_MAX,
        .backoff_us = 1000008,
        .max_backoff_us = INT64_MAX,
        .priority = -JOB_PRIORITY_MAX,
        .on_unknown = UNKNOWN_FAIL,
        .idempotent = true,
        .executor = EXECUTOR_PROCESS,
    };

    set_request(&spec.request, "https://example.com/a?b=c", "https://example.com:443");
    set_request(&spec.collect, "https://example.org/%20", "https://example.org:443");
    spec.request.method[0] = 'S';
    set_body(&spec.request, 65536, 0);
    set_body(&spec.collect, 3, (char)0xff);
    for (int i = 0; i < JOB_HEADERS_MAX; i++) {
        snprintf(name, sizeof(name), "x-%d", i);
        memset(value, 'a' + i % 26, sizeof(value));
        value[i == 0 ? 0 : sizeof(value) - 1] = 0;
        assert_int_equal(pack_header(&spec.request.headers, name, value), 0);
    }
    spec.expect.n = STATUS_RANGES_MAX;
    for (uint16_t i = 0; i < STATUS_RANGES_MAX; i++) {
        spec.expect.range[i].first = 200 + i;
        spec.expect.range[i].last = 500 + i;
    }
    set_labels(&spec);
    j = make_job(&spec);
    j->state = JOB_WAITING;
    j->step = STEP_DELIVER;
    j->held = true;
    return j;
}

struct batch sample_batch(unsigned total)
{
    return (struct batch){
        .id = sample_id(),
        .run = BATCH_SEQUENCE,
        .on_error = ON_ERROR_CANCEL,
        .concurrency = 3,
        .state = BATCH_RUNNING,
        .total = total,
        .counts = { [JOB_PENDING] = total },
        .created_us = clock_wall_us(),
    };
}

struct job **sample_jobs(const struct batch *b)
{
    struct job **jobs = calloc(b->total, sizeof(struct job *));

    assert_non_null(jobs);
    for (unsigned i = 0; i < b->total; i++) {
        jobs[i] = sample_fetch();
        jobs[i]->batch = b->id;
        jobs[i]->index = i;
        jobs[i]->held = i > 0;
    }
    return jobs;
}

void sample_jobs_free(struct job **jobs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        job_unref(jobs[i]);
    free(jobs);
}

static struct attempt make_attempt(const struct job *j)
{
    const struct request_spec *q = j->step == STEP_COLLECT ? &j->spec.collect : &j->spec.request;
    struct attempt a = {
        .n = j->tries + 1,
        .step = j->step,
        .url = strdup(q->url),
        .method = strdup(q->method),
        .started_us = clock_wall_us(),
        .lane_wait_us = 130,
        .dns_us = PHASE_NOT_TAKEN,
        .connect_us = 55,
        .tls_us = PHASE_NOT_TAKEN,
        .send_us = 0,
        .first_byte_us = 160,
        .receive_us = 15,
        .total_us = 230,
        .reused = true,
        .http_version = 11,
        .remote = "127.0.0.1:8080",
        .sent_bytes = 90,
        .received_bytes = 1300,
        .reached = PHASE_RESPONSE,
        .status = 200,
    };

    return a;
}

void sample_step_init(struct sample_step *s, struct job *j, enum job_state state, const char *body)
{
    struct checkpoint *c = &s->checkpoint;

    *s = (struct sample_step){ .result = { .status = 200, .step = j->step } };
    checkpoint_init(c, j);
    c->state = state;
    c->tries++;
    c->started_us = j->created_us + 100;
    c->finished_us = job_state_ended(state) ? j->created_us + 1000 : 0;
    c->n_attempts = 1;
    c->attempts = calloc(1, sizeof(*c->attempts));
    c->attempts[0] = make_attempt(j);
    c->result = &s->result;
    assert_int_equal(pack_header(&s->result.headers, "content-type", "text/plain"), 0);
    s->result.body_type = strdup("text/plain");
    if (!body)
        return;
    c->body = &s->body;
    s->body.bytes = s->result.body_bytes = (int64_t)strlen(body);
    s->body.data = strdup(body);
}

void sample_step_apply(struct sample_step *s)
{
    struct job *j = s->checkpoint.job;

    assert_int_equal(job_make_room(j, &s->checkpoint), 0);
    assert_int_equal(job_make_room(j, &s->checkpoint), 0);
    job_apply(j, &s->checkpoint);
    if (job_state_ended(j->state))
        j->held = false; /* nothing can hold it back any more, and it is not kept */
    sample_step_done(s);
}

void sample_step_done(struct sample_step *s)
{
    checkpoint_done(&s->checkpoint);
    job_result_done(&s->result);
    body_done(&s->body);
}

static void assert_same_text(const char *a, const char *b)
{
    if (a && b)
        assert_string_equal(a, b);
    else
        assert_ptr_equal(a, b);
}

static void assert_same_blob(const struct blob *a, const struct blob *b)
{
    assert_int_equal(a->n, b->n);
    if (a->n > 0)
        assert_memory_equal(a->data, b->data, a->n);
}

static void assert_same_request(const struct request_spec *a, const struct request_spec *b)
{
    assert_same_text(a->url, b->url);
    assert_same_text(a->origin, b->origin);
    assert_same_text(a->method, b->method);
    assert_same_blob(&a->headers, &b->headers);
    assert_same_blob(&a->body, &b->body);
    assert_int_equal(a->body_bytes, b->body_bytes);
}

static void assert_same_spec(const struct job_spec *a, const struct job_spec *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_same_text(a->name, b->name);
    assert_same_request(&a->request, &b->request);
    assert_same_request(&a->collect, &b->collect);
    assert_int_equal(a->wait_us, b->wait_us);
    assert_int_equal(a->timeout_us, b->timeout_us);
    assert_int_equal(a->deadline_us, b->deadline_us);
    assert_int_equal(a->delay_us, b->delay_us);
    assert_int_equal(a->at_us, b->at_us);
    assert_int_equal(a->max_body_bytes, b->max_body_bytes);
    assert_int_equal(a->redirects, b->redirects);
    assert_memory_equal(&a->expect, &b->expect, sizeof(a->expect));
    assert_int_equal(a->attempts, b->attempts);
    assert_int_equal(a->backoff_us, b->backoff_us);
    assert_int_equal(a->max_backoff_us, b->max_backoff_us);
    assert_int_equal(a->priority, b->priority);
    assert_int_equal(a->on_unknown, b->on_unknown);
    assert_int_equal(a->idempotent, b->idempotent);
    assert_int_equal(a->executor, b->executor);
    assert_int_equal(a->n_labels, b->n_labels);
    for (size_t i = 0; i < a->n_labels; i++) {
        assert_string_equal(a->labels[i].key, b->labels[i].key);
        assert_string_equal(a->labels[i].value, b->labels[i].value);
    }
}

static void assert_same_error(const struct job_error *a, const struct job_error *b)
{
    assert_int_equal(a->failure, b->failure);
    assert_int_equal(a->phase, b->phase);
    assert_int_equal(a->retry_safe, b->retry_safe);
    assert_same_text(a->message, b->message);
}

void sample_assert_same_attempt(const struct attempt *a, const struct attempt *b)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->hop, b->hop);
    assert_int_equal(a->step, b->step);
    assert_same_text(a->url, b->url);
    assert_same_text(a->method, b->method);
    assert_int_equal(a->started_us, b->started_us);
    assert_int_equal(a->lane_wait_us, b->lane_wait_us);
    assert_int_equal(a->dns_us, b->dns_us);
    assert_int_equal(a->connect_us, b->connect_us);
    assert_int_equal(a->tls_us, b->tls_us);
    assert_int_equal(a->send_us, b->send_us);
    assert_int_equal(a->first_byte_us, b->first_byte_us);
    assert_int_equal(a->receive_us, b->receive_us);
    assert_int_equal(a->total_us, b->total_us);
    assert_int_equal(a->reused, b->reused);
    assert_int_equal(a->http_version, b->http_version);
    assert_string_equal(a->remote, b->remote);
    assert_int_equal(a->sent_bytes, b->sent_bytes);
    assert_int_equal(a->received_bytes, b->received_bytes);
    assert_int_equal(a->reached, b->reached);
    assert_int_equal(a->status, b->status);
    assert_same_error(&a->error, &b->error);
}

void sample_assert_same(const struct job *a, const struct job *b)
{
    assert_int_equal(a->id.key, b->id.key);
    assert_int_equal(a->id.tail, b->id.tail);
    assert_same_spec(&a->spec, &b->spec);
    assert_int_equal(a->batch.key, b->batch.key);
    assert_int_equal(a->batch.tail, b->batch.tail);
    assert_int_equal(a->index, b->index);
    assert_int_equal(a->held, b->held);
    assert_int_equal(a->in_flight, b->in_flight);
    assert_int_equal(a->paged_out, b->paged_out);
    assert_int_equal(a->crashes, b->crashes);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->step, b->step);
    assert_int_equal(a->tries, b->tries);
    assert_int_equal(a->created_us, b->created_us);
    assert_int_equal(a->due_us, b->due_us);
    assert_int_equal(a->started_us, b->started_us);
    assert_int_equal(a->finished_us, b->finished_us);
    assert_int_equal(a->finished_seq, b->finished_seq);
    assert_memory_equal(&a->events, &b->events, sizeof(a->events));
    assert_int_equal(a->result.status, b->result.status);
    assert_int_equal(a->result.step, b->result.step);
    assert_same_blob(&a->result.headers, &b->result.headers);
    assert_int_equal(a->result.body_bytes, b->result.body_bytes);
    assert_same_text(a->result.body_type, b->result.body_type);
    assert_int_equal(a->result.truncated, b->result.truncated);
    assert_same_error(&a->error, &b->error);
    assert_int_equal(a->n_attempts, b->n_attempts);
    for (size_t i = 0; i < a->n_attempts; i++)
        sample_assert_same_attempt(&a->attempts[i], &b->attempts[i]);
}

void sample_write_file(const char *directory, const char *name, size_t n)
{
    char path[256], *data = malloc(n);
    int fd;

    assert_non_null(data);
    memset(data, 'f', n);
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, n), n);
    close(fd);
    free(data);
}

void sample_step_use_file(const struct sample *sample, struct sample_step *s, size_t n)
{
    char id[UUID7_TEXT_SIZE];

    uuid7_format(s->checkpoint.job->id, id);
    free(s->body.data);
    s->body.data = NULL;
    s->body.bytes = s->result.body_bytes = (int64_t)n;
    snprintf(s->body.file, sizeof(s->body.file), "%s-1", id);
    s->checkpoint.body = &s->body;
    sample_write_file(sample->bodies, s->body.file, n);
}
