#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/faults.h"
#include "api/reply.h"
#include "api/shape.h"
#include "daemon/base/cleanup.h"

static void assert_text(const struct buf *b, const char *text)
{
    assert_int_equal(b->n, strlen(text));
    assert_memory_equal(b->data, text, b->n);
}

static void values_keep_their_order(void **state)
{
    json_t *o = json_object(), *list = json_array();
    struct buf out = { 0 };

    (void)state;
    shape_push(&list, json_integer(INT64_MIN));
    shape_push(&list, json_true());
    shape_push(&list, json_null());
    shape_push(&list, json_object());
    shape_set(&o, "z", list);
    shape_set(&o, "b", shape_text(NULL));
    shape_set(&o, "a", shape_text("x"));
    assert_int_equal(shape_write_line(o, &out), 0);
    assert_text(&out, "{\"z\":[-9223372036854775808,true,null,{}],\"b\":null,\"a\":\"x\"}\n");
    buf_done(&out);
}

static void what_could_not_be_made_spoils_the_whole(void **state)
{
    json_t *o = json_object(), *list = json_array();
    struct buf out = { 0 };

    (void)state;
    shape_push(&list, NULL);
    assert_null(list);
    shape_push(&list, json_integer(1));
    shape_set(&o, "list", list);
    assert_null(o);
    shape_set(&o, "more", json_object());
    assert_null(o);
    assert_int_equal(shape_write(o, &out), -ENOMEM);
    assert_int_equal(out.n, 0);
    buf_done(&out);
}

static void microseconds_are_exact_milliseconds(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = { { 0, "0.0" }, { 1, "0.001" }, { 1000, "1.0" }, { 9000123, "9000.123" },
        { 1500, "1.5" }, { 300064, "300.064" }, { 100000, "100.0" }, { -1500, "-1.5" },
        { 86400000000, "86400000.0" }, { 315360000000001, "315360000000.001" } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out = { 0 };

        assert_int_equal(shape_write_line(shape_thousandths(cases[i].us), &out), 0);
        out.n--;
        assert_text(&out, cases[i].text);
        buf_done(&out);
    }
}

static void strings_are_escaped_and_valid(void **state)
{
    struct buf out = { 0 };
    json_t *list = json_array(), *o = json_object();

    (void)state;
    shape_push(&list, shape_string("\"\\\n\t\x01\0é", 8));
    shape_push(&list, shape_string("a\xff"
                                   "b\xe2\x82",
                              5));
    shape_push(&list, shape_string("", 0));
    shape_push(&list, shape_string("\xff", 1));
    shape_set(&o, "k\xff", json_true());
    shape_push(&list, o);
    assert_int_equal(shape_write_line(list, &out), 0);
    assert_text(&out, "[\"\\\"\\\\\\n\\t\\u0001\\u0000é\",\"a\xef\xbf\xbd"
                      "b\xef\xbf\xbd\xef\xbf\xbd\",\"\",\"\xef\xbf\xbd\",{\"k\xef\xbf\xbd\":true}]"
                      "\n");
    buf_done(&out);
}

static void faults_know_their_places(void **state)
{
    struct place root = { 0 }, jobs = { .parent = &root, .key = "jobs" },
                 third = { .parent = &jobs, .index = 3 },
                 odd = { .parent = &third, .key = "a/b~c" };
    struct faults faults = { 0 };
    struct buf out = { 0 };

    (void)state;
    assert_false(faults_any(&faults));
    faults_at(&faults, &odd, "bad %d", 1);
    faults_at(&faults, &root, "all of it");
    faults_parameter(&faults, "limit", "too large");
    faults_syntax(&faults, 2, 7, "oops");
    assert_true(faults_any(&faults));
    assert_int_equal(shape_write_line(faults_json(&faults), &out), 0);
    assert_text(&out, "[{\"detail\":\"bad 1\",\"pointer\":\"/jobs/3/a~1b~0c\"},"
                      "{\"detail\":\"all of it\",\"pointer\":\"\"},"
                      "{\"detail\":\"too large\",\"parameter\":\"limit\"},"
                      "{\"detail\":\"oops\",\"line\":2,\"column\":7}]\n");
    buf_done(&out);
    faults_done(&faults);
}

static void faults_are_bounded(void **state)
{
    struct place root = { 0 };
    struct faults faults = { 0 };
    struct buf out = { 0 };

    (void)state;
    for (int i = 0; i < FAULTS_MAX + 50; i++)
        faults_at(&faults, &root, "again");
    assert_int_equal(faults.n, FAULTS_MAX);
    assert_int_equal(shape_write_line(faults_json(&faults), &out), 0);
    assert_int_equal(buf_append(&out, "", 1), 0);
    assert_non_null(strstr(out.data, "50 more errors are not listed"));
    buf_done(&out);
    faults_done(&faults);
}

static void errors_are_problems(void **state)
{
    struct reply r = REPLY_INIT;
    char raw[512];

    (void)state;
    reply_error(&r, NULL, -28); /* ENOSPC */
    assert_int_equal(r.status, 507);
    assert_string_equal(r.type, "application/problem+json");
    assert_string_equal(r.headers[0].name, "Retry-After");
    reply_problem(&r, 404, NULL, "no %s", "\"job\"");
    assert_int_equal(r.n_headers, 0);
    assert_text(&r.body, "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,"
                         "\"detail\":\"no \\\"job\\\"\"}\n");
    reply_error(&r, NULL, -12345);
    assert_int_equal(r.status, 500);
    reply_done(&r);
    assert_int_equal(reply_format_raw(503, "x", raw, 64), 63);
    assert_true(reply_format_raw(503, "full", raw, sizeof(raw)) < sizeof(raw));
    assert_non_null(strstr(raw, "Retry-After: 5\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_keep_their_order),
        cmocka_unit_test(what_could_not_be_made_spoils_the_whole),
        cmocka_unit_test(microseconds_are_exact_milliseconds),
        cmocka_unit_test(strings_are_escaped_and_valid),
        cmocka_unit_test(faults_know_their_places),
        cmocka_unit_test(faults_are_bounded),
        cmocka_unit_test(errors_are_problems),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
