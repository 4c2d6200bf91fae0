/*
 * What an exchange costs: transfer_run() from a number of coroutines at once over the given URLs,
 * without lanes, policy or a store. Prints one line of JSON with the CPU of the main thread and of
 * the transfer threads, in microseconds per request; compare with bench-bare.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/loop.h"
#include "daemon/co/co.h"
#include "daemon/transfer/egress.h"
#include "daemon/transfer/transfer.h"

#define TRY_NS      (30 * CLOCK_US_PER_S * CLOCK_NS_PER_US)
#define BODY_BYTES  (10 * 1024 * 1024)
#define BODY_MEMORY (64 * 1024 * 1024)

struct bench {
    struct loop *loop;
    struct transfer *transfer;
    struct egress *egress;
    char **urls;
    int n_urls;
    long requests, concurrency, threads;
    long started, failed;
    long long bytes;
    char message[256];
    int64_t main_us;
};

static void die(const char *what)
{
    fprintf(stderr, "bench-transfer: %s\n", what);
    exit(1);
}

static int64_t cpu_us(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return t.tv_sec * CLOCK_US_PER_S + t.tv_nsec / CLOCK_NS_PER_US;
}

static int fetch_one(struct bench *b, const char *url)
{
    struct answer answer;
    struct exchange x = {
        .url = url,
        .method = "GET",
        .deadline_ns = clock_mono_ns() + TRY_NS,
        .max_body_bytes = BODY_BYTES,
        .idempotent = true,
        .file = "bench-transfer-body",
    };
    int rc = transfer_run(b->transfer, &x, &answer);

    if (rc < 0)
        return rc;
    if (answer.attempt.error.failure != FAILURE_NONE || answer.attempt.status != 200) {
        b->failed++;
        snprintf(b->message, sizeof(b->message), "%s",
                answer.attempt.error.message ? answer.attempt.error.message : "not 200");
    }
    b->bytes += answer.body.bytes;
    answer_done(&answer);
    return 0;
}

static int worker(void *arg)
{
    struct bench *b = arg;
    int rc = 0;

    while (rc == 0 && b->started < b->requests) {
        long i = b->started++;

        rc = fetch_one(b, b->urls[i % b->n_urls]);
    }
    return rc;
}

static int bench_run(void *arg)
{
    struct bench *b = arg;
    struct transfer_options options = {
        .threads = (unsigned)b->threads,
        .connect_timeout_us = 5 * CLOCK_US_PER_S,
        .body_memory_bytes = BODY_MEMORY,
        .body_directory_fd = open("/tmp", O_DIRECTORY | O_RDONLY | O_CLOEXEC),
    };
    struct co_group group;
    struct error why = { "" };
    int64_t begun_us;
    int rc = transfer_new(b->loop, &options, b->egress, &b->transfer, &why);

    if (rc < 0)
        die(why.text);
    begun_us = cpu_us(CLOCK_THREAD_CPUTIME_ID);
    co_group_open(&group);
    for (long i = 0; rc == 0 && i < b->concurrency; i++)
        rc = co_group_spawn(&group, "worker", worker, b, NULL);
    rc = co_group_close(&group, rc);
    b->main_us = cpu_us(CLOCK_THREAD_CPUTIME_ID) - begun_us;
    transfer_free(b->transfer);
    close(options.body_directory_fd);
    return rc;
}

static bool parse_arguments(struct bench *b, int argc, char **argv)
{
    static const struct option names[] = {
        { "requests", required_argument, NULL, 'n' },
        { "concurrency", required_argument, NULL, 'c' },
        { "threads", required_argument, NULL, 't' },
        { NULL, 0, NULL, 0 },
    };
    int c;

    while ((c = getopt_long(argc, argv, "n:c:t:", names, NULL)) != -1) {
        if (c == 'n')
            b->requests = atol(optarg);
        else if (c == 'c')
            b->concurrency = atol(optarg);
        else if (c == 't')
            b->threads = atol(optarg);
        else
            return false;
    }
    b->urls = argv + optind;
    b->n_urls = argc - optind;
    return b->n_urls > 0 && b->requests > 0 && b->concurrency > 0;
}

int main(int argc, char **argv)
{
    static struct bench b = { .requests = 50000, .concurrency = 256, .threads = 1 };
    static const char *const allow[] = { "127.0.0.0/8", "::1", NULL };
    struct egress_options rules = { .allow = allow };
    struct co_options tasks = { .max_tasks = 100000, .max_threads = 2 };
    struct error why;
    int64_t begun_us = clock_mono_us(), process_us;
    int rc;

    if (!parse_arguments(&b, argc, argv))
        die("usage: bench-transfer [--requests N] [--concurrency N] [--threads N] URL...");
    if (egress_new(&rules, &b.egress, &why) < 0 || loop_new(&b.loop) < 0)
        die("out of memory");
    rc = co_run(b.loop, &tasks, bench_run, &b);
    process_us = cpu_us(CLOCK_PROCESS_CPUTIME_ID);
    printf("{\"requests\":%ld,\"failed\":%ld,\"bytes\":%lld,\"seconds\":%.6f,"
           "\"cpu_us\":%.2f,\"main_us\":%.2f,\"transfer_us\":%.2f}\n",
            b.started, b.failed, b.bytes, (double)(clock_mono_us() - begun_us) / 1e6,
            (double)process_us / (double)b.requests, (double)b.main_us / (double)b.requests,
            (double)(process_us - b.main_us) / (double)b.requests);
    if (b.failed)
        fprintf(stderr, "bench-transfer: %s\n", b.message);
    egress_unref(b.egress);
    loop_free(b.loop);
    return rc < 0 || b.failed > 0;
}
