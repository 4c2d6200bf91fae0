/* Packed lists come back as they went in, and foreign bytes are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/model/pack.h"

static void headers_keep_their_order_and_duplicates(void **state)
{
    static const char *const pairs[][2] = { { "accept", "*/*" }, { "x-empty", "" },
        { "set-cookie", "a=1" }, { "set-cookie", "b=2" } };
    struct blob b CLEANUP(blob_done) = { 0 };
    const char *name, *value;
    size_t at = 0, n = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        assert_int_equal(pack_header(&b, pairs[i][0], pairs[i][1]), 0);
    while (pack_header_next(&b, &at, &name, &value)) {
        assert_string_equal(name, pairs[n][0]);
        assert_string_equal(value, pairs[n][1]);
        n++;
    }
    assert_int_equal(n, ARRAY_LEN(pairs));
    assert_int_equal(pack_headers_check(&b), 0);
    assert_string_equal(pack_header_find(&b, "set-cookie"), "a=1");
    assert_null(pack_header_find(&b, "cookie"));
}

static void a_list_that_grows_is_the_same_list(void **state)
{
    struct blob one CLEANUP(blob_done) = { 0 }, many CLEANUP(blob_done) = { 0 };
    size_t room = 0;
    char value[300];

    (void)state;
    memset(value, 'v', sizeof(value));
    for (size_t n = 0; n < sizeof(value); n++) {
        value[n] = '\0';
        assert_int_equal(pack_header(&one, "x-name", value), 0);
        assert_int_equal(pack_header_n(&many, &room, "x-name: cut", 6, value, n), 0);
        assert_true(room >= many.n);
        value[n] = 'v';
    }
    assert_int_equal(many.n, one.n);
    assert_memory_equal(many.data, one.data, one.n);
}

static void no_headers_are_an_empty_list(void **state)
{
    struct blob b = { 0 };
    const char *name, *value;
    size_t at = 0;

    (void)state;
    assert_false(pack_header_next(&b, &at, &name, &value));
    assert_int_equal(pack_headers_check(&b), 0);
}

static void foreign_bytes_are_refused(void **state)
{
    struct {
        const char *data;
        size_t n;
    } bad[] = { { "\2a\0b", 5 }, { "\1a\0b", 4 }, { "\1a\0b\0c", 6 }, { "\1a", 2 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct blob b = { .data = (char *)bad[i].data, .n = bad[i].n };

        assert_int_equal(pack_headers_check(&b), -EBADMSG);
    }
}

static void statuses_round_trip(void **state)
{
    struct status_ranges s = { .n = 2, .range = { { 200, 299 }, { 404, 404 } } }, back;
    struct blob b CLEANUP(blob_done) = { 0 };

    (void)state;
    assert_int_equal(pack_status_ranges(&s, &b), 0);
    assert_int_equal(unpack_status_ranges(b.data, b.n, &back), 0);
    assert_int_equal(back.n, 2);
    assert_true(status_ranges_has(&back, 200));
    assert_true(status_ranges_has(&back, 299));
    assert_true(status_ranges_has(&back, 404));
    assert_false(status_ranges_has(&back, 300));
    assert_false(status_ranges_has(&back, 199));
    assert_int_equal(unpack_status_ranges(b.data, b.n - 1, &back), -EBADMSG);
    b.data[0] = 9;
    assert_int_equal(unpack_status_ranges(b.data, b.n, &back), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_keep_their_order_and_duplicates),
        cmocka_unit_test(a_list_that_grows_is_the_same_list),
        cmocka_unit_test(no_headers_are_an_empty_list),
        cmocka_unit_test(foreign_bytes_are_refused),
        cmocka_unit_test(statuses_round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
