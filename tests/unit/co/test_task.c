#include "tests/unit/co/fixture.h"

#include <stdlib.h>
#include <string.h>

static struct {
    char order[16];
    unsigned n_order;
    struct co_task other;
    int rc;
    bool ended;
} seen;

static int reset(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    return 0;
}

static int note(void *arg)
{
    seen.order[seen.n_order++] = *(const char *)arg;
    return 0;
}

static int run_again(void *arg)
{
    struct co_options options = { .max_tasks = 1 };

    return co_run(arg, &options, note, NULL);
}

static void run_gives_the_result_of_the_first_task(void **state)
{
    struct co_options one = { .max_tasks = 1 };
    struct loop *loop;

    (void)state;
    assert_int_equal(test_run(1, 0, test_return, (void *)7), 7);
    assert_int_equal(test_run(1, 0, test_return, (void *)(intptr_t)-EIO), -EIO);
    assert_int_equal(loop_new(&loop), 0);
    assert_int_equal(co_run(loop, &one, run_again, loop), -EBUSY);
    assert_int_equal(co_run(loop, &one, test_return, (void *)1), 1);
    loop_free(loop);
    assert_int_equal(co_run(NULL, NULL, test_return, (void *)2), 2);
}

static void nothing_suspends_outside_of_a_task(void **state)
{
    struct co_task t = { 0 };
    struct co_scope scope;
    struct co_gate gate;

    (void)state;
    co_gate_init(&gate, 1);
    assert_null(co_current());
    assert_int_equal(co_spawn("test", note, NULL, &t), -EPERM);
    assert_int_equal(co_await(t, NULL), -EPERM);
    assert_int_equal(co_gather(&t, 1, NULL, 0), -EPERM);
    assert_int_equal(co_sleep(1), -EPERM);
    assert_int_equal(co_yield(), -EPERM);
    assert_int_equal(co_gate_enter(&gate), -EPERM);
    assert_int_equal(co_to_thread(test_return, NULL, NULL), -EPERM);
    assert_int_equal(co_cancel(t), -ESRCH);
    assert_int_equal(co_detach(t), -ESRCH);
    assert_int_equal(co_self().gen, 0);
    assert_int_equal(co_count(), 0);
    co_scope_open(&scope, CO_NEVER, 0);
    co_scope_cancel(&scope);
    assert_false(co_cancelled());
    assert_int_equal(co_scope_close(&scope, 5), 5);
}

CO_TEST(tasks_begin_later_in_the_order_of_spawning)
{
    struct co_task a = test_spawn(note, "a"), b = test_spawn(note, "b");

    assert_int_equal(co_spawn_detached("c", note, "c"), 0);
    assert_int_equal(seen.n_order, 0);
    assert_int_equal(co_count(), 4);
    assert_int_equal(test_await(b), 0);
    assert_string_equal(seen.order, "abc");
    assert_int_equal(test_await(a), 0);
    assert_int_equal(co_count(), 1);
    return 0;
}

CO_TEST(await_gives_the_result_and_uses_the_handle_up)
{
    struct co_task t = test_spawn(test_return, (void *)5), none = { 0 }, wild = { 12345, 1 };

    test_settle();
    assert_int_equal(test_await(t), 5);
    assert_int_equal(co_await(t, NULL), -ESRCH);
    assert_int_equal(co_cancel(t), -ESRCH);
    assert_int_equal(co_detach(t), -ESRCH);
    assert_int_equal(co_await(none, NULL), -ESRCH);
    assert_int_equal(co_await(wild, NULL), -ESRCH);
    t = test_spawn(test_return, (void *)(intptr_t)-EIO);
    assert_int_equal(test_await(t), -EIO);
    return 0;
}

CO_TEST(a_stale_handle_never_reaches_another_task)
{
    struct co_task old = test_spawn(test_return, NULL), young;

    assert_int_equal(test_await(old), 0);
    young = test_spawn(note, "y");
    assert_int_equal(young.slot, old.slot);
    assert_int_equal(co_cancel(old), -ESRCH);
    assert_int_equal(co_detach(old), -ESRCH);
    assert_int_equal(co_await(old, NULL), -ESRCH);
    assert_int_equal(test_await(young), 0);
    assert_string_equal(seen.order, "y");
    return 0;
}

static int await_other(void *arg)
{
    (void)arg;
    seen.rc = co_await(seen.other, NULL);
    return seen.rc;
}

CO_TEST(await_of_itself_is_a_deadlock)
{
    struct co_task t;

    assert_int_equal(co_await(co_self(), NULL), -EDEADLK);
    /* We await t, t awaits us. */
    seen.other = co_self();
    t = test_spawn(await_other, NULL);
    assert_int_equal(test_await(t), -EDEADLK);
    return 0;
}

CO_TEST(any_number_of_tasks_await_a_handle)
{
    struct co_task t = test_spawn(test_sleep_for_ever, NULL), waiters[3];

    seen.other = t;
    for (int i = 0; i < 3; i++)
        waiters[i] = test_spawn(await_other, NULL);
    test_settle();
    assert_int_equal(co_done(t), 0);
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(test_await(t), -ECANCELED);
    assert_int_equal(co_gather(waiters, 3, NULL, 0), 0);
    assert_int_equal(co_done(t), -ESRCH);
    return 0;
}

CO_TEST(a_kept_handle_is_awaited_once_more)
{
    struct co_task t = test_spawn(test_return, (void *)4);

    assert_int_equal(co_keep(t), 0);
    assert_int_equal(co_keep(t), 0);
    assert_int_equal(test_await(t), 4);
    assert_int_equal(co_done(t), 1);
    assert_int_equal(test_await(t), 4);
    assert_int_equal(co_detach(t), 0);
    assert_int_equal(co_await(t, NULL), -ESRCH);
    assert_int_equal(co_keep(t), -ESRCH);
    return 0;
}

CO_TEST(a_detached_task_is_nobodys)
{
    struct co_task t = test_spawn(test_sleep_for_ever, NULL), ended = test_spawn(note, "e");

    assert_int_equal(co_detach(t), 0);
    assert_int_equal(co_detach(t), -ESRCH);
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(test_await(t), -ECANCELED); /* while it lives, it can be awaited */
    assert_int_equal(co_cancel(t), -ESRCH);
    assert_int_equal(co_await(t, NULL), -ESRCH);
    assert_int_equal(co_detach(ended), 0);
    assert_int_equal(co_await(ended, NULL), -ESRCH);
    assert_int_equal(co_count(), 1);
    return 0;
}

CO_TEST(a_task_cancelled_before_it_begins_never_runs)
{
    struct co_task t = test_spawn(note, "x");

    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(test_await(t), -ECANCELED);
    assert_int_equal(seen.n_order, 0);
    t = test_spawn(test_return, (void *)3);
    test_settle();
    assert_int_equal(co_cancel(t), 0); /* too late */
    assert_int_equal(test_await(t), 3);
    return 0;
}

static int try_everything(void *arg)
{
    struct co_gate gate;
    struct co_event event;
    struct co_condition condition;
    struct co_group group;

    (void)arg;
    co_gate_init(&gate, 1);
    co_event_init(&event);
    co_condition_init(&condition);
    assert_int_equal(co_sleep_until(CO_NEVER), -ECANCELED);
    assert_true(co_cancelled());
    assert_int_equal(co_sleep(1), -ECANCELED);
    assert_int_equal(co_yield(), -ECANCELED);
    assert_int_equal(co_gate_enter(&gate), -ECANCELED);
    assert_int_equal(gate.permits, 1);
    co_event_set(&event);
    assert_int_equal(co_event_wait(&event), -ECANCELED);
    assert_int_equal(co_condition_wait(&condition), -ECANCELED);
    assert_int_equal(co_to_thread(test_return, NULL, NULL), -ECANCELED);
    assert_int_equal(co_gather(NULL, 0, NULL, 0), -ECANCELED);
    assert_int_equal(co_await(test_spawn(test_sleep_for_ever, NULL), NULL), -ECANCELED);
    co_group_open(&group);
    assert_int_equal(co_group_spawn(&group, "child", test_sleep_for_ever, NULL, NULL), 0);
    assert_int_equal(co_group_close(&group, 0), -ECANCELED);
    seen.ended = true;
    return 9;
}

CO_TEST(every_call_of_a_cancelled_task_is_refused)
{
    struct co_task t = test_spawn(try_everything, NULL);

    test_settle();
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(test_await(t), 9);
    assert_true(seen.ended);
    return 0;
}

static int ignore_cancellation(void *arg)
{
    const bool *stop = arg;
    int n = 0;

    while (!*stop && n < 100000) {
        co_sleep(1000 * MS);
        n++;
    }
    return n;
}

static int set_after_yields(void *arg)
{
    bool *stop = arg;

    for (int i = 0; i < 3; i++)
        assert_int_equal(co_yield(), 0);
    *stop = true;
    return 0;
}

CO_TEST(a_task_that_ignores_its_cancellation_lets_others_run)
{
    bool stop = false;
    struct co_task t = test_spawn(ignore_cancellation, &stop);
    struct co_task other = test_spawn(set_after_yields, &stop);
    int n;

    assert_int_equal(test_await(other), 0);
    stop = false;
    assert_int_equal(co_cancel(t), 0);
    other = test_spawn(set_after_yields, &stop);
    n = test_await(t);
    assert_in_range(n, 65, 1000);
    assert_int_equal(test_await(other), 0);
    return 0;
}

static int end_after_event(void *arg)
{
    int rc = co_sleep_until(CO_NEVER);
    struct co_scope shield;

    co_scope_open(&shield, CO_NEVER, CO_SHIELD);
    if (arg)
        assert_int_equal(co_event_wait(arg), 0);
    assert_int_equal(co_sleep(MS), 0);
    assert_int_equal(co_scope_close(&shield, 0), 0);
    seen.ended = true;
    return rc;
}

CO_TEST(cancelling_who_awaits_cancels_the_awaited)
{
    struct co_event event;
    struct co_task waiter;

    co_event_init(&event);
    seen.other = test_spawn(end_after_event, &event);
    waiter = test_spawn(await_other, NULL);
    test_settle();
    assert_int_equal(co_cancel(waiter), 0);
    test_settle();
    assert_int_equal(co_cancel(waiter), 0); /* once more: it still waits for the end */
    test_settle();
    assert_int_equal(co_count(), 3);
    co_event_set(&event);
    assert_int_equal(test_await(waiter), -ECANCELED);
    assert_true(seen.ended);
    assert_int_equal(seen.rc, -ECANCELED);
    assert_int_equal(co_await(seen.other, NULL), -ESRCH);
    return 0;
}

static int wait_then_four(void *arg)
{
    int rc = co_event_wait(arg);

    return rc < 0 ? rc : 4;
}

CO_TEST(a_result_that_came_before_the_cancellation_is_not_lost)
{
    struct co_event event;
    struct co_task waiter;

    co_event_init(&event);
    seen.other = test_spawn(wait_then_four, &event);
    waiter = test_spawn(await_other, NULL);
    test_settle();
    co_event_set(&event);
    assert_int_equal(co_yield(), 0); /* the other has ended, the waiter has not run yet */
    assert_int_equal(co_cancel(waiter), 0);
    assert_int_equal(test_await(waiter), 0);
    return 0;
}

static int at_limit(void *arg)
{
    struct co_task t[3];

    (void)arg;
    for (int i = 0; i < 3; i++)
        t[i] = test_spawn(test_sleep_for_ever, NULL);
    assert_int_equal(co_spawn("test", note, NULL, &t[0]), -EAGAIN);
    assert_int_equal(co_cancel(t[0]), 0);
    assert_int_equal(test_await(t[0]), -ECANCELED);
    t[0] = test_spawn(note, "k");
    assert_int_equal(test_await(t[0]), 0);
    return 0;
}

static void there_is_a_limit_to_tasks(void **state)
{
    (void)state;
    assert_int_equal(test_run(4, 0, at_limit, NULL), 0);
}

static int spawn_at_end(void *arg)
{
    struct co_task t;
    int rc = co_sleep_until(CO_NEVER);

    (void)arg;
    assert_int_equal(co_spawn("late", note, "l", &t), -ECANCELED);
    seen.ended = true;
    return rc;
}

static int leave_others(void *arg)
{
    (void)arg;
    assert_int_equal(co_spawn_detached("rest", spawn_at_end, NULL), 0);
    test_spawn(end_after_event, NULL);
    test_settle();
    test_spawn(note, "n");
    return 11;
}

static void the_end_of_the_first_task_ends_all(void **state)
{
    (void)state;
    assert_int_equal(test_run(10, 0, leave_others, NULL), 11);
    assert_true(seen.ended);
    assert_int_equal(seen.n_order, 0);
}

#define N_PARKED 10000

static int parked(void *arg)
{
    unsigned *n = arg;
    int rc;

    ++*n;
    rc = co_sleep_until(CO_NEVER);
    --*n;
    return rc;
}

CO_TEST(ten_thousand_parked_tasks)
{
    struct co_task *tasks = calloc(N_PARKED, sizeof(*tasks));
    int *results = calloc(N_PARKED, sizeof(*results));
    unsigned n = 0;

    for (int i = 0; i < N_PARKED; i++)
        tasks[i] = test_spawn(parked, &n);
    test_settle();
    assert_int_equal(n, N_PARKED);
    assert_int_equal(co_count(), N_PARKED + 1);
    for (int i = 0; i < N_PARKED; i++)
        assert_int_equal(co_cancel(tasks[i]), 0);
    assert_int_equal(co_gather(tasks, N_PARKED, results, CO_KEEP_ERRORS), 0);
    for (int i = 0; i < N_PARKED; i++)
        assert_int_equal(results[i], -ECANCELED);
    assert_int_equal(n, 0);
    assert_int_equal(co_count(), 1);
    free(tasks);
    free(results);
    return 0;
}

CO_TEST(stacks_and_slots_are_used_again)
{
    struct co_task t = { 0 };

    for (int i = 0; i < 20000; i++) {
        t = test_spawn(test_return, NULL);
        assert_int_equal(test_await(t), 0);
    }
    assert_in_range(t.slot, 0, 1);
    return 0;
}

static int eager_part(void *arg)
{
    note("1");
    assert_int_equal(co_spawn_detached("woken", note, "4"), 0);
    assert_int_equal(co_yield(), 0);
    note("5");
    return (int)(intptr_t)arg;
}

CO_TEST(an_eager_task_runs_at_once)
{
    struct co_task t, done;

    assert_int_equal(co_spawn_detached("others", note, "3"), 0);
    assert_int_equal(co_spawn_eager("eager", eager_part, (void *)8, &t), 0);
    note("2");
    assert_string_equal(seen.order, "12");
    assert_int_equal(co_spawn_eager("brief", test_return, (void *)9, &done), 0);
    assert_int_equal(co_done(done), 1);
    assert_int_equal(test_await(done), 9);
    assert_int_equal(test_await(t), 8);
    assert_string_equal(seen.order, "12345");
    return 0;
}

static int look_at_variable(void *arg)
{
    const char *before = co_variable(1);

    (void)arg;
    co_variable_set(1, "own");
    assert_int_equal(co_yield(), 0);
    assert_string_equal(co_variable(1), "own");
    return before ? *before : 0;
}

CO_TEST(variables_are_inherited_and_ones_own)
{
    struct co_task t = test_spawn(look_at_variable, NULL);

    assert_int_equal(test_await(t), 0);
    assert_null(co_variable(1));
    co_variable_set(1, "parent");
    t = test_spawn(look_at_variable, NULL);
    co_variable_set(1, "later"); /* it has a copy of what was */
    assert_int_equal(test_await(t), 'p');
    assert_string_equal(co_variable(1), "later");
    co_variable_set(CO_VARIABLES, "none");
    assert_null(co_variable(CO_VARIABLES));
    return 0;
}

struct link {
    struct co_task next, beside;
    int rc;
};

static int await_two(void *arg)
{
    struct link *l = arg;
    struct co_task both[2] = { l->beside, l->next };

    l->rc = co_gather(both, 2, NULL, CO_KEEP_ERRORS);
    return l->rc;
}

/* a waits for b and another, b for c and another, and so on: the last one for a. */
CO_TEST(a_cycle_of_many_is_a_deadlock)
{
    struct link links[12];
    struct co_task t[12], sleeper = test_spawn(test_sleep_for_ever, NULL), both[2];
    int results[2];

    for (int i = 11; i >= 0; i--) {
        links[i] = (struct link){ .beside = sleeper, .next = i < 11 ? t[i + 1] : co_self() };
        if (i < 11)
            t[i] = test_spawn(await_two, &links[i]);
        else
            t[i] = sleeper;
    }
    test_settle();
    both[0] = t[0];
    both[1] = co_self();
    assert_int_equal(co_cancel(sleeper), 0);
    assert_int_equal(co_gather(both, 2, results, CO_KEEP_ERRORS), 0);
    assert_int_equal(results[0], 0);
    assert_int_equal(results[1], -EDEADLK);
    return 0;
}

static int await_parent(void *arg)
{
    return co_await(*(struct co_task *)arg, NULL);
}

CO_TEST(a_child_that_awaits_who_joins_it_is_a_deadlock)
{
    struct co_task self = co_self();
    struct co_group g;

    co_group_open(&g);
    assert_int_equal(co_group_spawn(&g, "child", await_parent, &self, NULL), 0);
    assert_int_equal(co_group_close(&g, 0), -EDEADLK);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(run_gives_the_result_of_the_first_task, reset),
        cmocka_unit_test_setup(nothing_suspends_outside_of_a_task, reset),
        cmocka_unit_test_setup(tasks_begin_later_in_the_order_of_spawning, reset),
        cmocka_unit_test_setup(await_gives_the_result_and_uses_the_handle_up, reset),
        cmocka_unit_test_setup(a_stale_handle_never_reaches_another_task, reset),
        cmocka_unit_test_setup(await_of_itself_is_a_deadlock, reset),
        cmocka_unit_test_setup(any_number_of_tasks_await_a_handle, reset),
        cmocka_unit_test_setup(a_kept_handle_is_awaited_once_more, reset),
        cmocka_unit_test_setup(a_detached_task_is_nobodys, reset),
        cmocka_unit_test_setup(a_task_cancelled_before_it_begins_never_runs, reset),
        cmocka_unit_test_setup(every_call_of_a_cancelled_task_is_refused, reset),
        cmocka_unit_test_setup(a_task_that_ignores_its_cancellation_lets_others_run, reset),
        cmocka_unit_test_setup(cancelling_who_awaits_cancels_the_awaited, reset),
        cmocka_unit_test_setup(a_result_that_came_before_the_cancellation_is_not_lost, reset),
        cmocka_unit_test_setup(there_is_a_limit_to_tasks, reset),
        cmocka_unit_test_setup(the_end_of_the_first_task_ends_all, reset),
        cmocka_unit_test_setup(ten_thousand_parked_tasks, reset),
        cmocka_unit_test_setup(stacks_and_slots_are_used_again, reset),
        cmocka_unit_test_setup(an_eager_task_runs_at_once, reset),
        cmocka_unit_test_setup(variables_are_inherited_and_ones_own, reset),
        cmocka_unit_test_setup(a_cycle_of_many_is_a_deadlock, reset),
        cmocka_unit_test_setup(a_child_that_awaits_who_joins_it_is_a_deadlock, reset),
    };

    return cmocka_run_group_tests_name("co/task", tests, NULL, NULL);
}
