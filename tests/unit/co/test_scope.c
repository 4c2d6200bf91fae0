#include "tests/unit/co/fixture.h"

#include <stdlib.h>

CO_TEST(a_past_deadline_refuses_at_once)
{
    struct co_scope s;

    co_scope_open(&s, 0, 0);
    assert_true(co_cancelled());
    assert_int_equal(co_sleep(1000 * MS), -ECANCELED);
    assert_int_equal(co_yield(), -ECANCELED);
    assert_int_equal(co_scope_close(&s, -ECANCELED), -ETIMEDOUT);
    assert_false(co_cancelled());
    return 0;
}

CO_TEST(a_deadline_ends_what_is_awaited)
{
    int64_t begin = clock_mono_ns();
    struct co_scope s;

    co_scope_open(&s, begin + 2 * MS, 0);
    assert_int_equal(co_sleep_until(CO_NEVER), -ECANCELED);
    assert_true(clock_mono_ns() >= begin + 2 * MS);
    assert_int_equal(co_sleep(1), -ECANCELED);
    assert_int_equal(co_scope_close(&s, -ECANCELED), -ETIMEDOUT);
    assert_int_equal(co_yield(), 0);
    return 0;
}

CO_TEST(a_late_deadline_does_not_undo_success)
{
    struct co_scope s;

    co_scope_open(&s, 0, 0);
    assert_int_equal(co_scope_close(&s, 0), 0);
    co_scope_open(&s, 0, 0);
    assert_int_equal(co_scope_close(&s, -EIO), -EIO);
    co_scope_open(&s, CO_NEVER, 0);
    assert_int_equal(co_scope_close(&s, -ECANCELED), -ECANCELED);
    return 0;
}

CO_TEST(an_inner_deadline_ends_the_inner_scope_only)
{
    struct co_scope outer, inner;

    co_scope_open(&outer, clock_mono_ns() + 60000 * MS, 0);
    co_scope_open(&inner, clock_mono_ns() + MS, 0);
    assert_int_equal(co_scope_close(&inner, co_sleep_until(CO_NEVER)), -ETIMEDOUT);
    assert_int_equal(co_sleep(1), 0);
    assert_int_equal(co_scope_close(&outer, 0), 0);
    return 0;
}

CO_TEST(an_outer_deadline_passes_through_the_inner_scope)
{
    struct co_scope outer, inner;

    co_scope_open(&outer, clock_mono_ns() + MS, 0);
    co_scope_open(&inner, clock_mono_ns() + 60000 * MS, 0);
    assert_int_equal(co_scope_close(&inner, co_sleep_until(CO_NEVER)), -ECANCELED);
    assert_int_equal(co_sleep(1), -ECANCELED);
    assert_int_equal(co_scope_close(&outer, -ECANCELED), -ETIMEDOUT);
    return 0;
}

CO_TEST(when_both_are_due_it_is_the_outer_that_timed_out)
{
    struct co_scope outer, inner;
    int64_t deadline = clock_mono_ns() + MS;

    co_scope_open(&outer, deadline, 0);
    co_scope_open(&inner, deadline, 0);
    assert_int_equal(co_scope_close(&inner, co_sleep_until(CO_NEVER)), -ECANCELED);
    assert_int_equal(co_scope_close(&outer, -ECANCELED), -ETIMEDOUT);
    return 0;
}

static int cancel_scope(void *arg)
{
    co_scope_cancel(arg);
    co_scope_cancel(arg);
    return 0;
}

CO_TEST(another_task_cancels_a_scope)
{
    struct co_scope s;

    co_scope_open(&s, clock_mono_ns() + 60000 * MS, 0);
    assert_int_equal(co_spawn_detached("canceller", cancel_scope, &s), 0);
    assert_int_equal(co_scope_close(&s, co_sleep_until(CO_NEVER)), -ECANCELED);
    assert_int_equal(co_yield(), 0);
    return 0;
}

CO_TEST(a_cancelled_scope_does_not_time_out)
{
    struct co_scope s;

    co_scope_open(&s, clock_mono_ns() + MS, 0);
    co_scope_cancel(&s);
    assert_int_equal(co_sleep(1), -ECANCELED);
    assert_int_equal(co_scope_close(&s, -ECANCELED), -ECANCELED);
    return 0;
}

static int behind_shield(void *arg)
{
    struct co_event *go = arg;
    struct co_scope shield, inner;

    co_scope_open(&shield, clock_mono_ns() + 60000 * MS, CO_SHIELD);
    assert_int_equal(co_event_wait(go), 0); /* we are cancelled meanwhile */
    assert_false(co_cancelled());
    assert_int_equal(co_sleep(MS), 0);
    co_scope_open(&inner, 0, 0);
    assert_int_equal(co_scope_close(&inner, co_yield()), -ETIMEDOUT);
    assert_int_equal(co_scope_close(&shield, 0), 0);
    assert_true(co_cancelled());
    co_scope_open(&shield, CO_NEVER, CO_SHIELD);
    assert_false(co_cancelled());
    assert_int_equal(co_yield(), 0);
    assert_int_equal(co_scope_close(&shield, 0), 0);
    return co_sleep(1);
}

CO_TEST(a_shield_keeps_cancellation_out)
{
    struct co_event go;
    struct co_task t;

    co_event_init(&go);
    t = test_spawn(behind_shield, &go);
    test_settle();
    assert_int_equal(co_cancel(t), 0);
    test_settle();
    co_event_set(&go);
    assert_int_equal(test_await(t), -ECANCELED);
    return 0;
}

CO_TEST(a_shield_has_a_deadline_of_its_own)
{
    struct co_scope outer, shield;

    co_scope_open(&outer, 0, 0);
    co_scope_open(&shield, clock_mono_ns() + MS, CO_SHIELD);
    /* The outer scope has timed out as well, so that is not for the shield to report. */
    assert_int_equal(co_scope_close(&shield, co_sleep_until(CO_NEVER)), -ECANCELED);
    assert_int_equal(co_scope_close(&outer, -ECANCELED), -ETIMEDOUT);
    co_scope_open(&shield, clock_mono_ns() + MS, CO_SHIELD);
    assert_int_equal(co_scope_close(&shield, co_sleep_until(CO_NEVER)), -ETIMEDOUT);
    return 0;
}

CO_TEST(a_deadline_is_moved)
{
    struct co_scope s;

    co_scope_open(&s, co_deadline(MS), 0);
    assert_int_equal(co_scope_rearm(&s, CO_NEVER), 0);
    assert_int_equal(co_sleep(3 * MS), 0);
    assert_int_equal(co_scope_rearm(&s, co_deadline(MS)), 0);
    assert_int_equal(co_sleep_until(CO_NEVER), -ECANCELED);
    assert_int_equal(co_scope_rearm(&s, CO_NEVER), -ETIMEDOUT); /* too late */
    assert_int_equal(co_scope_close(&s, -ECANCELED), -ETIMEDOUT);
    assert_int_equal(co_scope_rearm(&s, CO_NEVER), -ETIMEDOUT);

    co_scope_open(&s, CO_NEVER, 0);
    assert_int_equal(co_scope_rearm(&s, 1), 0); /* now */
    assert_int_equal(co_yield(), -ECANCELED);
    assert_int_equal(co_scope_close(&s, -ECANCELED), -ETIMEDOUT);
    assert_int_equal(co_yield(), 0);
    return 0;
}

static int return_early(void)
{
    struct co_scope s CO_SCOPE_AUTO;

    co_scope_open(&s, 1, 0);
    return co_yield();
}

CO_TEST(an_early_return_closes_the_scope)
{
    assert_int_equal(return_early(), -ECANCELED);
    assert_int_equal(co_yield(), 0);
    return 0;
}

static int take_back(void *arg)
{
    struct co_scope s;

    (void)arg;
    co_scope_open(&s, co_deadline(1000000 * MS), 0);
    assert_int_equal(co_sleep_until(CO_NEVER), -ECANCELED);
    assert_int_equal(co_cancelling(co_self()), 2);
    assert_int_equal(co_uncancel(), 1);
    assert_int_equal(co_yield(), -ECANCELED);
    assert_int_equal(co_uncancel(), 0);
    assert_int_equal(co_yield(), 0);
    assert_int_equal(co_uncancel(), 0);
    return co_scope_close(&s, 6);
}

CO_TEST(what_is_taken_back_is_over)
{
    struct co_task t = test_spawn(take_back, NULL);

    test_settle();
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(test_await(t), 6);
    assert_int_equal(co_uncancel(), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_past_deadline_refuses_at_once),
        cmocka_unit_test(a_deadline_ends_what_is_awaited),
        cmocka_unit_test(a_late_deadline_does_not_undo_success),
        cmocka_unit_test(an_inner_deadline_ends_the_inner_scope_only),
        cmocka_unit_test(an_outer_deadline_passes_through_the_inner_scope),
        cmocka_unit_test(when_both_are_due_it_is_the_outer_that_timed_out),
        cmocka_unit_test(another_task_cancels_a_scope),
        cmocka_unit_test(a_cancelled_scope_does_not_time_out),
        cmocka_unit_test(a_shield_keeps_cancellation_out),
        cmocka_unit_test(a_shield_has_a_deadline_of_its_own),
        cmocka_unit_test(a_deadline_is_moved),
        cmocka_unit_test(an_early_return_closes_the_scope),
        cmocka_unit_test(what_is_taken_back_is_over),
    };

    return cmocka_run_group_tests_name("co/scope", tests, NULL, NULL);
}
