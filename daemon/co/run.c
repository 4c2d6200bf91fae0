/*
 * The scheduler. A task that waits switches straight to the next ready one; the stack that co_run()
 * was called on ("home") is one more context, which gets its turn when nothing is ready or when the
 * budget is used up. A turn: ready tasks for some time, timers, the event loop once.
 *
 * - A task is in the ready ring at most once, and only in state FIBER_READY.
 * - The ring has room for every task, so waking never fails.
 * - Callbacks of the event loop, and co_on_loop(), run with `current` = home: they can't suspend.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/co/ready.h"

#define TURN_BUDGET      512   /* resumes, before the clock is looked at */
#define TURN_NS          50000 /* before timers and descriptors are: a look takes some 500 ns */
#define REFUSALS_AT_ONCE 64
#define READY_MIN        64

_Thread_local struct co_loop *co_thread_loop;

struct co_loop *co_current(void)
{
    return co_thread_loop;
}

int co_ready_grow(struct co_ready *r)
{
    size_t capacity = r->capacity ? r->capacity * 2 : READY_MIN, n = 0;
    struct fiber **slots = malloc(capacity * sizeof(struct fiber *));

    if (!slots)
        return -ENOMEM;
    for (size_t i = r->head; i != r->tail; i++)
        slots[n++] = r->slots[i & r->mask];
    free(r->slots);
    *r = (struct co_ready){ .slots = slots, .capacity = capacity, .mask = capacity - 1, .tail = n };
    return 0;
}

int fiber_refuse(struct fiber *f)
{
    if (++f->refused < REFUSALS_AT_ONCE)
        return -ECANCELED;
    if (!f->warned)
        log_warning("task %s goes on after its cancellation", f->name);
    f->warned = true;
    f->refused = 0;
    f->loop->budget = 0;
    fiber_yield(f);
    return -ECANCELED;
}

int fiber_absent(void)
{
    struct co_loop *l = co_thread_loop;

    if (l && l->debug)
        co_debug_misuse("a call that suspends was made outside of a task", -EPERM);
    return -EPERM;
}

void co_on_loop(void (*fn)(void *arg), void *arg)
{
    struct fiber *f = fiber_self();

    if (!f) {
        fn(arg);
        return;
    }
    f->loop->call = fn;
    f->loop->call_arg = arg;
    f->loop->caller = f;
    fiber_switch(f, &f->loop->home, false);
}

static void co_run_budget(struct co_loop *l)
{
    struct fiber *next, *caller;

    l->budget = TURN_BUDGET;
    while ((next = ready_next(l)) != &l->home) {
        fiber_switch(&l->home, next, false);
        while (l->call) {
            void (*fn)(void *arg) = l->call;

            caller = l->caller;
            l->call = NULL;
            fn(l->call_arg);
            fiber_switch(&l->home, caller, false);
        }
    }
}

static void co_run_ready(struct co_loop *l)
{
    l->now_ns = clock_mono_ns();
    do
        co_run_budget(l);
    while (l->ready.head != l->ready.tail && clock_mono_ns() - l->now_ns < TURN_NS);
}

/* Microseconds to the next deadline, rounded up; -1: there is none. */
static int64_t co_expire(struct co_loop *l)
{
    struct heap_item *item;
    int64_t deadline_ns;

    if (l->timers.n > 0)
        l->now_ns = clock_mono_ns();
    while ((item = heap_first(&l->timers, &deadline_ns))) {
        if (deadline_ns > l->now_ns)
            return (deadline_ns - l->now_ns - 1) / 1000 + 1;
        heap_remove(&l->timers, item);
        co_scope_expire(CONTAINER_OF(item, struct co_scope, timer));
    }
    return -1;
}

static void co_turn(struct co_loop *l)
{
    int64_t timeout_us;
    int rc;

    co_run_ready(l);
    if (l->n_tasks == 0)
        return;
    timeout_us = co_expire(l);
    rc = loop_turn(l->loop, l->ready.head != l->ready.tail ? 0 : timeout_us);
    if (rc < 0) {
        log_error("the event loop fails: %s", strerror(-rc));
        abort();
    }
}

static void co_mail_ready(struct loop_watch *w, unsigned events)
{
    (void)events;
    mailbox_deliver(&CONTAINER_OF(w, struct co_loop, mail)->mailbox);
}

void co_post(struct co_loop *l, struct mail *m)
{
    mailbox_post(&l->mailbox, m);
}

static void co_loop_done(struct co_loop *l)
{
    co_fault_done(l);
    co_pool_done(&l->pool);
    mailbox_deliver(&l->mailbox);
    loop_watch_done(&l->mail);
    mailbox_done(&l->mailbox);
    co_stacks_done(&l->stacks);
    heap_done(&l->timers);
    for (uint32_t i = 0; i < l->n_slots; i++)
        if (l->slots[i].kind == SLOT_FUTURE)
            free(l->slots[i].promise);
    free(l->ready.slots);
    free(l->slots);
    if (l->own_loop)
        loop_free(l->loop);
}

/* asyncio's default: enough for calls that mostly wait. */
static unsigned co_threads_default(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN) + 4;

    return n < 32 ? (unsigned)n : 32;
}

static int co_loop_open(struct co_loop *l, struct loop *loop)
{
    l->loop = loop;
    if (loop)
        return 0;
    l->own_loop = true;
    return loop_new(&l->loop);
}

static int co_loop_init(struct co_loop *l, struct loop *loop, const struct co_options *options)
{
    const char *debug = getenv("CO_DEBUG");
    int rc;

    *l = (struct co_loop){ .max_tasks = options->max_tasks ? options->max_tasks : CO_MAX_TASKS,
        .debug = options->debug || (debug && strcmp(debug, "1") == 0),
        .free_slot = UINT32_MAX,
        .now_ns = clock_mono_ns(),
        .current = &l->home,
        .home = { .loop = l, .name = "none", .state = FIBER_RUNNING } };
    sanitizer_home(&l->home.sanitizer);
    rc = co_loop_open(l, loop);
    if (rc < 0)
        return rc;
    rc = mailbox_init(&l->mailbox);
    if (rc == 0) {
        loop_watch_init(&l->mail, l->loop, l->mailbox.event_fd, co_mail_ready);
        rc = loop_watch_set(&l->mail, LOOP_READ);
    }
    if (rc == 0)
        rc = co_stacks_init(&l->stacks, l->loop);
    if (rc < 0) {
        co_stacks_done(&l->stacks);
        loop_watch_done(&l->mail);
        mailbox_done(&l->mailbox);
        if (l->own_loop)
            loop_free(l->loop);
        return rc;
    }
    co_pool_init(&l->pool, options->max_threads ? options->max_threads : co_threads_default());
    co_fault_init(l);
    return 0;
}

int co_run(struct loop *loop, const struct co_options *options, co_fn fn, void *arg)
{
    static const struct co_options defaults = { 0 };
    struct fiber *first;
    struct co_loop l;
    int rc;

    if (co_thread_loop)
        return -EBUSY;
    rc = co_loop_init(&l, loop, options ? options : &defaults);
    if (rc < 0)
        return rc;
    co_thread_loop = &l;
    rc = fiber_start(&l, "main", fn, arg, &first);
    if (rc == 0)
        first->first = true;
    while (l.n_tasks > 0)
        co_turn(&l);
    if (rc == 0)
        rc = l.result;
    co_loop_done(&l);
    co_thread_loop = NULL;
    return rc;
}
