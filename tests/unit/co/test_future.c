/* Results that somebody sets: in the loop by a future, from other threads by a ticket. */
#include "tests/unit/co/fixture.h"

#include <pthread.h>
#include <string.h>

static struct {
    struct co_future future;
    struct co_loop *loop;
    struct co_event go;
    int results[3];
    unsigned n;
    int rc;
    bool begun;
} seen;

static int reset(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    co_event_init(&seen.go);
    return 0;
}

static int await_future(void *arg)
{
    int rc = co_await(seen.future, &seen.results[(intptr_t)arg]);

    seen.n++;
    return rc;
}

CO_TEST(all_who_wait_get_the_result)
{
    struct co_task t[3];
    int late = 0;

    assert_int_equal(co_future_new(&seen.future), 0);
    for (intptr_t i = 0; i < 3; i++)
        t[i] = test_spawn(await_future, (void *)i);
    test_settle();
    assert_int_equal(seen.n, 0);
    assert_int_equal(co_future_set(seen.future, 7), 0);
    assert_int_equal(co_future_set(seen.future, 8), -EALREADY);
    assert_int_equal(co_gather(t, 3, NULL, 0), 0);
    assert_true(seen.results[0] == 7 && seen.results[1] == 7 && seen.results[2] == 7);
    assert_int_equal(co_await(seen.future, &late), 0);
    assert_int_equal(late, 7);
    assert_int_equal(co_future_drop(seen.future), 0);
    assert_int_equal(co_future_drop(seen.future), -ESRCH);
    assert_int_equal(co_future_set(seen.future, 9), -ESRCH);
    assert_int_equal(co_await(seen.future, NULL), -ESRCH);
    return 0;
}

CO_TEST(a_cancelled_waiter_leaves_the_future_alone)
{
    struct co_task a, b;

    assert_int_equal(co_future_new(&seen.future), 0);
    a = test_spawn(await_future, (void *)0);
    b = test_spawn(await_future, (void *)1);
    test_settle();
    assert_int_equal(co_cancel(a), 0);
    assert_int_equal(test_await(a), -ECANCELED);
    assert_int_equal(co_future_set(seen.future, -EIO), 0);
    assert_int_equal(test_await(b), 0);
    assert_int_equal(seen.results[1], -EIO);
    assert_int_equal(co_future_drop(seen.future), 0);
    return 0;
}

CO_TEST(who_waits_for_a_future_that_is_dropped_learns_of_it)
{
    struct co_task t;

    assert_int_equal(co_future_new(&seen.future), 0);
    t = test_spawn(await_future, (void *)0);
    test_settle();
    assert_int_equal(co_future_drop(seen.future), 0);
    assert_int_equal(test_await(t), 0);
    assert_int_equal(seen.results[0], -ECANCELED);
    return 0;
}

CO_TEST(handles_of_one_kind_are_refused_as_the_other)
{
    struct co_task t = test_spawn(test_return, NULL), cast_task;
    struct co_future f, cast_future;

    assert_int_equal(co_future_new(&f), 0);
    memcpy(&cast_task, &f, sizeof(f));
    memcpy(&cast_future, &t, sizeof(t));
    assert_int_equal(co_await(cast_task, NULL), -EINVAL);
    assert_int_equal(co_cancel(cast_task), -EINVAL);
    assert_int_equal(co_keep(cast_task), -EINVAL);
    assert_int_equal(co_detach(cast_task), -EINVAL);
    assert_int_equal(co_done(cast_task), -EINVAL);
    assert_int_equal(co_gather(&cast_task, 1, NULL, 0), -EINVAL);
    assert_int_equal(co_wait(&cast_task, 1, CO_ALL_DONE, CO_NEVER, NULL), -EINVAL);
    assert_int_equal(co_await(cast_future, NULL), -EINVAL);
    assert_int_equal(co_future_set(cast_future, 1), -EINVAL);
    assert_int_equal(co_future_drop(cast_future), -EINVAL);
    assert_int_equal(test_await(t), 0);
    assert_int_equal(co_await(cast_future, NULL), -ESRCH);
    assert_int_equal(co_future_drop(f), 0);
    return 0;
}

static int on_loop(void *arg)
{
    seen.begun = true;
    return arg ? co_event_wait(&seen.go) : 5;
}

static void *ask_and_get(void *arg)
{
    struct co_ticket t;

    (void)arg;
    co_submit(seen.loop, &t, "asked", on_loop, NULL);
    assert_int_equal(co_ticket_wait(&t, CO_NEVER, &seen.rc), 0);
    return NULL;
}

static void *ask_and_cancel(void *arg)
{
    struct co_ticket t;

    co_submit(seen.loop, &t, "asked", on_loop, arg);
    assert_int_equal(co_ticket_wait(&t, -1, &seen.rc), -ETIMEDOUT);
    assert_int_equal(co_ticket_wait(&t, clock_mono_ns() + 5 * MS, &seen.rc), -ETIMEDOUT);
    co_ticket_cancel(&t);
    co_ticket_cancel(&t);
    assert_int_equal(co_ticket_wait(&t, CO_NEVER, &seen.rc), 0);
    return NULL;
}

static int join_thread(void *arg)
{
    return -pthread_join(*(pthread_t *)arg, NULL);
}

/* Runs `fn` on a thread of its own while the loop goes on. */
static void run_beside(void *(*fn)(void *arg), void *arg)
{
    pthread_t thread;
    int rc = -1;

    seen.loop = co_current();
    assert_int_equal(pthread_create(&thread, NULL, fn, arg), 0);
    assert_int_equal(co_to_thread(join_thread, &thread, &rc), 0);
    assert_int_equal(rc, 0);
}

CO_TEST(a_thread_asks_for_a_task_and_gets_its_result)
{
    run_beside(ask_and_get, NULL);
    assert_int_equal(seen.rc, 5);
    assert_int_equal(co_count(), 1);
    return 0;
}

CO_TEST(a_thread_cancels_the_task_that_it_asked_for)
{
    run_beside(ask_and_cancel, &seen);
    assert_int_equal(seen.rc, -ECANCELED);
    assert_int_equal(co_count(), 1);
    return 0;
}

/* Nothing new starts once the first task has ended: the ticket says so. */
static int ask_late(void *arg)
{
    pthread_t *thread = arg;

    seen.loop = co_current();
    assert_int_equal(pthread_create(thread, NULL, ask_and_get, NULL), 0);
    /* The loop does not turn again before this has ended, so the mail comes after it. */
    nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    return 0;
}

static void a_ticket_that_comes_too_late_says_so(void **state)
{
    pthread_t thread;

    (void)state;
    assert_int_equal(test_run(10, 1, ask_late, &thread), 0);
    pthread_join(thread, NULL);
    assert_int_equal(seen.rc, -ECANCELED);
    assert_false(seen.begun);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_who_wait_get_the_result, reset),
        cmocka_unit_test_setup(a_cancelled_waiter_leaves_the_future_alone, reset),
        cmocka_unit_test_setup(who_waits_for_a_future_that_is_dropped_learns_of_it, reset),
        cmocka_unit_test_setup(handles_of_one_kind_are_refused_as_the_other, reset),
        cmocka_unit_test_setup(a_thread_asks_for_a_task_and_gets_its_result, reset),
        cmocka_unit_test_setup(a_thread_cancels_the_task_that_it_asked_for, reset),
        cmocka_unit_test_setup(a_ticket_that_comes_too_late_says_so, reset),
    };

    return cmocka_run_group_tests_name("co/future", tests, NULL, NULL);
}
