/* Waiting for some of several tasks, for as long as one likes, and without harm to them. */
#include "tests/unit/co/fixture.h"

#include <string.h>

static struct {
    struct co_event go[4];
    struct co_task other;
    int hooked[4], n_hooked;
    int rc;
} seen;

static int reset(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    for (int i = 0; i < 4; i++)
        co_event_init(&seen.go[i]);
    return 0;
}

/* Waits for its event; number 3 fails. */
static int runner(void *arg)
{
    intptr_t i = (intptr_t)arg;
    int rc = co_event_wait(&seen.go[i]);

    return rc < 0 ? rc : i == 3 ? -EIO : (int)i + 10;
}

static void spawn_runners(struct co_task *t, int n)
{
    for (intptr_t i = 0; i < n; i++)
        t[i] = test_spawn(runner, (void *)i);
    test_settle();
}

static void end_runners(struct co_task *t, int n)
{
    for (int i = 0; i < n; i++) {
        assert_int_equal(co_cancel(t[i]), 0);
        assert_int_equal(co_detach(t[i]), 0);
    }
    test_settle();
    assert_int_equal(co_count(), 1);
}

static int set_event(void *arg)
{
    co_event_set(arg);
    return 0;
}

static void set_later(int i)
{
    assert_int_equal(co_spawn_detached("set", set_event, &seen.go[i]), 0);
}

CO_TEST(wait_for_the_first_one)
{
    struct co_task t[3];
    size_t n = 9;

    spawn_runners(t, 3);
    set_later(1);
    assert_int_equal(co_wait(t, 3, CO_FIRST_DONE, CO_NEVER, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(co_done(t[0]), 0);
    assert_int_equal(co_done(t[1]), 1);
    assert_int_equal(co_wait(t, 3, CO_FIRST_DONE, CO_NEVER, &n), 0); /* again: at once */
    assert_int_equal(n, 1);
    assert_int_equal(co_keep(t[1]), 0);
    assert_int_equal(test_await(t[1]), 11);
    end_runners(t, 3);
    return 0;
}

CO_TEST(wait_for_all)
{
    struct co_task t[3];
    size_t n = 0;

    spawn_runners(t, 3);
    for (int i = 2; i >= 0; i--)
        set_later(i);
    assert_int_equal(co_wait(t, 3, CO_ALL_DONE, CO_NEVER, &n), 0);
    assert_int_equal(n, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(test_await(t[i]), 10 + i);
    return 0;
}

CO_TEST(wait_for_the_first_error_passes_over_cancelled_tasks)
{
    struct co_task t[4];
    size_t n = 0;

    spawn_runners(t, 4);
    assert_int_equal(co_cancel(t[0]), 0);
    test_settle();
    set_later(1);
    set_later(3);
    assert_int_equal(co_wait(t, 4, CO_FIRST_ERROR, CO_NEVER, &n), 0);
    assert_int_equal(n, 3);
    assert_int_equal(co_done(t[2]), 0);
    end_runners(t, 4);
    return 0;
}

CO_TEST(a_wait_that_ends_by_time_cancels_nothing)
{
    struct co_task t[2];
    size_t n = 9;

    spawn_runners(t, 2);
    assert_int_equal(co_wait(t, 2, CO_ALL_DONE, co_deadline(MS), &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(co_wait(t, 2, CO_ALL_DONE, 0, &n), 0);
    assert_int_equal(co_cancelling(t[0]), 0);
    co_event_set(&seen.go[0]);
    test_settle();
    assert_int_equal(test_await(t[0]), 10);
    end_runners(&t[1], 1);
    return 0;
}

CO_TEST(a_wait_for_a_stale_handle_waits_for_none)
{
    struct co_task t[2];

    spawn_runners(t, 1);
    t[1] = (struct co_task){ 0 };
    assert_int_equal(co_wait(t, 2, CO_FIRST_DONE, CO_NEVER, NULL), -ESRCH);
    assert_int_equal(co_wait(t, 0, CO_ALL_DONE, CO_NEVER, NULL), 0);
    end_runners(t, 1);
    return 0;
}

static int wait_other(void *arg)
{
    (void)arg;
    seen.rc = co_wait(&seen.other, 1, CO_ALL_DONE, CO_NEVER, NULL);
    return seen.rc;
}

CO_TEST(cancelling_who_waits_does_not_reach_the_tasks)
{
    struct co_task t, waiter;

    spawn_runners(&t, 1);
    seen.other = t;
    waiter = test_spawn(wait_other, NULL);
    test_settle();
    assert_int_equal(co_cancel(waiter), 0);
    assert_int_equal(test_await(waiter), -ECANCELED);
    assert_int_equal(co_cancelling(t), 0);
    end_runners(&t, 1);
    return 0;
}

CO_TEST(wait_for_cancels_at_the_deadline_and_waits_for_the_end)
{
    struct co_task t;
    int result = 0;

    spawn_runners(&t, 1);
    assert_int_equal(co_wait_for(t, co_deadline(MS), &result), -ETIMEDOUT);
    assert_int_equal(co_count(), 1);
    assert_int_equal(co_done(t), -ESRCH);
    spawn_runners(&t, 1);
    set_later(0);
    assert_int_equal(co_wait_for(t, co_deadline(1000 * MS), &result), 0);
    assert_int_equal(result, 10);
    t = test_spawn(test_return, (void *)6);
    test_settle();
    assert_int_equal(co_wait_for(t, 0, &result), 0); /* it had ended */
    assert_int_equal(result, 6);
    return 0;
}

/* Does not listen. */
static int stubborn(void *arg)
{
    int rc;

    do
        rc = co_event_wait(arg);
    while (rc < 0 && co_uncancel() == 0 && !((struct co_event *)arg)->set);
    return 42;
}

CO_TEST(wait_for_returns_what_a_task_made_of_its_cancellation)
{
    struct co_task t = test_spawn(stubborn, &seen.go[0]);
    int result = 0;

    test_settle();
    set_later(0);
    assert_int_equal(co_wait_for(t, 0, &result), 0);
    assert_int_equal(result, 42);
    return 0;
}

static int await_shielded(void *arg)
{
    int result = 0;

    (void)arg;
    seen.rc = co_shield(seen.other, &result);
    return seen.rc < 0 ? seen.rc : result;
}

CO_TEST(a_shielded_task_goes_on)
{
    struct co_task t, waiter;

    spawn_runners(&t, 1);
    seen.other = t;
    assert_int_equal(co_keep(t), 0);
    waiter = test_spawn(await_shielded, NULL);
    test_settle();
    assert_int_equal(co_cancel(waiter), 0);
    assert_int_equal(test_await(waiter), -ECANCELED);
    assert_int_equal(co_cancelling(t), 0);
    waiter = test_spawn(await_shielded, NULL); /* the handle that was kept */
    set_later(0);
    assert_int_equal(test_await(waiter), 10);
    assert_int_equal(co_done(t), -ESRCH);
    return 0;
}

CO_TEST(tasks_come_in_the_order_of_their_end)
{
    struct co_task t[4];
    struct co_completed c;
    size_t index = 9;
    int result = 0;

    spawn_runners(t, 4);
    co_event_set(&seen.go[2]);
    test_settle(); /* this one has ended already */
    assert_int_equal(co_completed_open(&c, t, 4), 0);
    set_later(3);
    set_later(0);
    assert_int_equal(co_completed_next(&c, &index, &result), 0);
    assert_true(index == 2 && result == 12);
    assert_int_equal(co_completed_next(&c, &index, &result), 0);
    assert_true(index == 3 && result == -EIO);
    assert_int_equal(co_completed_next(&c, &index, &result), 0);
    assert_true(index == 0 && result == 10);
    assert_int_equal(co_done(t[0]), -ESRCH);
    co_completed_close(&c);
    assert_int_equal(co_done(t[1]), 0); /* still ours */
    end_runners(&t[1], 1);

    assert_int_equal(co_completed_open(&c, t, 0), 0);
    assert_int_equal(co_completed_next(&c, &index, &result), -ENOENT);
    co_completed_close(&c);
    assert_int_equal(co_completed_open(&c, t, 1), -ESRCH);
    return 0;
}

struct hook {
    struct co_hook hook;
    int number;
};

static void hooked(struct co_hook *h, int result)
{
    assert_int_equal(co_yield(), -EPERM); /* plain code */
    seen.hooked[seen.n_hooked++] = CONTAINER_OF(h, struct hook, hook)->number;
    seen.rc = result;
}

CO_TEST(hooks_are_called_at_the_end_in_their_order)
{
    struct hook hooks[4];
    struct co_task t;

    spawn_runners(&t, 1);
    for (int i = 0; i < 4; i++) {
        hooks[i] = (struct hook){ .hook.ended = hooked, .number = i };
        if (i < 3)
            assert_int_equal(co_on_done(t, &hooks[i].hook), 0);
    }
    co_hook_remove(&hooks[1].hook);
    co_event_set(&seen.go[0]);
    test_settle();
    assert_true(seen.n_hooked == 2 && seen.hooked[0] == 0 && seen.hooked[1] == 2);
    assert_int_equal(seen.rc, 10);
    assert_int_equal(co_on_done(t, &hooks[3].hook), 0); /* at once */
    assert_int_equal(seen.n_hooked, 3);
    assert_int_equal(test_await(t), 10);
    assert_int_equal(co_on_done(t, &hooks[3].hook), -ESRCH);
    return 0;
}

static int await_one(void *arg)
{
    (void)arg;
    return co_await(seen.other, NULL);
}

CO_TEST(each_cancel_of_the_waiter_reaches_its_task)
{
    struct co_task t = test_spawn(stubborn, &seen.go[0]), waiter;

    seen.other = t;
    waiter = test_spawn(await_one, NULL);
    test_settle();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(co_cancel(waiter), 0);
        assert_int_equal(co_yield(), 0);
        if (i > 0)
            assert_int_equal(co_cancelling(t), 1);
        test_settle(); /* it takes each one back */
        assert_int_equal(co_cancelling(t), 0);
        assert_int_equal(co_done(t), 0);
    }
    co_event_set(&seen.go[0]);
    assert_int_equal(test_await(waiter), -ECANCELED);
    return 0;
}

/* The task ends in the same turn, but after the waiter was cancelled: that is what counts. */
CO_TEST(a_cancellation_before_the_end_is_first)
{
    struct co_task t, waiter;

    spawn_runners(&t, 1);
    seen.other = t;
    waiter = test_spawn(await_one, NULL);
    test_settle();
    co_event_set(&seen.go[0]); /* t is ready, and runs after us */
    assert_int_equal(co_cancel(waiter), 0);
    assert_int_equal(test_await(waiter), -ECANCELED);

    spawn_runners(&t, 1);
    co_event_set(&seen.go[0]);
    assert_int_equal(test_await(test_spawn(await_one, NULL)), -ESRCH); /* the handle was used up */
    assert_int_equal(test_await(t), 10);
    return 0;
}

static int await_in_shield(void *arg)
{
    struct co_scope s;

    (void)arg;
    co_scope_open(&s, co_deadline(MS), CO_SHIELD);
    seen.rc = co_await(seen.other, NULL);
    return co_scope_close(&s, seen.rc);
}

/* Counts how often it was cancelled before the event. */
static int count_cancels(void *arg)
{
    int n = 0;

    while (co_event_wait(arg) < 0 && co_uncancel() == 0)
        n++;
    return n;
}

CO_TEST(a_shielded_wait_is_not_roused_from_outside)
{
    struct co_task t = test_spawn(count_cancels, &seen.go[0]), waiter;

    seen.other = t;
    assert_int_equal(co_keep(t), 0);
    waiter = test_spawn(await_in_shield, NULL);
    assert_int_equal(co_sleep(3 * MS), 0); /* its own deadline has cancelled t, once */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(co_cancel(waiter), 0);
        test_settle();
    }
    co_event_set(&seen.go[0]);
    assert_int_equal(test_await(t), 1);
    assert_int_equal(test_await(waiter), -ECANCELED);
    return 0;
}

static int fail_with(void *arg)
{
    int rc = co_event_wait(&seen.go[0]);

    return rc < 0 ? rc : (int)(intptr_t)arg;
}

CO_TEST(gather_returns_the_first_of_several_errors)
{
    struct co_task t[3];
    int results[3];

    t[0] = test_spawn(fail_with, (void *)(intptr_t)-EIO);
    t[1] = test_spawn(fail_with, (void *)(intptr_t)-EPIPE);
    t[2] = test_spawn(fail_with, (void *)(intptr_t)-ENOSPC);
    set_later(0);
    assert_int_equal(co_gather(t, 3, results, 0), -EIO);
    assert_int_equal(co_count(), 1);
    return 0;
}

static int wait_for_other(void *arg)
{
    (void)arg;
    return co_wait_for(seen.other, co_deadline(MS), NULL);
}

CO_TEST(each_waits_for_the_other_is_a_deadlock)
{
    struct co_task t;

    seen.other = co_self();
    t = test_spawn(wait_for_other, NULL);
    assert_int_equal(co_wait_for(t, co_deadline(10000 * MS), &seen.rc), 0);
    assert_int_equal(seen.rc, -EDEADLK);
    return 0;
}

struct detaching {
    struct co_hook hook;
    struct co_task task;
    int rc;
};

static void detach_again(struct co_hook *h, int result)
{
    struct detaching *d = CONTAINER_OF(h, struct detaching, hook);

    (void)result;
    d->rc = co_detach(d->task);
}

CO_TEST(a_hook_can_not_use_a_handle_up_twice)
{
    struct detaching d = { .hook.ended = detach_again, .task = test_spawn(test_return, NULL) };
    struct co_task t[4];

    assert_int_equal(co_on_done(d.task, &d.hook), 0);
    assert_int_equal(co_detach(d.task), 0);
    test_settle();
    assert_int_equal(d.rc, -ESRCH);
    for (int i = 0; i < 4; i++)
        t[i] = test_spawn(test_return, (void *)(intptr_t)i);
    for (int i = 0; i < 4; i++)
        assert_int_equal(test_await(t[i]), i);
    return 0;
}

static int take_completed(void *arg)
{
    size_t index;
    int rc, result, sum = 0;

    while ((rc = co_completed_next(arg, &index, &result)) == 0)
        sum += result;
    assert_int_equal(rc, -ENOENT);
    return sum;
}

CO_TEST(two_tasks_share_what_completes)
{
    struct co_task t[3], takers[2];
    struct co_completed c;
    int sums[2];

    spawn_runners(t, 3);
    assert_int_equal(co_completed_open(&c, t, 3), 0);
    for (int i = 0; i < 2; i++)
        takers[i] = test_spawn(take_completed, &c);
    for (int i = 0; i < 3; i++)
        set_later(i);
    assert_int_equal(co_gather(takers, 2, sums, 0), 0);
    assert_int_equal(sums[0] + sums[1], 10 + 11 + 12);
    co_completed_close(&c);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(wait_for_the_first_one, reset),
        cmocka_unit_test_setup(wait_for_all, reset),
        cmocka_unit_test_setup(wait_for_the_first_error_passes_over_cancelled_tasks, reset),
        cmocka_unit_test_setup(a_wait_that_ends_by_time_cancels_nothing, reset),
        cmocka_unit_test_setup(a_wait_for_a_stale_handle_waits_for_none, reset),
        cmocka_unit_test_setup(cancelling_who_waits_does_not_reach_the_tasks, reset),
        cmocka_unit_test_setup(wait_for_cancels_at_the_deadline_and_waits_for_the_end, reset),
        cmocka_unit_test_setup(wait_for_returns_what_a_task_made_of_its_cancellation, reset),
        cmocka_unit_test_setup(a_shielded_task_goes_on, reset),
        cmocka_unit_test_setup(tasks_come_in_the_order_of_their_end, reset),
        cmocka_unit_test_setup(hooks_are_called_at_the_end_in_their_order, reset),
        cmocka_unit_test_setup(each_cancel_of_the_waiter_reaches_its_task, reset),
        cmocka_unit_test_setup(a_cancellation_before_the_end_is_first, reset),
        cmocka_unit_test_setup(a_shielded_wait_is_not_roused_from_outside, reset),
        cmocka_unit_test_setup(gather_returns_the_first_of_several_errors, reset),
        cmocka_unit_test_setup(each_waits_for_the_other_is_a_deadlock, reset),
        cmocka_unit_test_setup(a_hook_can_not_use_a_handle_up_twice, reset),
        cmocka_unit_test_setup(two_tasks_share_what_completes, reset),
    };

    return cmocka_run_group_tests_name("co/join", tests, NULL, NULL);
}
