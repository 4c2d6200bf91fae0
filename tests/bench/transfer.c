/*
 * What a job's way to its origin and back costs: all of them queue in the lanes of their URLs, a
 * coroutine is spawned for each that is admitted, and runs transfer_run(). No policy, no store.
 * Prints one line of JSON with the CPU of the main thread and of the transfer threads, in
 * microseconds per request; compare with bench-bare.
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
#include "daemon/engine/lane.h"
#include "daemon/transfer/egress.h"
#include "daemon/transfer/transfer.h"

#define TRY_NS      (30 * CLOCK_US_PER_S * CLOCK_NS_PER_US)
#define BODY_BYTES  (10 * 1024 * 1024)
#define BODY_MEMORY (64 * 1024 * 1024)

/* What a job is here. */
struct fetch {
    struct bench *bench;
    struct lane_entry entry;
    const char *url;
};

struct bench {
    struct loop *loop;
    struct transfer *transfer;
    struct egress *egress;
    struct lanes lanes;
    struct fetch *fetches;
    struct co_event ended; /* the last one has */
    char **urls, **origins;
    int n_urls;
    long requests, concurrency, threads;
    long finished, failed;
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

static void fetch_count(struct bench *b, const struct answer *answer)
{
    if (answer->attempt.error.failure != FAILURE_NONE || answer->attempt.status != 200) {
        b->failed++;
        snprintf(b->message, sizeof(b->message), "%s",
                answer->attempt.error.message ? answer->attempt.error.message : "not 200");
    }
    b->bytes += answer->body.bytes;
    if (++b->finished == b->requests)
        co_event_set(&b->ended);
}

CO_SUSPENDS static int fetch_main(void *arg)
{
    struct fetch *f = arg;
    struct bench *b = f->bench;
    struct answer answer;
    struct exchange x = {
        .url = f->url,
        .method = "GET",
        .deadline_ns = clock_mono_ns() + TRY_NS,
        .max_body_bytes = BODY_BYTES,
        .idempotent = true,
        .file = "bench-transfer-body",
    };

    if (transfer_run(b->transfer, &x, &answer) < 0)
        die("an exchange could not be made");
    lane_leave(&b->lanes, &f->entry);
    fetch_count(b, &answer);
    answer_done(&answer);
    lanes_return_slot(&b->lanes);
    return 0;
}

static void fetch_admitted(struct lane_entry *entry)
{
    if (co_spawn_detached("job", fetch_main, CONTAINER_OF(entry, struct fetch, entry)) < 0)
        die("out of memory");
}

static void bench_queue(struct bench *b)
{
    b->fetches = calloc((size_t)b->requests, sizeof(*b->fetches));
    if (!b->fetches)
        die("out of memory");
    lanes_open(&b->lanes);
    for (long i = 0; i < b->requests; i++) {
        struct fetch *f = &b->fetches[i];

        f->bench = b;
        f->url = b->urls[i % b->n_urls];
        lane_entry_init(&f->entry, fetch_admitted);
        if (lane_enter(&b->lanes, &f->entry, b->origins[i % b->n_urls], 0, false) < 0)
            die("out of memory");
    }
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
    struct error why = { "" };
    int64_t begun_us;
    int rc = transfer_new(b->loop, &options, b->egress, &b->transfer, &why);

    if (rc < 0)
        die(why.text);
    begun_us = cpu_us(CLOCK_THREAD_CPUTIME_ID);
    co_event_init(&b->ended);
    bench_queue(b);
    rc = co_event_wait(&b->ended);
    b->main_us = cpu_us(CLOCK_THREAD_CPUTIME_ID) - begun_us;
    transfer_free(b->transfer);
    close(options.body_directory_fd);
    return rc;
}

/* scheme://host:port of each URL. */
static void find_origins(struct bench *b)
{
    b->origins = calloc((size_t)b->n_urls, sizeof(*b->origins));
    if (!b->origins)
        die("out of memory");
    for (int i = 0; i < b->n_urls; i++) {
        const char *host = strstr(b->urls[i], "://");

        b->origins[i] =
                host ? strndup(b->urls[i], (size_t)(host + 3 - b->urls[i]) + strcspn(host + 3, "/"))
                     : NULL;
        if (!b->origins[i])
            die("a bad URL");
    }
}

static void bench_free(struct bench *b)
{
    lanes_done(&b->lanes);
    free(b->fetches);
    for (int i = 0; i < b->n_urls; i++)
        free(b->origins[i]);
    free(b->origins);
    egress_unref(b->egress);
    loop_free(b->loop);
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
    find_origins(&b);
    if (egress_new(&rules, &b.egress, &why) < 0 || loop_new(&b.loop) < 0 ||
            lanes_init(&b.lanes, (unsigned)b.concurrency,
                    (unsigned)(b.concurrency + b.n_urls - 1) / (unsigned)b.n_urls, NULL, 0) < 0)
        die("out of memory");
    rc = co_run(b.loop, &tasks, bench_run, &b);
    process_us = cpu_us(CLOCK_PROCESS_CPUTIME_ID);
    printf("{\"requests\":%ld,\"failed\":%ld,\"bytes\":%lld,\"seconds\":%.6f,"
           "\"cpu_us\":%.2f,\"main_us\":%.2f,\"transfer_us\":%.2f}\n",
            b.finished, b.failed, b.bytes, (double)(clock_mono_us() - begun_us) / 1e6,
            (double)process_us / (double)b.requests, (double)b.main_us / (double)b.requests,
            (double)(process_us - b.main_us) / (double)b.requests);
    if (b.failed)
        fprintf(stderr, "bench-transfer: %s\n", b.message);
    bench_free(&b);
    return rc < 0 || b.failed > 0;
}
