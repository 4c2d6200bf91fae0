#include "daemon/base/units.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "daemon/base/cleanup.h"

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } good[] = {
        { "0s", 0 },
        { "1us", 1 },
        { "250ms", 250000 },
        { "10s", 10000000 },
        { "1.5s", 1500000 },
        { "0.000001s", 1 },
        { "5min", 300000000 },
        { "0.5min", 30000000 },
        { "2h", 7200000000 },
        { "7d", 604800000000 },
    };
    int64_t us;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(units_parse_duration(good[i].text, &us), 0);
        assert_int_equal(us, good[i].us);
    }
}

static void test_bad_durations(void **state)
{
    static const char *const bad[] = { "", "s", "10", "-1s", "+1s", " 1s", "1s ", "1 s",
        "10 parsecs", "1S", "1m", "1sec", "1.s", ".5s", "1..5s", "1e3s", "0.0000001s",
        "0.00000001s", "0x10s", "5mins" };
    int64_t us = 77;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(units_parse_duration(bad[i], &us), -EINVAL);
    assert_int_equal(units_parse_duration("99999999999999999999s", &us), -ERANGE);
    assert_int_equal(units_parse_duration("9223372036854775807s", &us), -ERANGE);
    assert_int_equal(units_parse_duration("106751992d", &us), -ERANGE);
    assert_int_equal(us, 77);
}

static void test_sizes(void **state)
{
    static const char *const bad[] = { "", "B", "64", "64K", "64KB", "64kib", "-1KiB", "0.3KiB",
        "1 MiB" };
    int64_t bytes = 77;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(units_parse_bytes(bad[i], &bytes), -EINVAL);
    assert_int_equal(units_parse_bytes("8388608TiB", &bytes), -ERANGE);
    assert_int_equal(bytes, 77);
    assert_int_equal(units_parse_bytes("1.5MiB", &bytes), 0);
    assert_int_equal(bytes, 1572864);
    assert_int_equal(units_parse_bytes("512B", &bytes), 0);
    assert_int_equal(bytes, 512);
    assert_int_equal(units_parse_bytes("64KiB", &bytes), 0);
    assert_int_equal(bytes, 65536);
    assert_int_equal(units_parse_bytes("3GiB", &bytes), 0);
    assert_int_equal(bytes, 3LL << 30);
}

/* What is printed means the same again, in the greatest unit that fits. */
static void test_format(void **state)
{
    static const struct {
        int64_t value;
        const char *duration, *bytes;
    } cases[] = {
        { 0, "0s", "0B" },
        { 1, "1us", "1B" },
        { 1500000, "1500ms", "1500000B" },
        { 90000000, "90s", "90000000B" },
        { 3600000000, "1h", "3515625KiB" },
        { 1 << 20, "1048576us", "1MiB" },
        { INT64_MAX, "9223372036854775807us", "9223372036854775807B" },
    };
    char text[UNITS_TEXT_SIZE];
    int64_t again;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        units_format_duration(cases[i].value, text);
        assert_string_equal(text, cases[i].duration);
        assert_int_equal(units_parse_duration(text, &again), 0);
        assert_int_equal(again, cases[i].value);
        units_format_bytes(cases[i].value, text);
        assert_string_equal(text, cases[i].bytes);
        assert_int_equal(units_parse_bytes(text, &again), 0);
        assert_int_equal(again, cases[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_bad_durations),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_format),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
