/*
 * A program that uses all there is, cancelled after its 1st, 2nd, 3rd … turn of the loop, and
 * between the resumes of a turn: whatever the moment, it ends, and everything that it took is back.
 */
#include "tests/unit/co/fixture.h"

#include <string.h>

#define YIELDS_MAX 6
#define SWEEPS_MAX 20
#define PARTS      9

static struct {
    struct co_gate gate;
    struct co_condition condition;
    struct co_event event;
    struct co_lock lock;
    struct co_channel channel;
    struct co_future future;
    int held;    /* things that the program must give back */
    int cleaned; /* its asynchronous cleanups */
    int part;    /* that runs; PARTS: the cleanup */
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

/* Each item is something held, from its sending to its receipt. */
static int send_some(void *arg)
{
    int rc = 0;

    for (int i = 0; i < 4 && rc == 0; i++) {
        world.held++;
        rc = co_channel_send(&world.channel, arg);
        if (rc < 0)
            world.held--;
    }
    return rc;
}

static int receive_some(void *arg)
{
    void *item;
    int rc = 0;

    (void)arg;
    for (int i = 0; i < 4 && rc == 0; i++) {
        rc = co_channel_receive(&world.channel, &item);
        if (rc == 0)
            world.held--;
    }
    return rc;
}

static void let_go(void *item)
{
    (void)item;
    world.held--;
}

static int part_channel(void)
{
    struct co_group g;
    int rc;

    assert_int_equal(co_channel_init(&world.channel, 1), 0);
    co_group_open(&g);
    rc = co_group_spawn(&g, "send", send_some, &world, NULL);
    if (rc == 0)
        rc = co_group_spawn(&g, "receive", receive_some, NULL, NULL);
    rc = co_group_close(&g, rc);
    co_channel_close(&world.channel, let_go);
    co_channel_done(&world.channel);
    return rc;
}

static int locked(void *arg)
{
    int rc = co_lock_enter(&world.lock);

    if (rc < 0)
        return rc;
    rc = arg ? co_condition_wait_holding(&world.condition, &world.lock) : leaf((void *)1);
    co_condition_notify_all(&world.condition);
    assert_int_equal(co_lock_leave(&world.lock), 0);
    return rc;
}

static int part_lock(void)
{
    struct co_task t[3];

    for (int i = 0; i < 3; i++)
        t[i] = test_spawn(locked, i == 0 ? &world : NULL);
    return co_gather(t, 3, NULL, 0);
}

static int part_wait(void)
{
    struct co_task t[3];
    struct co_completed c;
    size_t index;
    int rc;

    for (intptr_t i = 0; i < 3; i++)
        t[i] = test_spawn(leaf, (void *)(i + 1));
    rc = co_wait(t, 3, CO_FIRST_DONE, CO_NEVER, NULL);
    if (rc == 0)
        rc = co_wait_for(t[0], co_deadline(1000000 * MS), NULL);
    else
        co_detach(t[0]);
    assert_int_equal(co_completed_open(&c, &t[1], 2), 0);
    if (rc == 0)
        rc = co_completed_next(&c, &index, NULL);
    co_completed_close(&c);
    for (int i = 1; i < 3; i++)
        if (co_done(t[i]) >= 0)
            co_await(t[i], NULL); /* joins what is left, cancelled or not */
    return rc;
}

static int set_future(void *arg)
{
    int rc = leaf(arg);

    co_future_set(world.future, 1);
    return rc;
}

static int part_shield(void)
{
    struct co_task t;
    int rc;

    assert_int_equal(co_future_new(&world.future), 0);
    t = test_spawn(set_future, (void *)2);
    assert_int_equal(co_keep(t), 0);
    rc = co_shield(t, NULL);
    if (rc == 0)
        rc = co_await(world.future, NULL);
    co_await(t, NULL);
    co_future_drop(world.future);
    return rc;
}

static int program(void *arg)
{
    static int (*const parts[PARTS])(void) = { part_group, part_failing_group, part_gather,
        part_timeout, part_thread, part_channel, part_lock, part_wait, part_shield };
    int rc = 0;

    (void)arg;
    world.held++;
    for (world.part = 0; rc == 0 && world.part < PARTS; world.part++)
        rc = parts[world.part]();
    world.cancelled = rc == -ECANCELED;
    if (cleanup() == 0)
        world.held--;
    world.finished = true;
    return rc;
}

/* Runs the program, cancels it after so many turns and yields: in which part, or -1: it had ended. */
static int run_and_cancel(int turns, int yields)
{
    struct co_task t;
    int rc, part;

    memset(&world, 0, sizeof(world));
    co_gate_init(&world.gate, 2);
    co_condition_init(&world.condition);
    co_event_init(&world.event);
    co_lock_init(&world.lock);
    t = test_spawn(program, NULL);
    for (int i = 0; i < turns && !world.finished; i++)
        assert_int_equal(co_sleep(1), 0);
    for (int i = 0; i < yields && !world.finished; i++)
        assert_int_equal(co_yield(), 0);
    part = world.finished ? -1 : world.part;
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
    assert_true(list_empty(&world.lock.waiters));
    assert_int_equal(world.lock.owner.gen, 0);
    assert_int_equal(co_count(), 1);
    return part;
}

static void cancel_everywhere(unsigned *cut)
{
    int part = 0;

    for (int turns = 0; part >= 0; turns++)
        for (int yields = 1; yields <= YIELDS_MAX; yields++) {
            part = run_and_cancel(turns, yields);
            if (part >= 0)
                cut[part]++;
        }
}

static bool all_cut(const unsigned *cut)
{
    for (int i = 0; i < PARTS; i++)
        if (cut[i] == 0)
            return false;
    return true;
}

/* How many turns a part takes is up to clocks and threads; a short one is not met each time. */
CO_TEST(cancelled_anywhere_nothing_is_lost)
{
    unsigned cut[PARTS + 1] = { 0 };

    for (int sweeps = 0; sweeps < SWEEPS_MAX && !all_cut(cut); sweeps++)
        cancel_everywhere(cut);
    assert_true(all_cut(cut));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancelled_anywhere_nothing_is_lost),
    };

    return cmocka_run_group_tests_name("co/cancel", tests, NULL, NULL);
}
