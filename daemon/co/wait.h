/* Waiting for time and for several tasks. See co.h for the rules. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/co/task.h"

/* Suspends. For `ns` nanoseconds; with 0 or less others run once. */
int co_sleep(int64_t ns);
/* Suspends. Until CLOCK_MONOTONIC reaches `deadline_ns`; CO_NEVER: until cancelled. */
int co_sleep_until(int64_t deadline_ns);
/* Suspends. Every task that is ready runs once before this returns. */
int co_yield(void);

enum co_gather_flags {
    CO_KEEP_ERRORS = 1 << 0, /* wait for all; errors are results (asyncio: return_exceptions) */
};

/*
 * Suspends. Awaits the tasks; results in the order of the tasks (`ret_results` may be NULL). The
 * first error is returned at once and the others go on, unobserved, unless CO_KEEP_ERRORS.
 * Cancelling the caller cancels them all, and -ECANCELED comes after their end. The handles are
 * used up; one that can't be awaited counts as a task with the error that co_await() would return.
 * After an error the results of tasks that have not ended are not written.
 */
int co_gather(const struct co_task *tasks, size_t n, int *ret_results, unsigned flags);
