/* Tasks: see co.h for the rules. */
#pragma once

#include <stdint.h>

#define CO_NEVER INT64_MAX
#define CO_MUST  __attribute__((warn_unused_result))

struct loop;
struct mail;
struct co_loop;

/* A task's handle: a value, never dangling. A stale one gives -ESRCH. `{0}` is no task. */
struct co_task {
    uint32_t slot, gen;
};

/* The body of a task. What it returns (0 or -errno) is the task's result. */
typedef int (*co_fn)(void *arg);

struct co_options {
    unsigned max_tasks;   /* co_spawn() beyond it: -EAGAIN */
    unsigned max_threads; /* of co_to_thread(); they are started when first needed */
};

/*
 * Runs `fn` as the first task on `loop` until it returns and every other task has ended (what is
 * left is cancelled and joined). Returns fn's result, or -errno when the runtime can't start.
 * The calling thread must not run one already (-EBUSY). While it runs, a task that overflows its
 * stack is named on stderr before SIGSEGV ends the process, unless somebody handles SIGSEGV already.
 */
int co_run(struct loop *loop, const struct co_options *options, co_fn fn, void *arg);

/* The runtime of the calling thread, to hand to other threads for co_post(); NULL outside co_run(). */
struct co_loop *co_current(void);
/* From any thread, while co_run() runs: m->deliver(m) is called on that loop's own stack, soon. */
void co_post(struct co_loop *l, struct mail *m);

/*
 * Starts a task; it first runs after the caller suspends, in the order of spawning. `name` must
 * outlive it (a literal). The handle must be awaited, or detached, or belong to a group.
 * From coroutines and from plain code on the loop. -EAGAIN at the limit, -ENOMEM; -ECANCELED once
 * the first task has ended; -EPERM outside of co_run(). After an error `arg` is still the caller's.
 */
CO_MUST int co_spawn(const char *name, co_fn fn, void *arg, struct co_task *ret);
/* Spawns a task that nobody awaits. */
CO_MUST int co_spawn_detached(const char *name, co_fn fn, void *arg);
/*
 * Suspends. Until the task has ended; its result in *ret_result (may be NULL). The handle is used
 * up. When the waiter is cancelled, so is the task, and -ECANCELED is returned after its end.
 * -ESRCH for a stale handle and for a task that somebody else awaits, a group's or a detached one;
 * -EDEADLK for the caller's own task and for one that awaits the caller.
 */
int co_await(struct co_task t, int *ret_result);
/* Nobody will await it. -ESRCH as for co_await(). */
int co_detach(struct co_task t);
/*
 * Cancels everything that the task does from here on; one that has not begun never runs, so what it
 * would have freed is the caller's to free. 0 also when it has ended and nobody has asked yet. -ESRCH.
 */
int co_cancel(struct co_task t);
/* The running task; `{0}` outside of one. */
struct co_task co_self(void);
/* How many tasks have not ended. */
unsigned co_count(void);

/*
 * Calls a plain function on the loop's own large stack and returns after it; nothing else runs in
 * between, and `fn` must not suspend. For libraries that need stack. Outside a task: a plain call.
 */
void co_on_loop(void (*fn)(void *arg), void *arg);
/*
 * Suspends. Runs `fn` on a pool thread and returns 0 with what it returned in *ret_result (may be
 * NULL). A cancellation is reported, as -ECANCELED, only after the thread is done with `arg`; a call
 * that no thread has begun is taken back. -EAGAIN without threads, or -errno of the first one's start.
 */
int co_to_thread(int (*fn)(void *arg), void *arg, int *ret_result);
