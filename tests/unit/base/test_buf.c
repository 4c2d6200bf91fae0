#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "daemon/base/buf.h"

static void grows_and_shrinks(void **state)
{
    struct buf b = { 0 };

    (void)state;
    assert_int_equal(buf_append(&b, NULL, 0), 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(buf_append_str(&b, "0123456789"), 0);
    assert_int_equal(b.n, 10000);
    buf_consume(&b, 9995);
    assert_int_equal(b.n, 5);
    assert_memory_equal(b.data, "56789", 5);
    assert_int_equal(buf_printf(&b, "%s=%d", "n", 42), 0);
    assert_int_equal(b.n, 9);
    assert_memory_equal(b.data, "56789n=42", 9);
    buf_consume(&b, 9);
    assert_int_equal(b.n, 0);
    buf_done(&b);
    assert_null(b.data);
}

static void reserved_room_can_be_written(void **state)
{
    struct buf b = { 0 };

    (void)state;
    assert_int_equal(buf_reserve(&b, 100000), 0);
    memset(b.data, 'x', 100000);
    b.n += 100000;
    assert_int_equal(buf_append(&b, "y", 1), 0);
    assert_int_equal(b.data[99999], 'x');
    assert_int_equal(b.data[100000], 'y');
    buf_done(&b);
}

static void too_much_is_refused(void **state)
{
    struct buf b = { 0 };

    (void)state;
    assert_int_equal(buf_append_str(&b, "kept"), 0);
    assert_int_equal(buf_reserve(&b, SIZE_MAX - 2), -ENOMEM);
    assert_int_equal(b.n, 4);
    assert_memory_equal(b.data, "kept", 4);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_shrinks),
        cmocka_unit_test(reserved_room_can_be_written),
        cmocka_unit_test(too_much_is_refused),
    };

    return cmocka_run_group_tests_name("base/buf", tests, NULL, NULL);
}
