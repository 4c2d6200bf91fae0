/* What is tried again, when, and what ends a job at once (DESIGN section 8, Defaults). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/cleanup.h"
#include "daemon/model/policy.h"

#define SECOND 1000000LL

static struct job_spec spec_with(unsigned attempts)
{
    return (struct job_spec){
        .attempts = attempts, .backoff_us = SECOND, .max_backoff_us = 300 * SECOND
    };
}

static struct attempt attempt_with(enum failure failure, unsigned status)
{
    return (struct attempt){ .status = status,
        .error = { .failure = failure, .retry_safe = true } };
}

static enum verdict_action action_after(enum failure failure, unsigned status)
{
    struct job_spec spec = spec_with(3);
    struct attempt last = attempt_with(failure, status);

    return policy_next(&spec, &last, 1, 0, 0, 1).action;
}

static void success_is_done(void **state)
{
    (void)state;
    assert_int_equal(action_after(FAILURE_NONE, 200), VERDICT_DONE);
}

static void transient_failures_are_tried_again(void **state)
{
    static const enum failure transient[] = { FAILURE_DNS_NOT_FOUND, FAILURE_DNS_FAILED,
        FAILURE_CONNECTION_REFUSED, FAILURE_CONNECTION_FAILED, FAILURE_CONNECTION_RESET,
        FAILURE_TLS_FAILED, FAILURE_TIMEOUT, FAILURE_INTERNAL, FAILURE_STORAGE_FULL };
    static const unsigned statuses[] = { 408, 425, 429, 500, 502, 503, 504 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(transient); i++)
        assert_int_equal(action_after(transient[i], 0), VERDICT_RETRY);
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        assert_int_equal(action_after(FAILURE_UNEXPECTED_STATUS, statuses[i]), VERDICT_RETRY);
}

static void permanent_failures_end_at_once(void **state)
{
    static const enum failure permanent[] = { FAILURE_BLOCKED_ADDRESS, FAILURE_CERTIFICATE_INVALID,
        FAILURE_BAD_RESPONSE, FAILURE_BODY_TOO_LARGE, FAILURE_TOO_MANY_REDIRECTS,
        FAILURE_BAD_REDIRECT };
    static const unsigned statuses[] = { 301, 400, 401, 404, 410, 501, 505 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(permanent); i++)
        assert_int_equal(action_after(permanent[i], 0), VERDICT_GIVE_UP);
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        assert_int_equal(action_after(FAILURE_UNEXPECTED_STATUS, statuses[i]), VERDICT_GIVE_UP);
}

static void attempts_are_a_limit(void **state)
{
    struct job_spec spec = spec_with(3);
    struct attempt last = attempt_with(FAILURE_TIMEOUT, 0);

    (void)state;
    assert_int_equal(policy_next(&spec, &last, 2, 0, 0, 1).action, VERDICT_RETRY);
    assert_int_equal(policy_next(&spec, &last, 3, 0, 0, 1).action, VERDICT_GIVE_UP);
}

static void an_unknown_outcome_follows_the_job(void **state)
{
    struct job_spec spec = spec_with(3);
    struct attempt last = attempt_with(FAILURE_OUTCOME_UNKNOWN, 0);

    (void)state;
    spec.on_unknown = UNKNOWN_RETRY;
    assert_int_equal(policy_next(&spec, &last, 1, 0, 0, 1).action, VERDICT_RETRY);
    spec.on_unknown = UNKNOWN_FAIL;
    assert_int_equal(policy_next(&spec, &last, 1, 0, 0, 1).action, VERDICT_GIVE_UP);
}

/* An answer that breaks off, or that we can't store, says that the request was acted upon. */
static void what_may_have_been_done_follows_the_job_too(void **state)
{
    static const enum failure late[] = { FAILURE_CONNECTION_RESET, FAILURE_TIMEOUT,
        FAILURE_INTERNAL, FAILURE_STORAGE_FULL };
    struct job_spec spec = spec_with(3);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(late); i++) {
        struct attempt last = attempt_with(late[i], 200);

        last.error.retry_safe = false;
        spec.on_unknown = UNKNOWN_FAIL;
        assert_int_equal(policy_next(&spec, &last, 1, 0, 0, 1).action, VERDICT_GIVE_UP);
        spec.on_unknown = UNKNOWN_RETRY;
        assert_int_equal(policy_next(&spec, &last, 1, 0, 0, 1).action, VERDICT_RETRY);
        last.error.retry_safe = true;
        spec.on_unknown = UNKNOWN_FAIL;
        assert_int_equal(policy_next(&spec, &last, 1, 0, 0, 1).action, VERDICT_RETRY);
    }
}

static void backoff_doubles_up_to_its_cap(void **state)
{
    struct job_spec spec = spec_with(100);

    (void)state;
    /* The greatest remainder of the jitter is the whole backoff. */
    assert_int_equal(policy_backoff_us(&spec, 1, SECOND), SECOND);
    assert_int_equal(policy_backoff_us(&spec, 2, 2 * SECOND), 2 * SECOND);
    assert_int_equal(policy_backoff_us(&spec, 4, 8 * SECOND), 8 * SECOND);
    assert_int_equal(policy_backoff_us(&spec, 90, 300 * SECOND), 300 * SECOND);
    for (unsigned tries = 1; tries < 100; tries++)
        assert_in_range(
                policy_backoff_us(&spec, tries, 0x9e3779b97f4a7c15ULL * tries), 0, 300 * SECOND);
}

static void no_backoff_is_at_once(void **state)
{
    struct job_spec spec = { .attempts = 2 };

    (void)state;
    assert_int_equal(policy_backoff_us(&spec, 1, 12345), 0);
}

static void retry_after_is_a_lower_bound_with_a_cap(void **state)
{
    struct job_spec spec = spec_with(3);
    struct attempt last = attempt_with(FAILURE_UNEXPECTED_STATUS, 503);

    (void)state;
    assert_int_equal(policy_next(&spec, &last, 1, 1000, 7 * SECOND, 5).due_us, 1000 + 7 * SECOND);
    assert_int_equal(
            policy_next(&spec, &last, 1, 0, 90 * 24 * 3600 * SECOND, 5).due_us, RETRY_AFTER_MAX_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(success_is_done),
        cmocka_unit_test(transient_failures_are_tried_again),
        cmocka_unit_test(permanent_failures_end_at_once),
        cmocka_unit_test(attempts_are_a_limit),
        cmocka_unit_test(an_unknown_outcome_follows_the_job),
        cmocka_unit_test(what_may_have_been_done_follows_the_job_too),
        cmocka_unit_test(backoff_doubles_up_to_its_cap),
        cmocka_unit_test(no_backoff_is_at_once),
        cmocka_unit_test(retry_after_is_a_lower_bound_with_a_cap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
