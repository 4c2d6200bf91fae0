/*
 * What a job's whole life costs the store: insert, then one checkpoint with an attempt and an
 * answer of 1 KiB. `bench-store DIRECTORY JOBS TASKS [JOBS_PER_CALL]`; the directory must be on the
 * disk that is meant, and is not emptied.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/loop.h"
#include "daemon/co/co.h"
#include "daemon/store/store.h"
#include "daemon/store/store_internal.h"

#define MAX_PER_CALL 512

static struct {
    struct store *store;
    struct uuid7_source ids;
    unsigned left, tasks, per_call;
} bench;

static void check(int rc, const char *what)
{
    if (rc == 0)
        return;
    fprintf(stderr, "%s: %s\n", what, strerror(-rc));
    exit(1);
}

static void check_memory(const void *p)
{
    check(p ? 0 : -ENOMEM, "memory");
}

static struct job *make_job(void)
{
    struct job_spec spec = {
        .timeout_us = 30000000,
        .max_body_bytes = 10 << 20,
        .redirects = 5,
        .expect = { .n = 1, .range = { { 200, 299 } } },
        .attempts = 1,
        .backoff_us = 1000000,
        .max_backoff_us = 300000000,
        .idempotent = true,
    };
    struct job *j;

    spec.request.url = strdup("http://127.0.0.1:8080/files/1k.html");
    spec.request.origin = strdup("http://127.0.0.1:8080");
    spec.request.method = strdup("GET");
    check(pack_header(&spec.request.headers, "accept", "*/*"), "header");
    j = job_new(&spec);
    check_memory(j);
    j->created_us = j->due_us = clock_wall_us();
    check(uuid7_next(&bench.ids, j->created_us, &j->id), "id");
    return j;
}

static void set_attempt(struct attempt *a, const struct job *j)
{
    *a = (struct attempt){
        .n = 1,
        .url = strdup(j->spec.request.url),
        .method = strdup(j->spec.request.method),
        .started_us = clock_wall_us(),
        .lane_wait_us = 130,
        .dns_us = PHASE_NOT_TAKEN,
        .connect_us = PHASE_NOT_TAKEN,
        .tls_us = PHASE_NOT_TAKEN,
        .send_us = 20,
        .first_byte_us = 160,
        .receive_us = 15,
        .total_us = 195,
        .reused = true,
        .http_version = 11,
        .remote = "127.0.0.1:8080",
        .sent_bytes = 90,
        .received_bytes = 1300,
        .reached = PHASE_RESPONSE,
        .status = 200,
    };
}

static void set_result(struct job_result *r)
{
    static const char *const headers[][2] = {
        { "server", "nginx/1.22.1" },
        { "date", "Sat, 22 Nov 2025 13:00:00 GMT" },
        { "content-type", "text/html" },
        { "content-length", "1024" },
        { "last-modified", "Sat, 22 Nov 2025 12:00:00 GMT" },
        { "connection", "keep-alive" },
        { "etag", "\"692193d0-400\"" },
        { "accept-ranges", "bytes" },
    };

    *r = (struct job_result){ .status = 200, .body_bytes = 1024 };
    r->body_type = strdup("text/html");
    for (size_t i = 0; i < ARRAY_LEN(headers); i++)
        check(pack_header(&r->headers, headers[i][0], headers[i][1]), "header");
}

static void finish_job(struct job *j)
{
    struct checkpoint c, *one = &c;
    struct body body = { .bytes = 1024, .data = calloc(1, 1024) };
    struct job_result result;

    checkpoint_init(&c, j);
    c.state = JOB_SUCCEEDED;
    c.tries = 1;
    c.started_us = c.finished_us = clock_wall_us();
    c.attempts = calloc(1, sizeof(*c.attempts));
    check_memory(c.attempts);
    set_attempt(c.attempts, j);
    c.n_attempts = 1;
    set_result(&result);
    c.result = &result;
    c.body = &body;
    check(job_make_room(j, &c), "memory");
    check(store_checkpoint(bench.store, &one, 1, NULL), "checkpoint");
    job_apply(j, &c);
    checkpoint_done(&c);
    body_done(&body);
    job_unref(j);
}

static int work(void *arg)
{
    struct job **jobs = calloc(MAX_PER_CALL, sizeof(struct job *));
    struct store_outcome *outcomes = calloc(MAX_PER_CALL, sizeof(*outcomes));

    (void)arg;
    check_memory(jobs);
    check_memory(outcomes);
    while (bench.left > 0) {
        unsigned n = bench.left < bench.per_call ? bench.left : bench.per_call;

        bench.left -= n;
        for (unsigned i = 0; i < n; i++)
            jobs[i] = make_job();
        check(store_insert(bench.store, jobs, n, outcomes), "insert");
        for (unsigned i = 0; i < n; i++)
            finish_job(jobs[i]);
    }
    free(outcomes);
    free(jobs);
    return 0;
}

static int run(void *arg)
{
    struct co_group group;

    (void)arg;
    co_group_open(&group);
    for (unsigned i = 0; i < bench.tasks; i++)
        check(co_group_spawn(&group, "work", work, NULL, NULL), "spawn");
    return co_group_close(&group, 0);
}

static double store_cpu_us(void)
{
    struct timespec t;
    clockid_t clock;

    pthread_getcpuclockid(bench.store->worker.thread, &clock);
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void failed(void *arg)
{
    (void)arg;
    check(-EIO, "store");
}

int main(int argc, char **argv)
{
    struct store_options options = { .directory = argc > 1 ? argv[1] : NULL };
    struct co_options co = { .max_tasks = 10000, .max_threads = 1 };
    struct loop *loop;
    struct error why;
    double cpu_us;
    int64_t start_us;
    unsigned jobs;

    if (argc < 4) {
        fprintf(stderr, "usage: bench-store DIRECTORY JOBS TASKS [JOBS_PER_CALL]\n");
        return 2;
    }
    bench.left = jobs = (unsigned)atoi(argv[2]);
    bench.tasks = (unsigned)atoi(argv[3]);
    bench.per_call = argc > 4 ? (unsigned)atoi(argv[4]) : 1;
    if (bench.per_call > MAX_PER_CALL)
        bench.per_call = MAX_PER_CALL;
    if (store_open(&options, failed, NULL, &bench.store, &why) < 0) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    bench.ids.last_key = store_last_key(bench.store);
    check(loop_new(&loop), "loop");
    cpu_us = store_cpu_us();
    start_us = clock_mono_us();
    check(co_run(loop, &co, run, NULL), "run");
    start_us = clock_mono_us() - start_us;
    cpu_us = store_cpu_us() - cpu_us;
    printf("%u jobs, %u tasks: %.1f us of the store thread per job, %.0f jobs/s\n", jobs,
            bench.tasks, cpu_us / jobs, jobs * 1e6 / (double)start_us);
    store_close(bench.store);
    loop_free(loop);
    return 0;
}
