#include "tests/unit/co/fixture.h"

#include <string.h>

static struct {
    struct co_event event;
    struct co_gate gate;
    struct co_condition condition;
    char order[16];
    unsigned n_order;
    bool leave; /* the gate at the end */
} seen;

static int reset(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    co_event_init(&seen.event);
    co_gate_init(&seen.gate, 1);
    co_condition_init(&seen.condition);
    return 0;
}

static void note(const char *name)
{
    seen.order[seen.n_order++] = *name;
}

static int wait_event(void *arg)
{
    int rc = co_event_wait(&seen.event);

    if (rc == 0)
        note(arg);
    return rc;
}

static int enter_gate(void *arg)
{
    int rc = co_gate_enter(&seen.gate);

    if (rc < 0)
        return rc;
    note(arg);
    if (seen.leave)
        co_gate_leave(&seen.gate);
    return 0;
}

static int wait_condition(void *arg)
{
    int rc = co_condition_wait(&seen.condition);

    if (rc == 0)
        note(arg);
    return rc;
}

static void spawn_three(co_fn fn, struct co_task t[3])
{
    t[0] = test_spawn(fn, "a");
    t[1] = test_spawn(fn, "b");
    t[2] = test_spawn(fn, "c");
    test_settle();
}

CO_TEST(an_event_wakes_all_and_stays_set)
{
    struct co_task t[3];

    spawn_three(wait_event, t);
    assert_int_equal(seen.n_order, 0);
    assert_int_equal(co_cancel(t[1]), 0);
    co_event_set(&seen.event);
    assert_int_equal(seen.n_order, 0);
    assert_int_equal(test_await(t[0]), 0);
    assert_int_equal(test_await(t[1]), -ECANCELED);
    assert_int_equal(test_await(t[2]), 0);
    assert_string_equal(seen.order, "ac");
    assert_int_equal(co_event_wait(&seen.event), 0);
    co_event_set(&seen.event);
    return 0;
}

CO_TEST(a_gate_lets_in_order_and_no_more_than_it_may)
{
    struct co_task t[3];

    spawn_three(enter_gate, t);
    assert_string_equal(seen.order, "a");
    co_gate_leave(&seen.gate);
    assert_int_equal(seen.gate.permits, 0); /* handed to b: nobody can be faster */
    test_settle();
    assert_string_equal(seen.order, "ab");
    co_gate_leave(&seen.gate);
    test_settle();
    assert_string_equal(seen.order, "abc");
    co_gate_leave(&seen.gate);
    assert_int_equal(seen.gate.permits, 1);
    assert_int_equal(co_gather(t, 3, NULL, 0), 0);
    return 0;
}

CO_TEST(a_gate_without_permits_can_be_opened)
{
    struct co_task t;

    co_gate_init(&seen.gate, 0);
    seen.leave = true;
    t = test_spawn(enter_gate, "a");
    test_settle();
    assert_int_equal(seen.n_order, 0);
    co_gate_leave(&seen.gate);
    assert_int_equal(test_await(t), 0);
    assert_int_equal(seen.gate.permits, 1);
    return 0;
}

CO_TEST(a_cancelled_waiter_leaves_the_gates_queue)
{
    struct co_task t[3];

    spawn_three(enter_gate, t);
    assert_int_equal(co_cancel(t[1]), 0);
    assert_int_equal(test_await(t[1]), -ECANCELED);
    co_gate_leave(&seen.gate);
    test_settle();
    assert_string_equal(seen.order, "ac");
    co_gate_leave(&seen.gate);
    assert_int_equal(seen.gate.permits, 1);
    assert_true(list_empty(&seen.gate.waiters));
    return 0;
}

CO_TEST(a_chosen_waiter_that_is_cancelled_passes_its_permit_on)
{
    struct co_task t[3];

    spawn_three(enter_gate, t);
    co_gate_leave(&seen.gate); /* chooses b */
    assert_int_equal(co_cancel(t[1]), 0);
    assert_int_equal(test_await(t[1]), -ECANCELED);
    test_settle();
    assert_string_equal(seen.order, "ac");
    co_gate_leave(&seen.gate);
    assert_int_equal(seen.gate.permits, 1);
    return 0;
}

CO_TEST(a_chosen_waiter_cancelled_with_nobody_behind_returns_the_permit)
{
    struct co_task t;

    assert_int_equal(co_gate_enter(&seen.gate), 0);
    t = test_spawn(enter_gate, "a");
    test_settle();
    co_gate_leave(&seen.gate);
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(test_await(t), -ECANCELED);
    assert_int_equal(seen.gate.permits, 1);
    return 0;
}

CO_TEST(a_condition_notifies_in_order)
{
    struct co_task t[3];

    co_condition_notify(&seen.condition, 1); /* nobody: lost, as it should be */
    spawn_three(wait_condition, t);
    co_condition_notify(&seen.condition, 2);
    test_settle();
    assert_string_equal(seen.order, "ab");
    co_condition_notify_all(&seen.condition);
    test_settle();
    assert_string_equal(seen.order, "abc");
    assert_int_equal(co_gather(t, 3, NULL, 0), 0);
    return 0;
}

CO_TEST(a_notified_waiter_that_is_cancelled_passes_it_on)
{
    struct co_task t[3];

    spawn_three(wait_condition, t);
    co_condition_notify(&seen.condition, 1);
    assert_int_equal(co_cancel(t[0]), 0);
    test_settle();
    assert_string_equal(seen.order, "b");
    assert_int_equal(test_await(t[0]), -ECANCELED);
    co_condition_notify_all(&seen.condition);
    assert_int_equal(test_await(t[1]), 0);
    assert_int_equal(test_await(t[2]), 0);
    assert_string_equal(seen.order, "bc");
    return 0;
}

static void from_plain_code(void *arg)
{
    (void)arg;
    assert_int_equal(co_gate_enter(&seen.gate), -EPERM);
    assert_int_equal(co_event_wait(&seen.event), -EPERM);
    assert_int_equal(co_condition_wait(&seen.condition), -EPERM);
    co_gate_leave(&seen.gate);
    co_event_set(&seen.event);
    co_condition_notify_all(&seen.condition);
}

CO_TEST(plain_code_on_the_loop_sets_and_notifies)
{
    struct co_task t[3];

    assert_int_equal(co_gate_enter(&seen.gate), 0);
    t[0] = test_spawn(enter_gate, "a");
    t[1] = test_spawn(wait_event, "b");
    t[2] = test_spawn(wait_condition, "c");
    test_settle();
    co_on_loop(from_plain_code, NULL);
    assert_int_equal(seen.n_order, 0);
    assert_int_equal(co_gather(t, 3, NULL, 0), 0);
    assert_string_equal(seen.order, "abc");
    return 0;
}

CO_TEST(a_deadline_bounds_a_wait)
{
    struct co_scope s;

    assert_int_equal(co_gate_enter(&seen.gate), 0);
    co_scope_open(&s, clock_mono_ns() + MS, 0);
    assert_int_equal(co_scope_close(&s, co_gate_enter(&seen.gate)), -ETIMEDOUT);
    assert_true(list_empty(&seen.gate.waiters));
    co_gate_leave(&seen.gate);
    assert_int_equal(seen.gate.permits, 1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_event_wakes_all_and_stays_set, reset),
        cmocka_unit_test_setup(a_gate_lets_in_order_and_no_more_than_it_may, reset),
        cmocka_unit_test_setup(a_gate_without_permits_can_be_opened, reset),
        cmocka_unit_test_setup(a_cancelled_waiter_leaves_the_gates_queue, reset),
        cmocka_unit_test_setup(a_chosen_waiter_that_is_cancelled_passes_its_permit_on, reset),
        cmocka_unit_test_setup(
                a_chosen_waiter_cancelled_with_nobody_behind_returns_the_permit, reset),
        cmocka_unit_test_setup(a_condition_notifies_in_order, reset),
        cmocka_unit_test_setup(a_notified_waiter_that_is_cancelled_passes_it_on, reset),
        cmocka_unit_test_setup(plain_code_on_the_loop_sets_and_notifies, reset),
        cmocka_unit_test_setup(a_deadline_bounds_a_wait, reset),
    };

    return cmocka_run_group_tests_name("co/sync", tests, NULL, NULL);
}
