#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/uuid7.h"

#define NOW_US 1700000000123456

static void keys_only_grow(void **state)
{
    struct uuid7_source s = { 0 };
    int64_t last = 0, now = NOW_US;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct uuid7 id;

        if (i == 10000)
            now -= 5000000; /* the clock was set back */
        assert_int_equal(uuid7_next(&s, now, &id), 0);
        assert_true(id.key > last);
        assert_true(id.tail >= 0);
        last = id.key;
        now += i % 7;
    }
}

static void goes_on_after_the_greatest_key_in_use(void **state)
{
    struct uuid7_source s = { .last_key = (NOW_US / 1000 + 1000) << 12 };
    struct uuid7 id;

    (void)state;
    assert_int_equal(uuid7_next(&s, NOW_US, &id), 0);
    assert_int_equal(id.key, ((int64_t)(NOW_US / 1000 + 1000) << 12) + 1);
}

static void keys_of_a_millisecond_begin_with_its_first(void **state)
{
    struct uuid7_source s = { 0 };
    struct uuid7 id;

    (void)state;
    assert_int_equal(uuid7_next(&s, NOW_US, &id), 0);
    assert_int_equal(uuid7_first_key(NOW_US), id.key);
    assert_int_equal(uuid7_first_key(NOW_US / 1000 * 1000 + 999), id.key);
    assert_int_equal(uuid7_next(&s, NOW_US, &id), 0);
    assert_true(id.key < uuid7_first_key(NOW_US + 1000));
    assert_int_equal(uuid7_first_key(0), 0);
}

static void text_and_back(void **state)
{
    struct uuid7_source s = { 0 };

    (void)state;
    for (int i = 0; i < 100; i++) {
        char text[UUID7_TEXT_SIZE];
        struct uuid7 id, back = { 0 };

        assert_int_equal(uuid7_next(&s, NOW_US + i * 500, &id), 0);
        uuid7_format(id, text);
        assert_int_equal(strlen(text), UUID7_TEXT_SIZE - 1);
        assert_int_equal(text[14], '7');
        assert_non_null(strchr("89ab", text[19]));
        assert_int_equal(uuid7_parse(text, &back), 0);
        assert_int_equal(back.key, id.key);
        assert_int_equal(back.tail, id.tail);
    }
}

/* RFC 9562, appendix A.6. */
static void reads_the_example_of_the_rfc(void **state)
{
    char text[UUID7_TEXT_SIZE];
    struct uuid7 id;

    (void)state;
    assert_int_equal(uuid7_parse("017F22E2-79B0-7CC3-98C4-DC0C0C07398F", &id), 0);
    assert_int_equal(id.key >> 12, 0x017f22e279b0);
    uuid7_format(id, text);
    assert_string_equal(text, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

static void refuses_what_is_none(void **state)
{
    static const char *const bad[] = { "", "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398ff", "017f22e2-79b0-4cc3-98c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-c8c4-dc0c0c07398f", "017f22e2079b0-7cc3-98c4-dc0c0c07398f",
        "g17f22e2-79b0-7cc3-98c4-dc0c0c07398f", "00000000-0000-7000-8000-000000000000" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct uuid7 id;

        assert_int_equal(uuid7_parse(bad[i], &id), -EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_only_grow),
        cmocka_unit_test(goes_on_after_the_greatest_key_in_use),
        cmocka_unit_test(keys_of_a_millisecond_begin_with_its_first),
        cmocka_unit_test(text_and_back),
        cmocka_unit_test(reads_the_example_of_the_rfc),
        cmocka_unit_test(refuses_what_is_none),
    };

    return cmocka_run_group_tests_name("base/uuid7", tests, NULL, NULL);
}
