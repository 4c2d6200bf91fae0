/* Tasks and futures, and the way in from other threads. See co.h for the rules. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/list.h"
#include "daemon/base/mailbox.h"
#include "daemon/co/suspends.h"

#define CO_NEVER INT64_MAX
#define CO_MUST  __attribute__((warn_unused_result))

struct loop;
struct co_loop;

/*
 * Handles: values, never dangling, of two types so that the compiler tells them apart and refuses
 * all else. `{0}` is none. A handle that is used up, or dropped, gives -ESRCH for ever; one that was
 * cast from the other type gives -EINVAL.
 */
struct co_task {
    uint32_t slot, gen;
};
struct co_future {
    uint32_t slot, gen;
};

/*
 * The body of a task. What it returns is the task's result: 0 or more is its value, less than 0
 * its error, an -errno. Larger results live in what `arg` points to.
 */
typedef int (*co_fn)(void *arg);

struct co_options {
    unsigned max_tasks; /* co_spawn() beyond it: -EAGAIN. 0: CO_MAX_TASKS */
    unsigned
            max_threads; /* of co_to_thread(), started when first needed. 0: cores + 4, at most 32 */
    bool debug;          /* also by the environment variable CO_DEBUG=1; see co.h */
};

#define CO_MAX_TASKS 100000

/*
 * Runs `fn` as the first task on `loop` (NULL: one of its own) until it returns and every other task
 * has ended: what is left is cancelled and joined. Returns fn's result, or -errno when the runtime
 * can't start; `options` may be NULL. -EBUSY when the thread runs one already. While it runs, a
 * task that overflows its stack is named on stderr before SIGSEGV ends the process, unless somebody
 * handles SIGSEGV already.
 */
int co_run(struct loop *loop, const struct co_options *options, co_fn fn, void *arg);

/*
 * Starts a task; it first runs after the caller suspends, in the order of spawning. `name` must
 * outlive it (a literal). The handle must be awaited, or detached.
 * From coroutines and from plain code on the loop. -EAGAIN at the limit, -ENOMEM; -ECANCELED once
 * the first task has ended; -EPERM outside of co_run(). After an error `arg` is still the caller's.
 */
CO_MUST int co_spawn(const char *name, co_fn fn, void *arg, struct co_task *ret);
/* As co_spawn(), but it runs at once, until it first waits or ends. From coroutines only (-EPERM). */
CO_SUSPENDS CO_MUST int co_spawn_eager(const char *name, co_fn fn, void *arg, struct co_task *ret);
/* As co_spawn(); nobody awaits it. */
CO_MUST int co_spawn_detached(const char *name, co_fn fn, void *arg);
/* One await more is owed to the task: each co_await() and co_detach() uses up one. -ESRCH, -EINVAL. */
int co_keep(struct co_task t);
/* Nobody will await it. -ESRCH, -EINVAL. */
int co_detach(struct co_task t);

/*
 * Suspends. Until the task has ended or the future is set; its result in *ret_result (may be NULL).
 *
 * Uses a task's handle up (see co_keep()); all who wait at its end get the result. When the waiter
 * is cancelled, so is the task, and -ECANCELED is returned after its end. A future stays: whoever
 * made it drops it, and it is not touched by the waiter's cancellation.
 *
 * -ESRCH, -EINVAL; -EDEADLK for the caller's own task and for one that, over however many others,
 * waits for the caller.
 */
#define co_await(x, ret_result)                \
    _Generic((x), struct co_task               \
             : co_await_task, struct co_future \
             : co_await_future)((x), (ret_result))
CO_SUSPENDS int co_await_task(struct co_task t, int *ret_result);
CO_SUSPENDS int co_await_future(struct co_future f, int *ret_result);
/*
 * Suspends. As co_await(), but the caller's cancellation does not reach the task: -ECANCELED comes
 * at once, and the task goes on, detached.
 */
CO_SUSPENDS int co_shield(struct co_task t, int *ret_result);

/*
 * Cancels what the task does from here on, and counts (see co_uncancel()). One that has not begun
 * never runs, so what it would have freed is the caller's to free. 0 also when it has ended and
 * its result is still to be had. -ESRCH, -EINVAL.
 */
int co_cancel(struct co_task t);
/* Takes one co_cancel() of the running task back; the last one ends its cancellation. How many are left. */
unsigned co_uncancel(void);
/* How many co_cancel() are not taken back; 0 for a task that has ended. */
unsigned co_cancelling(struct co_task t);
/* 1: it has ended and its result waits; 0: not yet; -ESRCH, -EINVAL. */
int co_done(struct co_task t);

/* Called once, at the end of a task; the owner's, and untouched until then. */
struct co_hook {
    struct list node;
    void (*ended)(struct co_hook *h, int result); /* plain code: it can't suspend */
};

/* Calls h->ended() when the task ends, before those who await it go on; now, if it has ended. -ESRCH, -EINVAL. */
int co_on_done(struct co_task t, struct co_hook *h);
/* Never mind. Not after it was called. */
void co_hook_remove(struct co_hook *h);

/* A result that somebody will set: from a coroutine or from plain code on the loop. -ENOMEM, -EPERM. */
CO_MUST int co_future_new(struct co_future *ret);
/* Once; all who wait go on. -EALREADY, -ESRCH, -EINVAL. */
int co_future_set(struct co_future f, int result);
/* Its maker is done with it; whoever still waits gets the result -ECANCELED. -ESRCH, -EINVAL. */
int co_future_drop(struct co_future f);

/* The runtime of the calling thread, to hand to other threads; NULL outside co_run(). */
struct co_loop *co_current(void);
/* From any thread, while co_run() runs: m->deliver(m) is called on that loop's own stack, soon. */
void co_post(struct co_loop *l, struct mail *m);

/* A task that another thread asked for; in that thread's memory until co_ticket_wait() returned 0. */
struct co_ticket {
    struct mail start, stop;
    struct co_hook hook;
    struct co_loop *loop;
    struct co_task task;
    const char *name;
    co_fn fn;
    void *arg;
    int result;
    unsigned n_out; /* what the loop still holds of it */
    bool stopped;
    pthread_mutex_t mutex;
    pthread_cond_t over;
};

/* From any thread but the loop's, while co_run() runs: spawns a task there. */
void co_submit(struct co_loop *l, struct co_ticket *t, const char *name, co_fn fn, void *arg);
/*
 * Blocks the calling thread until the task has ended: 0, and its result, or the error of its start,
 * in *ret_result (may be NULL). -ETIMEDOUT at `deadline_ns`: it goes on, and the ticket is still in use.
 */
int co_ticket_wait(struct co_ticket *t, int64_t deadline_ns, int *ret_result);
/* co_cancel() for the ticket's task; wait for its end. Idempotent. */
void co_ticket_cancel(struct co_ticket *t);
