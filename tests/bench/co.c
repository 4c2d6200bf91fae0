/* What the coroutine runtime costs: nanoseconds per operation, memory per parked task. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/loop.h"
#include "daemon/co/co.h"
#include "daemon/co/switch.h"

#define ROUNDS   5
#define SWITCHES 10000000
#define N_PARKED 10000
#define N_GATHER 10000

static struct {
    struct co_task tasks[100000];
    void *main, *other;
    int64_t yields;
    struct co_event go;
} bench;

static void bench_print(const char *what, int64_t best_ns, int64_t n)
{
    printf("%-34s %9.1f ns\n", what, (double)best_ns / (double)n);
}

static void bench_least(int64_t *best_ns, int64_t from_ns)
{
    int64_t ns = clock_mono_ns() - from_ns;

    if (*best_ns == 0 || ns < *best_ns)
        *best_ns = ns;
}

static void bench_check(int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "failed: %d\n", rc);
    exit(1);
}

static void switch_back(void *arg)
{
    (void)arg;
    for (;;)
        co_switch(&bench.other, bench.main, 0);
}

static void bench_switch(void)
{
    size_t size = 65536;
    char *stack = aligned_alloc(4096, size);
    int64_t best = 0;

    bench.other = co_switch_make(stack, stack + size, switch_back, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t from = clock_mono_ns();

        for (int i = 0; i < SWITCHES / 2; i++)
            co_switch(&bench.main, bench.other, 0);
        bench_least(&best, from);
    }
    free(stack);
    bench_print("switch", best, SWITCHES);
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
        bench_check(co_spawn("bench", fn, NULL, &bench.tasks[i]));
}

static void bench_yield(size_t n)
{
    int64_t best = 0;
    char what[64];

    bench.yields = SWITCHES / (int64_t)n;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t from;

        bench_spawn_n(n, yielder);
        bench_check(co_yield());
        from = clock_mono_ns();
        bench_check(co_gather(bench.tasks, n, NULL, 0));
        bench_least(&best, from);
    }
    snprintf(what, sizeof(what), "yield, %zu tasks", n);
    bench_print(what, best, (bench.yields - 1) * (int64_t)n);
}

static int nothing(void *arg)
{
    return arg ? 1 : 0;
}

static void bench_spawn(void)
{
    const int n = 1000000;
    int64_t best = 0;

    for (int round = 0; round < ROUNDS; round++) {
        int64_t from = clock_mono_ns();

        for (int i = 0; i < n; i++) {
            struct co_task t;

            bench_check(co_spawn("bench", nothing, NULL, &t));
            bench_check(co_await(t, NULL));
        }
        bench_least(&best, from);
    }
    bench_print("spawn + await", best, n);
}

static void bench_gather(void)
{
    int64_t best = 0;

    for (int round = 0; round < 3 * ROUNDS; round++) {
        int64_t from = clock_mono_ns();

        bench_spawn_n(N_GATHER, nothing);
        bench_check(co_gather(bench.tasks, N_GATHER, NULL, 0));
        bench_least(&best, from);
    }
    bench_print("gather of 10000, each", best, N_GATHER);
}

static int nothing_on_thread(void *arg)
{
    return arg ? 1 : 0;
}

static void nothing_on_loop(void *arg)
{
    (void)arg;
}

static void bench_thread(void)
{
    const int n = 20000;
    int64_t best = 0;

    for (int round = 0; round < ROUNDS; round++) {
        int64_t from = clock_mono_ns();

        for (int i = 0; i < n; i++)
            bench_check(co_to_thread(nothing_on_thread, NULL, NULL));
        bench_least(&best, from);
    }
    bench_print("to_thread", best, n);
}

static void bench_on_loop(void)
{
    const int n = 1000000;
    int64_t best = 0;

    for (int round = 0; round < ROUNDS; round++) {
        int64_t from = clock_mono_ns();

        for (int i = 0; i < n; i++)
            co_on_loop(nothing_on_loop, NULL);
        bench_least(&best, from);
    }
    bench_print("on_loop", best, n);
}

static void bench_sleep(void)
{
    const int n = 2000;
    const int64_t ns = 100000;
    int64_t from = clock_mono_ns();

    for (int i = 0; i < n; i++)
        bench_check(co_sleep(ns));
    bench_print("sleep of 100 us, later by", clock_mono_ns() - from - n * ns, n);
}

static int sleeper(void *arg)
{
    return arg ? 1 : co_sleep(CLOCK_US_PER_S * 3600 * 1000);
}

static int64_t bench_resident_bytes(void)
{
    int64_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");

    if (!f || fscanf(f, "%*d %" SCNd64, &pages) != 1)
        bench_check(-1);
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

static void bench_parked(void)
{
    int64_t before = bench_resident_bytes(), from = clock_mono_ns();

    bench_spawn_n(N_PARKED, sleeper);
    bench_check(co_yield());
    bench_print("spawn + first sleep, new stacks", clock_mono_ns() - from, N_PARKED);
    printf("%-34s %9" PRId64 " bytes\n", "a parked task",
            (bench_resident_bytes() - before) / N_PARKED);
    from = clock_mono_ns();
    for (int i = 0; i < N_PARKED; i++)
        bench_check(co_cancel(bench.tasks[i]));
    bench_check(co_gather(bench.tasks, N_PARKED, NULL, CO_KEEP_ERRORS));
    bench_print("cancel + gather", clock_mono_ns() - from, N_PARKED);
}

static int bench_main(void *arg)
{
    (void)arg;
    bench_parked();
    bench_spawn();
    bench_gather();
    bench_yield(2);
    bench_yield(100);
    bench_yield(1000);
    bench_yield(10000);
    bench_yield(100000);
    bench_on_loop();
    bench_sleep();
    bench_thread();
    return 0;
}

int main(void)
{
    struct co_options options = { .max_tasks = 100001, .max_threads = 1 };
    struct loop *loop;

    bench_switch();
    bench_check(loop_new(&loop));
    bench_check(co_run(loop, &options, bench_main, NULL));
    loop_free(loop);
    return 0;
}
