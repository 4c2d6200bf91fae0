/* What the tests of the runtime share: a loop, cmocka, tasks that are useful everywhere. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "daemon/base/loop.h"
#include "daemon/co/co.h"

#define MS 1000000LL

/* A cmocka test whose body is the first task of a loop of its own; it returns 0. */
#define CO_TEST(name)                                               \
    static int name##_body(void *arg);                              \
    static void name(void **state)                                  \
    {                                                               \
        (void)state;                                                \
        assert_int_equal(test_run(20000, 2, name##_body, NULL), 0); \
    }                                                               \
    static int name##_body(void *arg __attribute__((unused)))

static inline int test_run(unsigned max_tasks, unsigned max_threads, co_fn fn, void *arg)
{
    struct co_options options = { .max_tasks = max_tasks, .max_threads = max_threads };
    struct loop *loop;
    int rc;

    assert_int_equal(loop_new(&loop), 0);
    rc = co_run(loop, &options, fn, arg);
    loop_free(loop);
    return rc;
}

static inline struct co_task test_spawn(co_fn fn, void *arg)
{
    struct co_task t;

    assert_int_equal(co_spawn("test", fn, arg, &t), 0);
    return t;
}

/* The result of a task. */
static inline int test_await(struct co_task t)
{
    int result;

    assert_int_equal(co_await(t, &result), 0);
    return result;
}

/* Lets everything that is ready run until it waits. */
static inline void test_settle(void)
{
    for (int i = 0; i < 4; i++)
        assert_int_equal(co_yield(), 0);
}

static inline int test_return(void *arg)
{
    return (int)(intptr_t)arg;
}

static inline int test_sleep_for_ever(void *arg)
{
    (void)arg;
    return co_sleep_until(CO_NEVER);
}
