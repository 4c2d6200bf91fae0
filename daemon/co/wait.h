/* Waiting: for time, for a descriptor, for several tasks, for blocking code. See co.h for the rules. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/list.h"
#include "daemon/co/task.h"

/* Suspends. For `ns` nanoseconds; with 0 or less others run once. */
CO_SUSPENDS int co_sleep(int64_t ns);
/* Suspends. Until CLOCK_MONOTONIC reaches `deadline_ns`; CO_NEVER: until cancelled. */
CO_SUSPENDS int co_sleep_until(int64_t deadline_ns);
/* Suspends. Every task that is ready runs once before this returns. */
CO_SUSPENDS int co_yield(void);

enum co_fd_event {
    CO_READABLE = 1 << 0,
    CO_WRITABLE = 1 << 1,
};

/*
 * Suspends. Until a read or write of the descriptor would not block; an error or the other side's
 * end counts as both. -ENOMEM, or -errno of epoll_ctl(2): -EBADF, -EPERM for a regular file.
 */
CO_SUSPENDS CO_MUST int co_wait_fd(int fd, unsigned events);

enum co_gather_flags {
    CO_KEEP_ERRORS = 1 << 0, /* wait for all; errors are results (asyncio: return_exceptions) */
};

/*
 * Suspends. Awaits the tasks; results in the order of the tasks (`ret_results` may be NULL). The
 * first error is returned at once and the others go on, detached, unless CO_KEEP_ERRORS.
 * Cancelling the caller cancels them all, and -ECANCELED comes after their end. The handles are
 * used up, but for one that can't be awaited: that counts as a task with the error that co_await()
 * would return.
 * After an error the results of tasks that have not ended are not written. -ENOMEM: nothing has
 * been awaited.
 */
CO_SUSPENDS int co_gather(const struct co_task *tasks, size_t n, int *ret_results, unsigned flags);

enum co_when {
    CO_ALL_DONE,
    CO_FIRST_DONE,
    CO_FIRST_ERROR, /* or all done; a cancelled task is no error here */
};

/*
 * Suspends. Until so many have ended, or the deadline: 0 in both cases. Cancels nothing and uses no
 * handle up: co_done() tells, co_await() has the result. *ret_done (may be NULL): how many have
 * ended. A handle that can't be awaited: its error, and nothing has been awaited. -ENOMEM.
 */
CO_SUSPENDS int co_wait(const struct co_task *tasks, size_t n, enum co_when when,
        int64_t deadline_ns, size_t *ret_done);
/*
 * Suspends. As co_await() until the deadline, when the task is cancelled; -ETIMEDOUT after its end.
 * A task that ends with a result in spite of that has it returned.
 */
CO_SUSPENDS int co_wait_for(struct co_task t, int64_t deadline_ns, int *ret_result);

/* Tasks in the order of their end (asyncio's as_completed). All fields are the runtime's. */
struct co_completed {
    struct co_member *members;
    size_t n, n_left;
    struct list ended;
    struct list waiters;
};

/* 0; -ENOMEM, or the error of a handle that can't be awaited: nothing is open then. */
CO_MUST int co_completed_open(struct co_completed *c, const struct co_task *tasks, size_t n);
/*
 * Suspends. The next one that has ended: its place among the tasks, its result. Uses its handle up.
 * -ENOENT after the last one. When the caller is cancelled, -ECANCELED; the tasks go on.
 */
CO_SUSPENDS CO_MUST int co_completed_next(
        struct co_completed *c, size_t *ret_index, int *ret_result);
/* The handles of the others are still the caller's. Nobody waits for the next one. Idempotent. */
void co_completed_close(struct co_completed *c);

/*
 * Calls a plain function on the loop's own large stack and returns after it; nothing else runs in
 * between, and `fn` must not suspend. For libraries that need stack. Outside a task: a plain call.
 */
void co_on_loop(void (*fn)(void *arg), void *arg);
/*
 * Suspends. Runs `fn` on a pool thread and returns 0 with what it returned in *ret_result (may be
 * NULL). A cancellation is reported, as -ECANCELED, only after the thread is done with `arg`; a call
 * that no thread has begun is taken back.
 * -EAGAIN without threads, -ENOMEM, or -errno of the first thread's start.
 */
CO_SUSPENDS int co_to_thread(int (*fn)(void *arg), void *arg, int *ret_result);
/*
 * Suspends. As co_to_thread(), but -ECANCELED is returned at once, and abandon(arg) is called on
 * the loop as soon as no thread has `arg` any more. After every other return `arg` is the caller's.
 */
CO_SUSPENDS int co_to_thread_abandoning(
        int (*fn)(void *arg), void *arg, void (*abandon)(void *arg), int *ret_result);
