#include "tests/unit/co/fixture.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

static struct {
    pthread_t loop;
    sem_t begun, go;
    atomic_int running, most, calls;
} pool;

static int reset(void **state)
{
    (void)state;
    sem_init(&pool.begun, 0, 0);
    sem_init(&pool.go, 0, 0);
    atomic_store(&pool.running, 0);
    atomic_store(&pool.most, 0);
    atomic_store(&pool.calls, 0);
    return 0;
}

static int elsewhere(void *arg)
{
    if (pthread_equal(pthread_self(), pool.loop))
        return -EDEADLK;
    if (co_current() || co_self().gen || co_yield() != -EPERM)
        return -EPERM;
    return *(int *)arg + 1;
}

CO_TEST(a_call_runs_on_another_thread)
{
    int n = 41, result;

    pool.loop = pthread_self();
    for (int i = 0; i < 200; i++) {
        assert_int_equal(co_to_thread(elsewhere, &n, &result), 0);
        assert_int_equal(result, 42);
    }
    assert_int_equal(co_to_thread(elsewhere, &n, NULL), 0);
    return 0;
}

static int block(void *arg)
{
    int running = atomic_fetch_add(&pool.running, 1) + 1, most = atomic_load(&pool.most);

    while (running > most && !atomic_compare_exchange_weak(&pool.most, &most, running))
        ;
    atomic_fetch_add(&pool.calls, 1);
    sem_post(&pool.begun);
    sem_wait(&pool.go);
    atomic_fetch_sub(&pool.running, 1);
    *(bool *)arg = true;
    return 7;
}

static int block_on_thread(void *arg)
{
    int result = 0, rc = co_to_thread(block, arg, &result);

    return rc < 0 ? rc : result;
}

static int wait_begun(void *arg)
{
    (void)arg;
    for (;;)
        if (sem_trywait(&pool.begun) == 0)
            return 0;
        else if (co_sleep(MS / 10) < 0)
            return -ECANCELED;
}

CO_TEST(no_more_calls_at_once_than_threads)
{
    bool done[5] = { false };
    struct co_task t[5];

    for (int i = 0; i < 5; i++)
        t[i] = test_spawn(block_on_thread, &done[i]);
    /* The loop goes on while both threads block. */
    assert_int_equal(wait_begun(NULL), 0);
    assert_int_equal(wait_begun(NULL), 0);
    for (int i = 0; i < 5; i++)
        sem_post(&pool.go);
    for (int i = 0; i < 5; i++)
        assert_int_equal(test_await(t[i]), 7);
    assert_int_equal(atomic_load(&pool.most), 2);
    return 0;
}

CO_TEST(a_cancellation_waits_for_the_thread)
{
    bool done = false;
    struct co_task t = test_spawn(block_on_thread, &done);

    assert_int_equal(wait_begun(NULL), 0);
    assert_int_equal(co_cancel(t), 0);
    test_settle();
    assert_int_equal(co_cancel(t), 0);
    test_settle();
    assert_int_equal(co_count(), 2);
    sem_post(&pool.go);
    assert_int_equal(test_await(t), -ECANCELED);
    assert_true(done);
    return 0;
}

CO_TEST(a_cancelled_call_that_no_thread_has_begun_never_runs)
{
    bool done[3] = { false };
    struct co_task t[3];

    for (int i = 0; i < 3; i++)
        t[i] = test_spawn(block_on_thread, &done[i]);
    assert_int_equal(wait_begun(NULL), 0);
    assert_int_equal(wait_begun(NULL), 0);
    assert_int_equal(co_cancel(t[2]), 0);
    assert_int_equal(test_await(t[2]), -ECANCELED);
    sem_post(&pool.go);
    sem_post(&pool.go);
    assert_int_equal(test_await(t[0]), 7);
    assert_int_equal(test_await(t[1]), 7);
    assert_int_equal(atomic_load(&pool.calls), 2);
    assert_false(done[2]);
    return 0;
}

static int leave_blocked(void *arg)
{
    assert_int_equal(co_spawn_detached("blocked", block_on_thread, arg), 0);
    assert_int_equal(wait_begun(NULL), 0);
    sem_post(&pool.go);
    return 0;
}

static void the_end_waits_for_threads(void **state)
{
    bool done = false;

    (void)state;
    assert_int_equal(test_run(2, 1, leave_blocked, &done), 0);
    assert_true(done);
}

static unsigned abandoned;

static void abandon(void *arg)
{
    (void)arg;
    abandoned++;
}

static int block_abandoning(void *arg)
{
    int result = 0, rc = co_to_thread_abandoning(block, arg, abandon, &result);

    return rc < 0 ? rc : result;
}

CO_TEST(an_abandoned_call_is_cleaned_up_in_the_end)
{
    static bool done;
    struct co_task t = test_spawn(block_abandoning, &done);

    abandoned = 0;
    assert_int_equal(wait_begun(NULL), 0);
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(test_await(t), -ECANCELED); /* the thread still blocks */
    assert_int_equal(abandoned, 0);
    sem_post(&pool.go);
    while (abandoned == 0)
        assert_int_equal(co_sleep(MS / 10), 0);
    assert_true(done);
    t = test_spawn(block_abandoning, &done);
    sem_post(&pool.go);
    assert_int_equal(test_await(t), 7);
    assert_int_equal(abandoned, 1);
    return 0;
}

CO_TEST(an_abandoned_call_that_has_not_begun_is_cleaned_up_at_once)
{
    static bool done[3];
    struct co_task t[3];

    abandoned = 0;
    for (int i = 0; i < 3; i++)
        t[i] = test_spawn(block_abandoning, &done[i]);
    assert_int_equal(wait_begun(NULL), 0);
    assert_int_equal(wait_begun(NULL), 0);
    assert_int_equal(co_cancel(t[2]), 0);
    assert_int_equal(test_await(t[2]), -ECANCELED);
    assert_int_equal(abandoned, 1);
    sem_post(&pool.go);
    sem_post(&pool.go);
    assert_int_equal(co_gather(t, 2, NULL, 0), 0);
    assert_false(done[2]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_call_runs_on_another_thread, reset),
        cmocka_unit_test_setup(no_more_calls_at_once_than_threads, reset),
        cmocka_unit_test_setup(a_cancellation_waits_for_the_thread, reset),
        cmocka_unit_test_setup(a_cancelled_call_that_no_thread_has_begun_never_runs, reset),
        cmocka_unit_test_setup(the_end_waits_for_threads, reset),
        cmocka_unit_test_setup(an_abandoned_call_is_cleaned_up_in_the_end, reset),
        cmocka_unit_test_setup(an_abandoned_call_that_has_not_begun_is_cleaned_up_at_once, reset),
    };

    return cmocka_run_group_tests_name("co/pool", tests, NULL, NULL);
}
