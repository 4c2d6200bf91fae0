#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"

static void daemon_time_is_a_date_that_goes_on(void **state)
{
    struct clock c = clock_start();
    int64_t a = clock_now_us(&c), b = clock_now_us(&c), wall = clock_wall_us();

    (void)state;
    assert_true(b >= a);
    assert_true(wall - a < 10 * CLOCK_US_PER_S && a - wall < 10 * CLOCK_US_PER_S);
}

static void due_times_become_monotonic_ones(void **state)
{
    struct clock c = clock_start();
    int64_t due = clock_now_us(&c) + 60 * CLOCK_US_PER_S, now = clock_mono_ns();
    int64_t in_ns = clock_to_mono_ns(&c, due) - now;

    (void)state;
    assert_true(in_ns > 50 * 1000000000LL && in_ns < 61 * 1000000000LL);
    assert_int_equal(clock_to_mono_ns(&c, CLOCK_NEVER), CLOCK_NEVER);
    assert_int_equal(clock_to_mono_ns(&c, CLOCK_NEVER - 1), CLOCK_NEVER);
    assert_true(clock_to_mono_ns(&c, due - 3600 * CLOCK_US_PER_S) < now);
}

static void text_and_back(void **state)
{
    static const int64_t times[] = { 0, 1, 999999, 1000000, 951782400000000, 1700000000123456,
        253402300799999999 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        char text[CLOCK_TEXT_SIZE];
        int64_t us = -1;

        clock_format(times[i], text);
        assert_int_equal(clock_parse(text, &us), 0);
        assert_int_equal(us, times[i]);
    }
}

static void assert_parsed(const char *text, int64_t expected)
{
    int64_t us = -1;

    assert_int_equal(clock_parse(text, &us), 0);
    assert_int_equal(us, expected);
}

static void parses_rfc_3339(void **state)
{
    char text[CLOCK_TEXT_SIZE];

    (void)state;
    clock_format(1700000000123456, text);
    assert_string_equal(text, "2023-11-14T22:13:20.123456Z");
    assert_parsed("2023-11-14T22:13:20Z", 1700000000000000);
    assert_parsed("2023-11-14t22:13:20.5z", 1700000000500000);
    assert_parsed("2023-11-15T00:13:20.123456789+02:00", 1700000000123456);
    assert_parsed("2023-11-14T16:43:20-05:30", 1700000000000000);
    assert_parsed("2000-02-29T00:00:00Z", 951782400000000);
}

static void refuses_the_rest(void **state)
{
    static const char *const bad[] = { "", "2023", "2023-11-14", "2023-11-14T22:13:20",
        "2023-13-14T22:13:20Z", "2023-02-29T00:00:00Z", "2023-11-31T00:00:00Z",
        "2023-11-14T24:00:00Z", "2023-11-14T22:60:00Z", "2023-11-14T22:13:20.Z",
        "2023-11-14T22:13:20Zx", "2023-11-14T22:13:20+1:00", "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01", "+023-11-14T22:13:20Z" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t us = 5;

        assert_int_equal(clock_parse(bad[i], &us), -EINVAL);
        assert_int_equal(us, 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(daemon_time_is_a_date_that_goes_on),
        cmocka_unit_test(due_times_become_monotonic_ones),
        cmocka_unit_test(text_and_back),
        cmocka_unit_test(parses_rfc_3339),
        cmocka_unit_test(refuses_the_rest),
    };

    return cmocka_run_group_tests_name("base/clock", tests, NULL, NULL);
}
