/* A thread has its name, and no signal of the process is handled on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>

#include "daemon/base/thread.h"

static struct {
    sem_t named;
    char name[16];
    sigset_t blocked;
    int result;
} seen;

int __wrap_pthread_create(
        pthread_t *ret, const pthread_attr_t *attributes, void *(*fn)(void *arg), void *arg);
int __real_pthread_create(
        pthread_t *ret, const pthread_attr_t *attributes, void *(*fn)(void *arg), void *arg);

int __wrap_pthread_create(
        pthread_t *ret, const pthread_attr_t *attributes, void *(*fn)(void *arg), void *arg)
{
    return seen.result ? seen.result : __real_pthread_create(ret, attributes, fn, arg);
}

static void *look_around(void *arg)
{
    pthread_sigmask(SIG_SETMASK, NULL, &seen.blocked);
    sem_wait(&seen.named);
    pthread_getname_np(pthread_self(), seen.name, sizeof(seen.name));
    return arg;
}

static int setup(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    return sem_init(&seen.named, 0, 0);
}

static void it_is_named_and_takes_faults_only(void **state)
{
    sigset_t before, after;
    pthread_t thread;
    void *result;

    (void)state;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(thread_start(&thread, "a-name-that-is-too-long", look_around, &seen), 0);
    sem_post(&seen.named);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &seen);
    assert_string_equal(seen.name, "a-name-that-is-");
    assert_true(sigismember(&seen.blocked, SIGTERM));
    assert_true(sigismember(&seen.blocked, SIGHUP));
    assert_true(sigismember(&seen.blocked, SIGALRM));
    assert_false(sigismember(&seen.blocked, SIGSEGV));
    assert_false(sigismember(&seen.blocked, SIGABRT));
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

static void it_says_why_there_is_none(void **state)
{
    sigset_t after;
    pthread_t thread;

    (void)state;
    seen.result = EAGAIN;
    assert_int_equal(thread_start(&thread, "none", look_around, NULL), -EAGAIN);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_false(sigismember(&after, SIGTERM));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_is_named_and_takes_faults_only, setup),
        cmocka_unit_test_setup(it_says_why_there_is_none, setup),
    };

    return cmocka_run_group_tests_name("base/thread", tests, NULL, NULL);
}
