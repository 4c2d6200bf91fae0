/*
 * Runs the programs on stdin on our runtime, under a clock that jumps to the next deadline whenever
 * nothing can run, and writes their traces to stdout, each between `begin N` and `done N`.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/loop.h"
#include "tests/differential/actor.h"

#define PATIENCE_S 5       /* for one program, which takes a millisecond */
#define CLOSE_US   1000003 /* between two cancellations, at the end */

static int64_t virtual_ns = 1000000000;

int __real_loop_turn(struct loop *l, int64_t timeout_us);
int __wrap_loop_turn(struct loop *l, int64_t timeout_us);
int64_t __wrap_clock_mono_ns(void);

int64_t __wrap_clock_mono_ns(void)
{
    return virtual_ns;
}

int __wrap_loop_turn(struct loop *l, int64_t timeout_us)
{
    if (timeout_us < 0) {
        printf("deadlock\n");
        fflush(stdout);
        _exit(3);
    }
    virtual_ns += timeout_us * 1000;
    return __real_loop_turn(l, 0);
}

static void world_init(struct world *w, struct program *p)
{
    *w = (struct world){ .program = p, .start_ns = virtual_ns };
    for (int i = 0; i < EVENTS; i++)
        co_event_init(&w->events[i]);
    for (int i = 0; i < LOCKS; i++) {
        co_lock_init(&w->locks[i]);
        co_condition_init(&w->held[i]);
    }
    for (int i = 0; i < CONDITIONS; i++)
        co_condition_init(&w->conditions[i]);
    for (int i = 0; i < p->n_gates; i++)
        co_gate_init(&w->gates[i], (unsigned)p->permits[i]);
    for (int i = 0; i < p->n_channels; i++)
        if (co_channel_init(&w->channels[i], (size_t)p->capacities[i]) < 0)
            abort();
    for (int i = 0; i < FUTURES; i++)
        if (co_future_new(&w->futures[i]) < 0)
            abort();
}

/* Cancels all there are until there are none. */
static void world_close(struct world *w)
{
    struct co_task left[TASKS_MAX];
    size_t n;

    w->closing = true;
    do {
        n = 0;
        for (int i = 0; i < w->program->n_specs; i++)
            if (w->spawned[i] && co_done(w->tasks[i]) == 0)
                left[n++] = w->tasks[i];
        for (size_t i = 0; i < n; i++) {
            (void)co_cancel(left[i]);
            (void)co_sleep(CLOSE_US * 1000);
        }
        if (co_wait(left, n, CO_ALL_DONE, CO_NEVER, NULL) < 0)
            abort();
    } while (n > 0);
}

/* Permits, locks and items are all there, and one reference to each task is left. */
static void world_audit(struct world *w)
{
    struct text text = { 0 };
    void *item;

    for (int i = 0; i < w->program->n_gates; i++)
        text_add(&text, " %u", w->gates[i].permits);
    for (int i = 0; i < LOCKS; i++)
        text_add(&text, " %s", w->locks[i].owner.gen ? "locked" : "free");
    for (int i = 0; i < w->program->n_channels; i++) {
        text_add(&text, " |");
        while (co_channel_try_receive(&w->channels[i], &item) == 0)
            text_add(&text, " %ld", (long)(intptr_t)item);
        co_channel_done(&w->channels[i]);
    }
    for (int i = 0; i < FUTURES; i++)
        (void)co_future_drop(w->futures[i]);
    for (int i = 0; i < w->program->n_specs && !w->program->cyclic; i++)
        if (w->spawned[i] && (co_done(w->tasks[i]) != 1 || co_detach(w->tasks[i]) != 0 ||
                                     co_done(w->tasks[i]) != -ESRCH))
            text_add(&text, " handle %d", i);
    world_tell(w, "end", 0, "audit", 0, text.s);
}

static int world_main(void *arg)
{
    struct program *p = arg;
    struct world w;

    world_init(&w, p);
    p->specs[0].world = &w;
    w.spawned[0] = true;
    if (co_spawn("actor", actor_main, &p->specs[0], &w.tasks[0]) < 0)
        abort();
    (void)co_sleep(p->horizon_us * 1000);
    world_close(&w);
    world_audit(&w);
    return 0;
}

int main(void)
{
    static struct program program;
    int rc;

    for (int n = 0; program_read(&program, stdin); n++) {
        printf("begin %d\n", n);
        fflush(stdout);
        alarm(PATIENCE_S);
        rc = co_run(NULL, NULL, world_main, &program);
        if (rc < 0)
            printf("failed: %s\n", strerror(-rc));
        printf("done %d\n", n);
        fflush(stdout);
    }
    return 0;
}
