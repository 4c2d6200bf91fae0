/* The mean of how often something happens, which a refused client is told to come back by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "daemon/engine/rate.h"

static void count_seconds(struct rate *r, int from, int seconds, int each)
{
    for (int s = from; s < from + seconds; s++)
        for (int i = 0; i < each; i++)
            rate_count(r, s * CLOCK_US_PER_S + i);
}

static void nothing_happened(void **state)
{
    struct rate r = { 0 };

    (void)state;
    assert_true(rate_now(&r, 1000 * CLOCK_US_PER_S) == 0);
}

static void a_steady_rate_is_found(void **state)
{
    struct rate r = { 0 };

    (void)state;
    count_seconds(&r, 1000, 20, 500);
    assert_in_range((int)rate_now(&r, 1019 * CLOCK_US_PER_S + 999999), 450, 500);
}

static void the_first_second_counts_already(void **state)
{
    struct rate r = { 0 };

    (void)state;
    count_seconds(&r, 1000, 1, 70);
    assert_int_equal((int)rate_now(&r, 1000 * CLOCK_US_PER_S + 500000), 70);
}

static void it_falls_while_nothing_happens(void **state)
{
    struct rate r = { 0 };

    (void)state;
    count_seconds(&r, 1000, 20, 500);
    assert_in_range((int)rate_now(&r, 1025 * CLOCK_US_PER_S), 1, 150);
    assert_true(rate_now(&r, 2000 * CLOCK_US_PER_S) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_happened),
        cmocka_unit_test(a_steady_rate_is_found),
        cmocka_unit_test(the_first_second_counts_already),
        cmocka_unit_test(it_falls_while_nothing_happens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
