/* Locks, and conditions that go with one. */
#include "tests/unit/co/fixture.h"

#include <string.h>

static struct {
    struct co_lock lock;
    struct co_condition condition;
    struct co_event go;
    char order[16];
    unsigned n_order, inside;
    int value, rc;
} seen;

static int reset(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    co_lock_init(&seen.lock);
    co_condition_init(&seen.condition);
    co_event_init(&seen.go);
    return 0;
}

static int critical(void *arg)
{
    int rc = co_lock_enter(&seen.lock);

    if (rc < 0)
        return rc;
    assert_int_equal(seen.inside++, 0);
    seen.order[seen.n_order++] = *(const char *)arg;
    rc = co_event_wait(&seen.go);
    seen.inside--;
    assert_int_equal(co_lock_leave(&seen.lock), 0);
    return rc;
}

CO_TEST(one_at_a_time_in_order)
{
    struct co_task t[3];

    t[0] = test_spawn(critical, "a");
    t[1] = test_spawn(critical, "b");
    t[2] = test_spawn(critical, "c");
    test_settle();
    assert_string_equal(seen.order, "a");
    co_event_set(&seen.go);
    assert_int_equal(co_gather(t, 3, NULL, 0), 0);
    assert_string_equal(seen.order, "abc");
    return 0;
}

CO_TEST(only_the_owner_leaves)
{
    struct co_task t = test_spawn(critical, "a");

    assert_int_equal(co_lock_leave(&seen.lock), -EPERM);
    assert_int_equal(co_condition_wait_holding(&seen.condition, &seen.lock), -EPERM);
    test_settle();
    assert_int_equal(co_lock_leave(&seen.lock), -EPERM);
    co_event_set(&seen.go);
    assert_int_equal(test_await(t), 0);
    assert_int_equal(co_lock_enter(&seen.lock), 0);
    assert_int_equal(co_lock_enter(&seen.lock), -EDEADLK);
    assert_int_equal(co_lock_leave(&seen.lock), 0);
    return 0;
}

/* Left by whom it is passed to while that one is cancelled, the lock goes to the next. */
CO_TEST(a_cancelled_waiter_passes_the_lock_on)
{
    struct co_task a, b, c;

    a = test_spawn(critical, "a");
    b = test_spawn(critical, "b");
    c = test_spawn(critical, "c");
    test_settle();
    co_event_set(&seen.go);
    assert_int_equal(co_yield(), 0); /* a is done: the lock is b's, which has not run yet */
    assert_int_equal(co_cancel(b), 0);
    assert_int_equal(test_await(b), -ECANCELED);
    assert_int_equal(test_await(a), 0);
    assert_int_equal(test_await(c), 0);
    assert_string_equal(seen.order, "ac");
    assert_int_equal(co_lock_enter(&seen.lock), 0);
    assert_int_equal(co_lock_leave(&seen.lock), 0);
    return 0;
}

static int wait_for_value(void *arg)
{
    int rc = co_lock_enter(&seen.lock);

    (void)arg;
    while (rc == 0 && seen.value == 0)
        rc = co_condition_wait_holding(&seen.condition, &seen.lock);
    seen.rc = rc;
    assert_int_equal(co_lock_leave(&seen.lock), 0); /* ours, whatever came of it */
    return rc;
}

CO_TEST(the_lock_is_given_up_for_the_wait_and_back_after_it)
{
    struct co_task t = test_spawn(wait_for_value, NULL);

    test_settle();
    assert_int_equal(co_lock_enter(&seen.lock), 0);
    seen.value = 1;
    co_condition_notify(&seen.condition, 1);
    test_settle();
    assert_int_equal(co_done(t), 0); /* it waits for the lock */
    assert_int_equal(co_lock_leave(&seen.lock), 0);
    assert_int_equal(test_await(t), 0);
    return 0;
}

CO_TEST(a_cancelled_wait_has_the_lock_back_as_well)
{
    struct co_task t = test_spawn(wait_for_value, NULL);

    test_settle();
    assert_int_equal(co_lock_enter(&seen.lock), 0);
    assert_int_equal(co_cancel(t), 0);
    test_settle();
    assert_int_equal(co_done(t), 0);
    assert_int_equal(co_lock_leave(&seen.lock), 0);
    assert_int_equal(test_await(t), -ECANCELED);
    assert_int_equal(seen.rc, -ECANCELED);
    return 0;
}

CO_TEST(an_event_that_is_cleared_is_waited_for_again)
{
    struct co_task t;

    co_event_set(&seen.go);
    assert_int_equal(co_event_wait(&seen.go), 0);
    co_event_clear(&seen.go);
    t = test_spawn(critical, "a");
    test_settle();
    assert_int_equal(co_done(t), 0);
    co_event_set(&seen.go);
    co_event_clear(&seen.go); /* who waited goes on all the same */
    assert_int_equal(test_await(t), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_at_a_time_in_order, reset),
        cmocka_unit_test_setup(only_the_owner_leaves, reset),
        cmocka_unit_test_setup(a_cancelled_waiter_passes_the_lock_on, reset),
        cmocka_unit_test_setup(the_lock_is_given_up_for_the_wait_and_back_after_it, reset),
        cmocka_unit_test_setup(a_cancelled_wait_has_the_lock_back_as_well, reset),
        cmocka_unit_test_setup(an_event_that_is_cleared_is_waited_for_again, reset),
    };

    return cmocka_run_group_tests_name("co/lock", tests, NULL, NULL);
}
