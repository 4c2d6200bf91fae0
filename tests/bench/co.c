/*
 * What the coroutine runtime costs. Prints a line for each measure that is asked for: its name, and
 * nanoseconds per operation (bytes for `parked`, a number of tasks for `guarded`). tests/bench/co
 * runs it beside co_asyncio.py and gotasks/, which measure the same under the same names.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/co/co.h"
#include "daemon/co/stack.h"
#include "daemon/co/switch.h"

#define N_SWITCHES 5000000
#define N_YIELDS   2000000
#define N_SPAWNS   500000
#define N_GATHER   10000
#define N_HOPS     2000000
#define N_TIMERS   1000000
#define N_THREADS  10000
#define N_CALLS    1000000
#define N_SLEEPS   500
#define N_PARKED   100000
#define HOUR_NS    3600000000000LL

static struct {
    struct co_task tasks[N_PARKED];
    void *main, *other;
    int64_t yields;
    struct co_channel channel;
    const char *stacks[N_PARKED];
} bench;

static void bench_check(int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "bench-co: %s\n", strerror(-rc));
    exit(1);
}

static void bench_print(const char *name, int64_t from_ns, int64_t n)
{
    printf("%s %.2f\n", name, (double)(clock_mono_ns() - from_ns) / (double)n);
    fflush(stdout);
}

static void switch_back(void *arg)
{
    (void)arg;
    for (;;)
        co_switch(&bench.other, bench.main, 0);
}

static void bench_switch(const char *name)
{
    size_t size = 65536;
    char *stack = aligned_alloc(4096, size);
    int64_t from;

    bench.other = co_switch_make(stack, stack + size, switch_back, NULL);
    from = clock_mono_ns();
    for (int i = 0; i < N_SWITCHES / 2; i++)
        co_switch(&bench.main, bench.other, 0);
    bench_print(name, from, N_SWITCHES);
    free(stack);
}

static int nothing(void *arg)
{
    return arg ? 1 : 0;
}

static int yielder(void *arg)
{
    for (int64_t i = 0; i < bench.yields; i++)
        bench_check(co_yield());
    return arg ? 1 : 0;
}

static void bench_spawn_n(size_t n, co_fn fn)
{
    for (size_t i = 0; i < n; i++)
        bench_check(co_spawn("bench", fn, (void *)i, &bench.tasks[i]));
}

/* From where each has yielded once to where the last one has ended. */
static void bench_yield(const char *name, size_t n)
{
    int64_t from;

    bench.yields = N_YIELDS / (int64_t)n + 1;
    bench_spawn_n(n, yielder);
    bench_check(co_yield());
    from = clock_mono_ns();
    bench_check(co_gather(bench.tasks, n, NULL, 0));
    bench_print(name, from, (bench.yields - 1) * (int64_t)n);
}

static void bench_yield_2(const char *name)
{
    bench_yield(name, 2);
}

static void bench_yield_10k(const char *name)
{
    bench_yield(name, 10000);
}

static void bench_yield_100k(const char *name)
{
    bench_yield(name, 100000);
}

static void bench_spawn(const char *name)
{
    int64_t from = clock_mono_ns();

    for (int i = 0; i < N_SPAWNS; i++) {
        struct co_task t;

        bench_check(co_spawn("bench", nothing, NULL, &t));
        bench_check(co_await(t, NULL));
    }
    bench_print(name, from, N_SPAWNS);
}

static void bench_eager(const char *name)
{
    int64_t from = clock_mono_ns();

    for (int i = 0; i < N_SPAWNS; i++) {
        struct co_task t;

        bench_check(co_spawn_eager("bench", nothing, NULL, &t));
        bench_check(co_await(t, NULL));
    }
    bench_print(name, from, N_SPAWNS);
}

/* The second time: the first one made the stacks. */
static void bench_gather(const char *name)
{
    int64_t from = 0;

    for (int i = 0; i < 2; i++) {
        from = clock_mono_ns();
        bench_spawn_n(N_GATHER, nothing);
        bench_check(co_gather(bench.tasks, N_GATHER, NULL, 0));
    }
    bench_print(name, from, N_GATHER);
}

static int producer(void *arg)
{
    for (int i = 0; i < N_HOPS; i++)
        bench_check(co_channel_send(&bench.channel, arg));
    return 0;
}

static void bench_hop(const char *name)
{
    struct co_task t;
    int64_t from;
    void *item;

    bench_check(co_channel_init(&bench.channel, 1));
    bench_check(co_spawn("producer", producer, &bench, &t));
    from = clock_mono_ns();
    for (int i = 0; i < N_HOPS; i++)
        bench_check(co_channel_receive(&bench.channel, &item));
    bench_print(name, from, N_HOPS);
    bench_check(co_await(t, NULL));
    co_channel_done(&bench.channel);
}

static void bench_thread(const char *name)
{
    int64_t from;

    bench_check(co_to_thread(nothing, NULL, NULL)); /* starts the thread */
    from = clock_mono_ns();
    for (int i = 0; i < N_THREADS; i++)
        bench_check(co_to_thread(nothing, NULL, NULL));
    bench_print(name, from, N_THREADS);
}

static void nothing_on_loop(void *arg)
{
    (void)arg;
}

static void bench_on_loop(const char *name)
{
    int64_t from = clock_mono_ns();

    for (int i = 0; i < N_CALLS; i++)
        co_on_loop(nothing_on_loop, NULL);
    bench_print(name, from, N_CALLS);
}

static void bench_late(const char *name)
{
    const int64_t ns = 100000;
    int64_t from = clock_mono_ns();

    for (int i = 0; i < N_SLEEPS; i++)
        bench_check(co_sleep(ns));
    bench_print(name, from + N_SLEEPS * ns, N_SLEEPS);
}

/* Somewhere in the second hour from now. */
static int64_t bench_far_ns(size_t i)
{
    return HOUR_NS + (int64_t)(i * 2654435761U % 3600000) * CLOCK_US_PER_S;
}

static int sleeper(void *arg)
{
    bench.stacks[(size_t)arg] = co_stack_of(&arg);
    return co_sleep(bench_far_ns((size_t)arg));
}

/* How many of the stacks end in a page that is no memory. */
static int bench_guarded(void)
{
    int fds[2], n = 0;

    bench_check(pipe(fds));
    for (int i = 0; i < N_PARKED; i++)
        n += write(fds[1], bench.stacks[i], 1) < 0 && errno == EFAULT;
    close(fds[0]);
    close(fds[1]);
    return n;
}

static int64_t bench_resident_bytes(void)
{
    int64_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");

    if (!f || fscanf(f, "%*d %" SCNd64, &pages) != 1)
        bench_check(-EIO);
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Bytes for each of 100,000 that sleep, and then a timer set and stopped beside theirs. */
static void bench_parked(const char *name)
{
    int64_t before = bench_resident_bytes(), from = clock_mono_ns();
    struct co_scope s;

    bench_spawn_n(N_PARKED, sleeper);
    bench_check(co_yield());
    bench_print("park", from, N_PARKED);
    printf("%s %" PRId64 "\n", name, (bench_resident_bytes() - before) / N_PARKED);
    printf("guarded %d\n", bench_guarded());
    from = clock_mono_ns();
    for (size_t i = 0; i < N_TIMERS; i++) {
        co_scope_open(&s, from + bench_far_ns(i), 0);
        co_scope_close(&s, 0);
    }
    bench_print("timer", from, N_TIMERS);
    from = clock_mono_ns();
    for (int i = 0; i < N_PARKED; i++)
        bench_check(co_cancel(bench.tasks[i]));
    bench_check(co_gather(bench.tasks, N_PARKED, NULL, CO_KEEP_ERRORS));
    bench_print("cancel", from, N_PARKED);
}

/* `parked` comes first when all are asked for: memory that others leave behind is not in its sum. */
static const struct {
    const char *name;
    void (*run)(const char *name);
} measures[] = {
    { "parked", bench_parked },
    { "switch", bench_switch },
    { "yield", bench_yield_2 },
    { "yield-10k", bench_yield_10k },
    { "yield-100k", bench_yield_100k },
    { "spawn", bench_spawn },
    { "eager", bench_eager },
    { "gather", bench_gather },
    { "hop", bench_hop },
    { "on-loop", bench_on_loop },
    { "late", bench_late },
    { "thread", bench_thread },
};

static int bench_main(void *arg)
{
    char **names = arg;

    for (size_t i = 0; i < ARRAY_LEN(measures); i++)
        for (char **name = names; *name; name++)
            if (strcmp(*name, measures[i].name) == 0)
                measures[i].run(measures[i].name);
    return 0;
}

int main(int argc, char **argv)
{
    struct co_options options = { .max_tasks = N_PARKED + 1, .max_threads = 1 };

    if (argc < 2) {
        fprintf(stderr, "usage: bench-co MEASURE...\n");
        return 2;
    }
    bench_check(co_run(NULL, &options, bench_main, argv + 1));
    return 0;
}
