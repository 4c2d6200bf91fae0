/* The loop's side of the runtime: mail from threads, plain code on the loop's stack, fairness, idleness. */
#include "tests/unit/co/fixture.h"

#include <alloca.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "daemon/base/mailbox.h"

#define N_THREADS 4
#define N_MAILS   500

struct letter {
    struct mail mail;
    unsigned thread, number;
};

static struct {
    struct co_loop *loop;
    struct letter letters[N_THREADS][N_MAILS];
    unsigned next[N_THREADS], n;
    struct co_condition arrived;
    bool arrived_in_task;
} post;

static void letter_deliver(struct mail *m)
{
    struct letter *l = CONTAINER_OF(m, struct letter, mail);

    if (co_self().gen)
        post.arrived_in_task = true;
    if (l->number == post.next[l->thread])
        post.next[l->thread]++;
    post.n++;
    co_condition_notify_all(&post.arrived);
}

static void *post_all(void *arg)
{
    struct letter *letters = arg;

    for (unsigned i = 0; i < N_MAILS; i++)
        co_post(post.loop, &letters[i].mail);
    return NULL;
}

CO_TEST(threads_post_to_the_loop)
{
    pthread_t threads[N_THREADS];

    memset(&post, 0, sizeof(post));
    post.loop = co_current();
    co_condition_init(&post.arrived);
    for (unsigned t = 0; t < N_THREADS; t++) {
        for (unsigned i = 0; i < N_MAILS; i++)
            post.letters[t][i] =
                    (struct letter){ .mail.deliver = letter_deliver, .thread = t, .number = i };
        assert_int_equal(pthread_create(&threads[t], NULL, post_all, post.letters[t]), 0);
    }
    while (post.n < N_THREADS * N_MAILS)
        assert_int_equal(co_condition_wait(&post.arrived), 0);
    for (unsigned t = 0; t < N_THREADS; t++) {
        assert_int_equal(pthread_join(threads[t], NULL), 0);
        assert_int_equal(post.next[t], N_MAILS);
    }
    assert_false(post.arrived_in_task);
    return 0;
}

static int spin_until_mail(void *arg)
{
    int64_t turns = 0;

    (void)arg;
    for (; post.n == 0 && turns < 100000000; turns++)
        if (co_yield() < 0)
            break;
    return post.n > 0 ? 0 : -ETIMEDOUT;
}

CO_TEST(busy_tasks_do_not_starve_mail_and_timers)
{
    struct co_task a, b;
    int64_t turns = 0;

    memset(&post, 0, sizeof(post));
    co_condition_init(&post.arrived);
    post.letters[0][0].mail.deliver = letter_deliver;
    a = test_spawn(spin_until_mail, NULL);
    b = test_spawn(spin_until_mail, NULL);
    assert_int_equal(co_sleep(MS), 0);
    co_post(co_current(), &post.letters[0][0].mail);
    assert_int_equal(test_await(a), 0);
    assert_int_equal(test_await(b), 0);
    while (post.n == 0 && turns++ < 100000)
        assert_int_equal(co_yield(), 0);
    return 0;
}

static void mail_after_the_end(struct mail *m)
{
    (void)m;
    post.n++;
}

static int post_at_end(void *arg)
{
    (void)arg;
    post.letters[0][0].mail.deliver = mail_after_the_end;
    co_post(co_current(), &post.letters[0][0].mail);
    return 0;
}

static void mail_posted_before_the_end_is_delivered(void **state)
{
    (void)state;
    memset(&post, 0, sizeof(post));
    assert_int_equal(test_run(1, 0, post_at_end, NULL), 0);
    assert_int_equal(post.n, 1);
}

static int plain_spawn_body(void *arg)
{
    *(bool *)arg = true;
    return 0;
}

static bool plain_spawned;

static void plain_spawn(struct mail *m)
{
    (void)m;
    assert_int_equal(co_yield(), -EPERM);
    assert_int_equal(co_spawn_detached("plain", plain_spawn_body, &plain_spawned), 0);
}

CO_TEST(plain_code_spawns)
{
    struct mail m = { .deliver = plain_spawn };

    plain_spawned = false;
    co_post(co_current(), &m);
    while (!plain_spawned)
        assert_int_equal(co_sleep(MS / 10), 0);
    return 0;
}

static struct {
    uintptr_t home, task, on_loop, nested;
    struct co_task self;
    int yielded, n;
} where;

static void on_loop_nested(void *arg)
{
    (void)arg;
    where.nested = (uintptr_t)__builtin_frame_address(0);
}

static void on_loop(void *arg)
{
    volatile char *large = alloca(arg ? 1 : 256 << 10); /* more than a task's stack holds */

    *large = 1;
    where.on_loop = (uintptr_t)__builtin_frame_address(0);
    where.self = co_self();
    where.yielded = co_yield();
    where.n++;
    co_on_loop(on_loop_nested, NULL);
}

static int call_on_loop(void *arg)
{
    (void)arg;
    where.task = (uintptr_t)__builtin_frame_address(0);
    for (int i = 0; i < 1000; i++)
        co_on_loop(on_loop, NULL);
    assert_true(co_self().gen);
    return co_yield();
}

static bool near(uintptr_t a, uintptr_t b)
{
    return a - b < 1 << 20 || b - a < 1 << 20;
}

static void on_loop_runs_on_the_loops_stack(void **state)
{
    (void)state;
    memset(&where, 0, sizeof(where));
    where.home = (uintptr_t)__builtin_frame_address(0);
    assert_int_equal(test_run(2, 0, call_on_loop, NULL), 0);
    assert_int_equal(where.n, 1000);
    assert_true(near(where.on_loop, where.home));
    assert_true(near(where.nested, where.home));
    assert_false(near(where.task, where.home));
    assert_int_equal(where.self.gen, 0);
    assert_int_equal(where.yielded, -EPERM);
    on_loop(NULL);
    assert_int_equal(where.n, 1001);
}

CO_TEST(waiting_does_not_poll)
{
    struct rusage before, after;

    getrusage(RUSAGE_THREAD, &before);
    assert_int_equal(co_sleep(50 * MS), 0);
    getrusage(RUSAGE_THREAD, &after);
    assert_in_range(after.ru_nvcsw - before.ru_nvcsw, 1, 20);
    return 0;
}

static int nothing(void *arg)
{
    return arg ? 1 : 0;
}

static void *run_elsewhere(void *arg)
{
    *(int *)arg = test_run(2, 1, nothing, NULL);
    return NULL;
}

CO_TEST(each_thread_may_run_a_loop)
{
    pthread_t thread;
    int rc = -1;

    assert_int_equal(pthread_create(&thread, NULL, run_elsewhere, &rc), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(rc, 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_post_to_the_loop),
        cmocka_unit_test(busy_tasks_do_not_starve_mail_and_timers),
        cmocka_unit_test(mail_posted_before_the_end_is_delivered),
        cmocka_unit_test(plain_code_spawns),
        cmocka_unit_test(on_loop_runs_on_the_loops_stack),
        cmocka_unit_test(waiting_does_not_poll),
        cmocka_unit_test(each_thread_may_run_a_loop),
    };

    return cmocka_run_group_tests_name("co/run", tests, NULL, NULL);
}
