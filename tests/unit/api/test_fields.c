#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "api/fields.h"
#include "daemon/base/cleanup.h"

static void durations_have_units_and_fractions(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } good[] = { { "250ms", 250000 }, { "10s", 10000000 }, { "5min", 300000000 },
        { "2h", 7200000000 }, { "1d", 86400000000 }, { "500us", 500 }, { "10", 10000000 },
        { "1.5s", 1500000 }, { "0.000001", 1 }, { "0", 0 }, { "3650d", FIELD_DURATION_MAX_US } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t us = -1;

        assert_int_equal(field_duration(good[i].text, &us), 0);
        assert_int_equal(us, good[i].us);
    }
}

static void bad_durations_are_refused(void **state)
{
    static const char *const bad[] = { "", "-1s", "10 parsecs", "10 s", " 10s", "s", "1.s", ".5s",
        "1e3", "+1s", "10S", "10m", "0x10", "1h30min", "NaN", "inf", "0.0005ms" };
    int64_t us;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(field_duration(bad[i], &us), -EINVAL);
    assert_int_equal(field_duration("3651d", &us), -ERANGE);
    assert_int_equal(field_duration("99999999999999999999999s", &us), -ERANGE);
    assert_int_equal(field_duration_seconds(-0.1, &us), -EINVAL);
    assert_int_equal(field_duration_seconds(1e300, &us), -ERANGE);
    assert_int_equal(field_duration_seconds(0.0 / 0.0 * 1, &us), -EINVAL);
    assert_int_equal(field_duration_seconds(0.9, &us), 0);
    assert_int_equal(us, 900000);
}

static void sizes_have_binary_units(void **state)
{
    int64_t bytes;

    (void)state;
    assert_int_equal(field_size("64KiB", &bytes), 0);
    assert_int_equal(bytes, 65536);
    assert_int_equal(field_size("1.5MiB", &bytes), 0);
    assert_int_equal(bytes, 1572864);
    assert_int_equal(field_size("10", &bytes), 0);
    assert_int_equal(bytes, 10);
    assert_int_equal(field_size("1GiB", &bytes), 0);
    assert_int_equal(bytes, 1 << 30);
    assert_int_equal(field_size("1KB", &bytes), -EINVAL);
    assert_int_equal(field_size("-1", &bytes), -EINVAL);
    assert_int_equal(field_size("", &bytes), -EINVAL);
    assert_int_equal(field_size("9999999999GiB", &bytes), -ERANGE);
}

static void numbers_are_digits_only(void **state)
{
    uint64_t value;

    (void)state;
    assert_int_equal(field_unsigned("0", 10, &value), 0);
    assert_int_equal(field_unsigned("10", 10, &value), 0);
    assert_int_equal(value, 10);
    assert_int_equal(field_unsigned("11", 10, &value), -ERANGE);
    assert_int_equal(field_unsigned("18446744073709551616", UINT64_MAX, &value), -ERANGE);
    assert_int_equal(field_unsigned("", 10, &value), -EINVAL);
    assert_int_equal(field_unsigned("+1", 10, &value), -EINVAL);
    assert_int_equal(field_unsigned("1 ", 10, &value), -EINVAL);
}

static void statuses_are_classes_codes_and_ranges(void **state)
{
    static const char *const bad[] = { "", "2x", "6xx", "0xx", "99", "600", "1000", "204-200",
        "200-", "200 204", "2XX" };
    uint16_t first, last;

    (void)state;
    assert_int_equal(field_status_range("2xx", &first, &last), 0);
    assert_int_equal(first, 200);
    assert_int_equal(last, 299);
    assert_int_equal(field_status_range("404", &first, &last), 0);
    assert_int_equal(first, 404);
    assert_int_equal(last, 404);
    assert_int_equal(field_status_range("200-204", &first, &last), 0);
    assert_int_equal(last, 204);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(field_status_range(bad[i], &first, &last), -EINVAL);
}

static void tokens_and_values_follow_rfc_9110(void **state)
{
    (void)state;
    assert_true(field_is_token("X-Custom_1~", 11));
    assert_false(field_is_token("", 0));
    assert_false(field_is_token("a b", 3));
    assert_false(field_is_token("a:", 2));
    assert_false(field_is_token("a\0b", 3));
    assert_false(field_is_token("\xc3\xa9", 2));
    assert_true(field_is_header_value("a\tb \xc3\xa9", 6));
    assert_false(field_is_header_value("a\r\nb", 4));
    assert_false(field_is_header_value("a\0b", 3));
    assert_false(field_is_header_value("\x7f", 1));
    assert_true(field_header_is_owned("content-length"));
    assert_true(field_header_is_owned("proxy-anything"));
    assert_false(field_header_is_owned("accept"));
    assert_true(field_header_is_secret("authorization"));
    assert_true(field_header_is_secret("x-api-key"));
    assert_false(field_header_is_secret("accept"));
}

static void utf8_is_strict(void **state)
{
    static const char *const bad[] = { "\xff", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
        "\xf4\x90\x80\x80", "\xf0\x80\x80\x80", "\xc3", "\xe2\x82", "\x80" };

    (void)state;
    assert_true(field_is_utf8_text("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10));
    assert_false(field_is_utf8_text("a\0", 2));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(field_is_utf8_text(bad[i], strlen(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_have_units_and_fractions),
        cmocka_unit_test(bad_durations_are_refused),
        cmocka_unit_test(sizes_have_binary_units),
        cmocka_unit_test(numbers_are_digits_only),
        cmocka_unit_test(statuses_are_classes_codes_and_ranges),
        cmocka_unit_test(tokens_and_values_follow_rfc_9110),
        cmocka_unit_test(utf8_is_strict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
