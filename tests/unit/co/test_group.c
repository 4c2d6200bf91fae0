#include "tests/unit/co/fixture.h"

struct child {
    int result; /* that it ends with; -EINTR: waits until cancelled */
    bool cancelled, ended;
};

static int child(void *arg)
{
    struct child *c = arg;

    if (c->result == -EINTR) {
        c->cancelled = co_sleep_until(CO_NEVER) == -ECANCELED;
        c->ended = true;
        return -ECANCELED;
    }
    assert_int_equal(co_sleep(MS), 0);
    c->ended = true;
    return c->result;
}

CO_TEST(a_group_waits_for_its_children)
{
    struct child a = { 0 }, b = { .result = 3 };
    struct co_group g;

    co_group_open(&g);
    assert_int_equal(co_group_close(&g, 0), 0);
    co_group_open(&g);
    assert_int_equal(co_group_spawn(&g, "a", child, &a, NULL), 0);
    assert_int_equal(co_group_spawn(&g, "b", child, &b, NULL), 0);
    assert_int_equal(co_group_close(&g, 5), 5);
    assert_true(a.ended && b.ended);
    assert_int_equal(co_count(), 1);
    return 0;
}

CO_TEST(a_failing_child_cancels_the_others_and_the_opener)
{
    struct child fails = { .result = -EIO }, waits = { .result = -EINTR };
    struct co_group g;
    struct co_task t;

    co_group_open(&g);
    assert_int_equal(co_group_spawn(&g, "waits", child, &waits, NULL), 0);
    assert_int_equal(co_group_spawn(&g, "fails", child, &fails, &t), 0);
    assert_int_equal(test_await(t), -EIO);       /* while it lives */
    assert_int_equal(co_await(t, NULL), -ESRCH); /* it was the group's */
    assert_int_equal(co_sleep_until(CO_NEVER), -ECANCELED);
    assert_int_equal(co_group_spawn(&g, "late", child, &waits, NULL), -ECANCELED);
    assert_int_equal(co_group_close(&g, -ECANCELED), -EIO);
    assert_true(waits.cancelled);
    assert_int_equal(co_yield(), 0);
    return 0;
}

CO_TEST(a_child_may_fail_while_the_opener_closes)
{
    struct child fails = { .result = -EIO }, waits = { .result = -EINTR };
    struct co_group g;

    co_group_open(&g);
    assert_int_equal(co_group_spawn(&g, "waits", child, &waits, NULL), 0);
    assert_int_equal(co_group_spawn(&g, "fails", child, &fails, NULL), 0);
    assert_int_equal(co_group_close(&g, 0), -EIO);
    assert_true(waits.cancelled && waits.ended);
    return 0;
}

CO_TEST(a_cancelled_child_is_no_error)
{
    struct child waits = { .result = -EINTR }, ends = { 0 };
    struct co_group g;
    struct co_task t;

    co_group_open(&g);
    assert_int_equal(co_group_spawn(&g, "waits", child, &waits, &t), 0);
    assert_int_equal(co_group_spawn(&g, "ends", child, &ends, NULL), 0);
    test_settle();
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(co_group_close(&g, 0), 0);
    assert_true(waits.cancelled && ends.ended);
    return 0;
}

CO_TEST(cancelling_a_group_is_no_error)
{
    struct child waits = { .result = -EINTR };
    struct co_group g;

    co_group_open(&g);
    assert_int_equal(co_group_spawn(&g, "waits", child, &waits, NULL), 0);
    test_settle();
    co_group_cancel(&g);
    assert_int_equal(co_group_close(&g, 0), 0);
    assert_true(waits.cancelled);
    assert_int_equal(co_yield(), 0);
    return 0;
}

static int group_of_waiters(void *arg)
{
    struct child *waits = arg;
    struct co_group g;

    co_group_open(&g);
    for (int i = 0; i < 3; i++)
        assert_int_equal(co_group_spawn(&g, "waits", child, &waits[i], NULL), 0);
    return co_group_close(&g, 0);
}

CO_TEST(cancelling_the_opener_cancels_the_children)
{
    struct child waits[3] = { { .result = -EINTR }, { .result = -EINTR }, { .result = -EINTR } };
    struct co_task t = test_spawn(group_of_waiters, waits);

    test_settle();
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(test_await(t), -ECANCELED);
    for (int i = 0; i < 3; i++)
        assert_true(waits[i].cancelled);
    return 0;
}

CO_TEST(a_deadline_around_a_group_ends_it)
{
    struct child waits[3] = { { .result = -EINTR }, { .result = -EINTR }, { .result = -EINTR } };
    struct co_scope s;

    co_scope_open(&s, clock_mono_ns() + MS, 0);
    assert_int_equal(co_scope_close(&s, group_of_waiters(waits)), -ETIMEDOUT);
    assert_true(waits[0].ended && waits[1].ended && waits[2].ended);
    return 0;
}

static int nested_group(void *arg)
{
    return group_of_waiters(arg);
}

CO_TEST(a_cancelled_group_cancels_the_groups_of_its_children)
{
    struct child waits[3] = { { .result = -EINTR }, { .result = -EINTR }, { .result = -EINTR } };
    struct child fails = { .result = -EIO };
    struct co_group g;

    co_group_open(&g);
    assert_int_equal(co_group_spawn(&g, "nested", nested_group, waits, NULL), 0);
    assert_int_equal(co_group_spawn(&g, "fails", child, &fails, NULL), 0);
    assert_int_equal(co_group_close(&g, 0), -EIO);
    assert_true(waits[0].cancelled && waits[1].cancelled && waits[2].cancelled);
    return 0;
}

struct spawner {
    struct co_group *group;
    struct child *child;
};

static int spawn_sibling(void *arg)
{
    struct spawner *s = arg;
    int rc = co_sleep(MS);

    return rc < 0 ? rc : co_group_spawn(s->group, "sibling", child, s->child, NULL);
}

CO_TEST(a_child_spawns_into_its_group_while_it_closes)
{
    struct child late = { 0 };
    struct co_group g;
    struct spawner s = { &g, &late };

    co_group_open(&g);
    assert_int_equal(co_group_spawn(&g, "spawner", spawn_sibling, &s, NULL), 0);
    assert_int_equal(co_group_close(&g, 0), 0);
    assert_true(late.ended);
    return 0;
}

static int leave_children(struct child *a)
{
    struct co_group g CO_GROUP_AUTO;

    co_group_open(&g);
    assert_int_equal(co_group_spawn(&g, "a", child, a, NULL), 0);
    return co_yield();
}

CO_TEST(an_early_return_joins_the_children)
{
    struct child a = { .result = -EINTR };

    assert_int_equal(leave_children(&a), 0);
    assert_true(a.cancelled);
    assert_int_equal(co_count(), 1);
    assert_int_equal(co_yield(), 0);
    return 0;
}

CO_TEST(a_group_closed_with_an_error_cancels_its_children)
{
    struct child a = { .result = -EINTR };
    struct co_group g;

    co_group_open(&g);
    assert_int_equal(co_group_spawn(&g, "a", child, &a, NULL), 0);
    assert_int_equal(co_yield(), 0);
    assert_int_equal(co_group_close(&g, -EIO), -EIO);
    assert_true(a.cancelled);
    return 0;
}

static int fail_when_cancelled(void *arg)
{
    (void)co_sleep_until(CO_NEVER);
    return (int)(intptr_t)arg;
}

CO_TEST(a_group_keeps_the_errors_of_its_children)
{
    struct co_group g;

    co_group_open(&g);
    for (int i = 1; i <= CO_GROUP_ERRORS + 2; i++)
        assert_int_equal(
                co_group_spawn(&g, "a", fail_when_cancelled, (void *)(intptr_t)-i, NULL), 0);
    assert_int_equal(co_yield(), 0);
    assert_int_equal(co_group_spawn(&g, "b", test_return, (void *)(intptr_t)-EIO, NULL), 0);
    assert_int_equal(co_group_close(&g, 0), -EIO);
    assert_int_equal(g.n_errors, CO_GROUP_ERRORS + 3);
    assert_int_equal(g.errors[0], -EIO);
    assert_int_equal(g.errors[1], -1);
    assert_int_equal(g.errors[CO_GROUP_ERRORS - 1], -(CO_GROUP_ERRORS - 1));
    return 0;
}

static int cancels_seen(void *arg)
{
    (void)co_sleep_until(CO_NEVER);
    *(unsigned *)arg = co_cancelling(co_self());
    return 0;
}

CO_TEST(cancelling_a_group_twice_cancels_a_child_once)
{
    unsigned n = 0;
    struct co_group g;

    co_group_open(&g);
    assert_int_equal(co_group_spawn(&g, "a", cancels_seen, &n, NULL), 0);
    assert_int_equal(co_yield(), 0);
    co_group_cancel(&g);
    co_group_cancel(&g);
    assert_int_equal(co_group_close(&g, 0), 0);
    assert_int_equal(n, 1);
    return 0;
}

static int wait_for_event(void *arg)
{
    return co_event_wait(arg);
}

static int close_group(void *arg)
{
    struct co_group g;

    co_group_open(&g);
    assert_int_equal(co_group_spawn(&g, "a", wait_for_event, arg, NULL), 0);
    return co_group_close(&g, 0);
}

struct opener {
    struct co_task task;
    int rc;
};

static int await_opener(void *arg)
{
    struct opener *o = arg;

    o->rc = co_await(o->task, NULL);
    return 0;
}

/* The child waits first, and only then does the opener wait for it. */
CO_TEST(a_child_that_waits_for_its_opener_already_is_a_deadlock)
{
    struct opener o = { .task = co_self() };
    struct co_group g;

    co_group_open(&g);
    assert_int_equal(co_group_spawn(&g, "child", await_opener, &o, NULL), 0);
    test_settle();
    assert_int_equal(co_group_close(&g, 0), 0);
    assert_int_equal(o.rc, -EDEADLK);
    return 0;
}

CO_TEST(a_closed_group_takes_no_child)
{
    struct child a = { 0 };
    struct co_group g;

    co_group_open(&g);
    assert_int_equal(co_group_close(&g, 0), 0);
    assert_int_equal(co_group_spawn(&g, "late", child, &a, NULL), -EINVAL);
    return 0;
}

struct late {
    struct co_hook hook;
    struct co_group *group;
};

static void spawn_late(struct co_hook *h, int result)
{
    (void)result;
    assert_int_equal(co_group_spawn(CONTAINER_OF(h, struct late, hook)->group, "late",
                             test_sleep_for_ever, NULL, NULL),
            0);
}

static int close_with_late_child(void *arg)
{
    struct late late = { .hook.ended = spawn_late };
    struct co_group g;
    struct co_task first;

    co_group_open(&g);
    late.group = &g;
    assert_int_equal(co_group_spawn(&g, "first", wait_for_event, arg, &first), 0);
    assert_int_equal(co_on_done(first, &late.hook), 0);
    return co_group_close(&g, 0);
}

CO_TEST(a_cancellation_while_the_last_child_ends_is_not_lost)
{
    struct co_event go;
    struct co_task t;

    co_event_init(&go);
    t = test_spawn(close_group, &go);
    test_settle();
    co_event_set(&go); /* the child is ready, and runs after us */
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(test_await(t), -ECANCELED);
    return 0;
}

CO_TEST(a_late_child_is_waited_for_and_cancelled_as_the_others)
{
    struct co_event go;
    struct co_task t;

    co_event_init(&go);
    t = test_spawn(close_with_late_child, &go);
    test_settle();
    co_event_set(&go);
    test_settle();
    assert_int_equal(co_done(t), 0);
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(test_await(t), -ECANCELED);
    assert_int_equal(co_count(), 1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_waits_for_its_children),
        cmocka_unit_test(a_failing_child_cancels_the_others_and_the_opener),
        cmocka_unit_test(a_child_may_fail_while_the_opener_closes),
        cmocka_unit_test(a_cancelled_child_is_no_error),
        cmocka_unit_test(cancelling_a_group_is_no_error),
        cmocka_unit_test(cancelling_the_opener_cancels_the_children),
        cmocka_unit_test(a_deadline_around_a_group_ends_it),
        cmocka_unit_test(a_cancelled_group_cancels_the_groups_of_its_children),
        cmocka_unit_test(a_child_spawns_into_its_group_while_it_closes),
        cmocka_unit_test(an_early_return_joins_the_children),
        cmocka_unit_test(a_group_closed_with_an_error_cancels_its_children),
        cmocka_unit_test(a_group_keeps_the_errors_of_its_children),
        cmocka_unit_test(cancelling_a_group_twice_cancels_a_child_once),
        cmocka_unit_test(a_child_that_waits_for_its_opener_already_is_a_deadlock),
        cmocka_unit_test(a_closed_group_takes_no_child),
        cmocka_unit_test(a_cancellation_while_the_last_child_ends_is_not_lost),
        cmocka_unit_test(a_late_child_is_waited_for_and_cancelled_as_the_others),
    };

    return cmocka_run_group_tests_name("co/group", tests, NULL, NULL);
}
