/*
 * A program that uses all there is, cancelled after its 1st, 2nd, 3rd … wait: whatever the moment,
 * it ends, and everything that it took is back.
 */
#include "tests/unit/co/fixture.h"

#include <string.h>

#define MOST_STEPS 400

static struct {
    struct co_gate gate;
    struct co_condition condition;
    struct co_event event;
    int held;    /* things that the program must give back */
    int cleaned; /* its asynchronous cleanups */
    bool cancelled, finished;
} world;

static int leaf(void *arg)
{
    int rc;

    world.held++;
    rc = co_yield();
    if (rc == 0)
        rc = co_sleep((intptr_t)arg * 1000);
    world.held--;
    return rc;
}

static int through_the_gate(void *arg)
{
    int rc = co_gate_enter(&world.gate);

    if (rc < 0)
        return rc;
    world.held++;
    rc = leaf(arg);
    world.held--;
    co_gate_leave(&world.gate);
    return rc;
}

static int wait_notified(void *arg)
{
    (void)arg;
    return co_condition_wait(&world.condition);
}

static int notify(void *arg)
{
    int rc = leaf(arg);

    co_condition_notify_all(&world.condition);
    co_event_set(&world.event);
    return rc;
}

static int fail_late(void *arg)
{
    int rc = leaf(arg);

    return rc < 0 ? rc : -EIO;
}

static int on_thread(void *arg)
{
    *(int *)arg = 1;
    return 3;
}

static int cleanup(void)
{
    struct co_scope shield;
    int rc;

    co_scope_open(&shield, clock_mono_ns() + 60000 * MS, CO_SHIELD);
    rc = co_yield();
    assert_int_equal(rc, 0);
    rc = co_sleep(1000);
    assert_int_equal(rc, 0);
    world.cleaned++;
    return co_scope_close(&shield, rc);
}

static int part_group(void)
{
    struct co_group g;
    int rc = 0;

    co_group_open(&g);
    for (intptr_t i = 1; rc == 0 && i <= 4; i++)
        rc = co_group_spawn(&g, "gate", through_the_gate, (void *)i, NULL);
    if (rc == 0)
        rc = co_group_spawn(&g, "notified", wait_notified, NULL, NULL);
    if (rc == 0)
        rc = co_group_spawn(&g, "notify", notify, (void *)20, NULL);
    if (rc == 0)
        rc = co_event_wait(&world.event);
    return co_group_close(&g, rc);
}

static int part_failing_group(void)
{
    struct co_group g;
    int rc;

    co_group_open(&g);
    rc = co_group_spawn(&g, "gate", through_the_gate, (void *)1000000, NULL);
    if (rc == 0)
        rc = co_group_spawn(&g, "fail", fail_late, (void *)2, NULL);
    if (rc == 0)
        rc = co_sleep_until(CO_NEVER);
    rc = co_group_close(&g, rc);
    return rc == -EIO ? 0 : rc;
}

static int part_gather(void)
{
    struct co_task t[3];
    int results[3];

    for (intptr_t i = 0; i < 3; i++)
        t[i] = test_spawn(through_the_gate, (void *)(i + 1));
    return co_gather(t, 3, results, 0);
}

static int part_timeout(void)
{
    struct co_scope s;
    int rc;

    co_scope_open(&s, clock_mono_ns() + 20000, 0);
    rc = co_await(test_spawn(through_the_gate, (void *)1000000), NULL);
    rc = co_scope_close(&s, rc);
    return rc == -ETIMEDOUT ? 0 : rc;
}

static int part_thread(void)
{
    int touched = 0, result = 0, rc = co_to_thread(on_thread, &touched, &result);

    if (rc == 0)
        assert_true(touched == 1 && result == 3);
    return rc;
}

static int program(void *arg)
{
    static int (*const parts[])(
            void) = { part_group, part_failing_group, part_gather, part_timeout, part_thread };
    int rc = 0;

    (void)arg;
    world.held++;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(parts); i++)
        rc = parts[i]();
    world.cancelled = rc == -ECANCELED;
    if (cleanup() == 0)
        world.held--;
    world.finished = true;
    return rc;
}

/* Runs the program, cancels it after `steps` yields; whether it was cancelled. */
static bool run_and_cancel(int steps)
{
    struct co_task t;
    int rc;

    memset(&world, 0, sizeof(world));
    co_gate_init(&world.gate, 2);
    co_condition_init(&world.condition);
    co_event_init(&world.event);
    t = test_spawn(program, NULL);
    for (int i = 0; i <= steps && !world.finished; i++)
        assert_int_equal(co_yield(), 0);
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(co_await(t, &rc), 0);

    assert_true(rc == 0 || rc == -ECANCELED);
    assert_true(world.finished);
    assert_int_equal(world.cancelled, rc == -ECANCELED);
    assert_int_equal(world.cleaned, 1);
    assert_int_equal(world.held, 0);
    assert_int_equal(world.gate.permits, 2);
    assert_true(list_empty(&world.gate.waiters));
    assert_true(list_empty(&world.condition.waiters));
    assert_true(list_empty(&world.event.waiters));
    assert_int_equal(co_count(), 1);
    return rc == -ECANCELED;
}

CO_TEST(cancelled_anywhere_nothing_is_lost)
{
    int cancelled = 0;

    for (int steps = 0; steps < MOST_STEPS; steps++)
        cancelled += run_and_cancel(steps);
    assert_true(cancelled >= 10);
    assert_false(run_and_cancel(100000000));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancelled_anywhere_nothing_is_lost),
    };

    return cmocka_run_group_tests_name("co/cancel", tests, NULL, NULL);
}
