/*
 * A libcurl that finds no memory: the linker's --wrap has this program's calls of it fail. Worker
 * processes are left out, which would not be told of it.
 */
#include <curl/curl.h>
#include <stdatomic.h>

#include "transfer_fixture.h"

#define CALLS_MAX 100 /* of libcurl in one exchange */

static atomic_int actions; /* curl_multi_socket_action() calls up to the one that fails; 0: none */
static atomic_bool no_multi;

CURLMcode __real_curl_multi_socket_action(CURLM *m, curl_socket_t fd, int events, int *ret_running);
CURLMcode __wrap_curl_multi_socket_action(CURLM *m, curl_socket_t fd, int events, int *ret_running);
CURLMcode __wrap_curl_multi_socket_action(CURLM *m, curl_socket_t fd, int events, int *ret_running)
{
    if (atomic_load(&actions) > 0 && atomic_fetch_sub(&actions, 1) == 1)
        return CURLM_OUT_OF_MEMORY;
    return __real_curl_multi_socket_action(m, fd, events, ret_running);
}

CURLM *__real_curl_multi_init(void);
CURLM *__wrap_curl_multi_init(void);
CURLM *__wrap_curl_multi_init(void)
{
    return atomic_load(&no_multi) ? NULL : __real_curl_multi_init();
}

/* An hour, of which nothing is waited for. */
static void get_patiently(struct test *t, const char *path)
{
    assert_int_equal(send_to(t, "127.0.0.1", "GET", path, 3600000 * MS), 0);
}

static void expect_internal(struct test *t)
{
    assert_int_equal(t->answer.attempt.error.failure, FAILURE_INTERNAL);
    assert_non_null(strstr(t->answer.attempt.error.message, "Cannot allocate memory"));
}

TRANSFER_TEST(test_an_exchange_that_finds_no_memory_ends_at_once)
{
    int failed = 0, nth = 1;

    for (; nth < CALLS_MAX; nth++) {
        atomic_store(&actions, nth);
        get_patiently(t, "/ok");
        if (atomic_exchange(&actions, 0) > 0)
            break;
        if (t->answer.attempt.error.failure != FAILURE_NONE) {
            expect_internal(t);
            failed++;
        }
        get_patiently(t, "/ok");
        expect_body(t, "hello");
    }
    assert_true(nth < CALLS_MAX && failed > 0);
    return 0;
}

TRANSFER_TEST(test_exchanges_fail_until_there_is_memory_again)
{
    int failed = 0;

    get_patiently(t, "/ok");
    atomic_store(&no_multi, true);
    atomic_store(&actions, 1);
    for (int i = 0; i < 2 * THREADS; i++) {
        get_patiently(t, "/ok");
        failed += t->answer.attempt.error.failure != FAILURE_NONE;
        if (t->answer.attempt.error.failure != FAILURE_NONE)
            expect_internal(t);
    }
    assert_true(failed > 1);
    atomic_store(&no_multi, false);
    for (int i = 0; i < 2 * THREADS; i++) {
        get_patiently(t, "/ok");
        expect_body(t, "hello");
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_exchange_that_finds_no_memory_ends_at_once),
        cmocka_unit_test(test_exchanges_fail_until_there_is_memory_again),
    };

    return run_under(EXECUTOR_COROUTINE, tests, ARRAY_LEN(tests)) +
           run_under(EXECUTOR_THREAD, tests, ARRAY_LEN(tests));
}
