#include "tests/unit/co/fixture.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static struct {
    char order[16];
    unsigned n_order;
    unsigned yields;
} seen;

static int reset(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    return 0;
}

CO_TEST(a_sleep_is_not_too_short)
{
    int64_t begin = clock_mono_ns(), until = begin + 5 * MS;

    assert_int_equal(co_sleep(2 * MS), 0);
    assert_true(clock_mono_ns() >= begin + 2 * MS);
    assert_int_equal(co_sleep_until(until), 0);
    assert_true(clock_mono_ns() >= until);
    return 0;
}

static int count_yield(void *arg)
{
    (void)arg;
    seen.yields++;
    return 0;
}

CO_TEST(no_sleep_lets_others_run_once)
{
    assert_int_equal(co_spawn_detached("count", count_yield, NULL), 0);
    assert_int_equal(co_sleep(0), 0);
    assert_int_equal(seen.yields, 1);
    assert_int_equal(co_spawn_detached("count", count_yield, NULL), 0);
    assert_int_equal(co_sleep(-5), 0);
    assert_int_equal(seen.yields, 2);
    assert_int_equal(co_spawn_detached("count", count_yield, NULL), 0);
    assert_int_equal(co_sleep_until(INT64_MIN), 0);
    assert_int_equal(seen.yields, 3);
    return 0;
}

CO_TEST(a_sleep_for_ever_ends_when_cancelled)
{
    struct co_task a = test_spawn(test_sleep_for_ever, NULL);

    test_settle();
    assert_int_equal(co_cancel(a), 0);
    assert_int_equal(test_await(a), -ECANCELED);
    return 0;
}

struct sleeper {
    const char *name;
    int64_t until_ns;
};

static int sleeper(void *arg)
{
    const struct sleeper *s = arg;
    int rc = co_sleep_until(s->until_ns);

    seen.order[seen.n_order++] = *s->name;
    return rc;
}

CO_TEST(sleepers_wake_in_the_order_of_their_deadlines)
{
    bool in_time;

    do { /* until all of them slept before the first one was due */
        int64_t now = clock_mono_ns();
        struct sleeper s[] = { { "c", now + 15 * MS }, { "a", now + 5 * MS },
            { "b", now + 10 * MS } };
        struct co_task t[3];

        reset(NULL);
        for (int i = 0; i < 3; i++)
            t[i] = test_spawn(sleeper, &s[i]);
        test_settle();
        in_time = clock_mono_ns() < s[1].until_ns;
        assert_int_equal(co_gather(t, 3, NULL, 0), 0);
    } while (!in_time);
    assert_string_equal(seen.order, "abc");
    return 0;
}

static int yield_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++) {
        seen.yields++;
        assert_int_equal(co_yield(), 0);
    }
    return 0;
}

CO_TEST(everything_ready_runs_once_in_a_yield)
{
    struct co_task t[10];

    for (int i = 0; i < 10; i++)
        t[i] = test_spawn(yield_often, NULL);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(seen.yields, 10 * i);
        assert_int_equal(co_yield(), 0);
    }
    assert_int_equal(co_gather(t, 10, NULL, 0), 0);
    return 0;
}

CO_TEST(gather_keeps_the_order_of_the_tasks)
{
    struct co_task t[4];
    int results[4];

    for (intptr_t i = 0; i < 4; i++)
        t[i] = test_spawn(test_return, (void *)(i + 10));
    test_settle();
    assert_int_equal(test_await(t[2]), 12);
    t[2] = test_spawn(test_return, (void *)22);
    assert_int_equal(co_gather(t, 4, results, 0), 0);
    assert_int_equal(results[0], 10);
    assert_int_equal(results[1], 11);
    assert_int_equal(results[2], 22);
    assert_int_equal(results[3], 13);
    assert_int_equal(co_await(t[0], NULL), -ESRCH);
    assert_int_equal(co_gather(NULL, 0, NULL, 0), 0);
    return 0;
}

static int fail_soon(void *arg)
{
    (void)arg;
    assert_int_equal(co_yield(), 0);
    return -EIO;
}

static int note_after_event(void *arg)
{
    int rc = co_event_wait(arg);

    if (rc == 0)
        seen.n_order++;
    return rc;
}

CO_TEST(gather_returns_the_first_error_and_the_others_go_on)
{
    struct co_event event;
    struct co_task t[3];

    co_event_init(&event);
    t[0] = test_spawn(note_after_event, &event);
    t[1] = test_spawn(fail_soon, NULL);
    t[2] = test_spawn(test_sleep_for_ever, NULL);
    assert_int_equal(co_gather(t, 3, NULL, 0), -EIO);
    assert_int_equal(co_count(), 3);
    assert_int_equal(co_detach(t[0]), -ESRCH);
    co_event_set(&event);
    assert_int_equal(co_cancel(t[2]), 0);
    test_settle();
    assert_int_equal(co_count(), 1);
    assert_int_equal(seen.n_order, 1);
    return 0;
}

CO_TEST(gather_collects_errors_when_asked_to)
{
    struct co_task t[5], cancelled;
    int results[5];

    t[0] = test_spawn(fail_soon, NULL);
    t[1] = cancelled = test_spawn(test_sleep_for_ever, NULL);
    t[2] = test_spawn(test_return, (void *)1);
    t[3] = co_self();
    t[4] = (struct co_task){ 0 };
    assert_int_equal(co_cancel(cancelled), 0);
    assert_int_equal(co_gather(t, 5, results, CO_KEEP_ERRORS), 0);
    assert_int_equal(results[0], -EIO);
    assert_int_equal(results[1], -ECANCELED);
    assert_int_equal(results[2], 1);
    assert_int_equal(results[3], -EDEADLK);
    assert_int_equal(results[4], -ESRCH);
    return 0;
}

CO_TEST(a_handle_given_twice_gives_its_result_twice)
{
    struct co_task t[2];
    int results[2];

    t[0] = t[1] = test_spawn(test_return, (void *)1);
    assert_int_equal(co_gather(t, 2, results, CO_KEEP_ERRORS), 0);
    assert_int_equal(results[0], 1);
    assert_int_equal(results[1], 1);
    assert_int_equal(co_done(t[0]), -ESRCH);
    return 0;
}

static int gather_all(void *arg)
{
    return co_gather(arg, 3, NULL, 0);
}

CO_TEST(cancelling_a_gather_cancels_all)
{
    struct co_task t[3], gatherer;

    for (int i = 0; i < 3; i++)
        t[i] = test_spawn(test_sleep_for_ever, NULL);
    gatherer = test_spawn(gather_all, t);
    test_settle();
    assert_int_equal(co_cancel(gatherer), 0);
    assert_int_equal(test_await(gatherer), -ECANCELED);
    assert_int_equal(co_count(), 1);
    return 0;
}

static int read_byte(void *arg)
{
    char byte = 0;
    int rc = co_wait_fd(*(int *)arg, CO_READABLE);

    if (rc < 0)
        return rc;
    return read(*(int *)arg, &byte, 1) == 1 ? byte : -errno;
}

CO_TEST(a_descriptor_is_waited_for)
{
    struct co_task t;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    t = test_spawn(read_byte, &ends[0]);
    test_settle();
    assert_int_equal(co_done(t), 0);
    assert_int_equal(co_wait_fd(ends[1], CO_WRITABLE), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(test_await(t), 'x');
    close(ends[1]);
    assert_int_equal(co_wait_fd(ends[0], CO_READABLE), 0); /* its end counts, too */
    close(ends[0]);
    assert_int_equal(co_wait_fd(ends[0], CO_READABLE), -EBADF);
    assert_int_equal(co_wait_fd(-1, CO_READABLE), -EBADF);
    assert_int_equal(co_wait_fd(ends[0], 0), -EINVAL);
    return 0;
}

CO_TEST(who_waits_for_a_descriptor_can_be_cancelled)
{
    struct co_task t;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    t = test_spawn(read_byte, &ends[0]);
    test_settle();
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(test_await(t), -ECANCELED);
    t = test_spawn(read_byte, &ends[0]); /* the descriptor is free again */
    test_settle();
    assert_int_equal(write(ends[1], "y", 1), 1);
    assert_int_equal(test_await(t), 'y');
    close(ends[0]);
    close(ends[1]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_sleep_is_not_too_short, reset),
        cmocka_unit_test_setup(no_sleep_lets_others_run_once, reset),
        cmocka_unit_test_setup(a_sleep_for_ever_ends_when_cancelled, reset),
        cmocka_unit_test_setup(sleepers_wake_in_the_order_of_their_deadlines, reset),
        cmocka_unit_test_setup(everything_ready_runs_once_in_a_yield, reset),
        cmocka_unit_test_setup(gather_keeps_the_order_of_the_tasks, reset),
        cmocka_unit_test_setup(gather_returns_the_first_error_and_the_others_go_on, reset),
        cmocka_unit_test_setup(gather_collects_errors_when_asked_to, reset),
        cmocka_unit_test_setup(a_handle_given_twice_gives_its_result_twice, reset),
        cmocka_unit_test_setup(cancelling_a_gather_cancels_all, reset),
        cmocka_unit_test_setup(a_descriptor_is_waited_for, reset),
        cmocka_unit_test_setup(who_waits_for_a_descriptor_can_be_cancelled, reset),
    };

    return cmocka_run_group_tests_name("co/wait", tests, NULL, NULL);
}
