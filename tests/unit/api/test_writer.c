#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/faults.h"
#include "api/reply.h"
#include "api/writer.h"

static void assert_text(const struct buf *b, const char *text)
{
    assert_int_equal(b->n, strlen(text));
    assert_memory_equal(b->data, text, b->n);
}

static void values_stand_between_commas(void **state)
{
    struct buf out = { 0 };
    struct writer w = writer_to(&out);

    (void)state;
    writer_open(&w, '{');
    writer_key(&w, "a");
    writer_open(&w, '[');
    writer_int(&w, INT64_MIN);
    writer_bool(&w, true);
    writer_null(&w);
    writer_open(&w, '{');
    writer_close(&w, '}');
    writer_close(&w, ']');
    writer_key(&w, "b");
    writer_text(&w, NULL);
    writer_close(&w, '}');
    assert_int_equal(w.rc, 0);
    assert_text(&out, "{\"a\":[-9223372036854775808,true,null,{}],\"b\":null}");
    buf_done(&out);
}

static void microseconds_are_exact_milliseconds(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = { { 0, "0" }, { 1, "0.001" }, { 1000, "1" }, { 9000123, "9000.123" },
        { 1500, "1.5" }, { 100000, "100" }, { -1500, "-1.5" } };

    (void)state;
    for (size_t i = 0; i < 7; i++) {
        struct buf out = { 0 };
        struct writer w = writer_to(&out);

        writer_thousandths(&w, cases[i].us);
        assert_text(&out, cases[i].text);
        buf_done(&out);
    }
}

static void strings_are_escaped_and_valid(void **state)
{
    struct buf out = { 0 };
    struct writer w = writer_to(&out);

    (void)state;
    writer_string(&w, "\"\\\n\t\x01\0é", 8);
    writer_string(&w,
            "a\xff"
            "b\xe2\x82",
            5);
    assert_text(&out, "\"\\\"\\\\\\n\\t\\u0001\\u0000é\",\"a\xef\xbf\xbd"
                      "b\xef\xbf\xbd\xef\xbf\xbd\"");
    buf_done(&out);
}

static void faults_know_their_places(void **state)
{
    struct place root = { 0 }, jobs = { .parent = &root, .key = "jobs" },
                 third = { .parent = &jobs, .index = 3 },
                 odd = { .parent = &third, .key = "a/b~c" };
    struct faults faults = { 0 };
    struct buf out = { 0 };
    struct writer w = writer_to(&out);

    (void)state;
    assert_false(faults_any(&faults));
    faults_at(&faults, &odd, "bad %d", 1);
    faults_at(&faults, &root, "all of it");
    faults_parameter(&faults, "limit", "too large");
    faults_syntax(&faults, 2, 7, "oops");
    assert_true(faults_any(&faults));
    faults_write(&faults, &w);
    assert_text(&out, "[{\"detail\":\"bad 1\",\"pointer\":\"/jobs/3/a~1b~0c\"},"
                      "{\"detail\":\"all of it\",\"pointer\":\"\"},"
                      "{\"detail\":\"too large\",\"parameter\":\"limit\"},"
                      "{\"detail\":\"oops\",\"line\":2,\"column\":7}]");
    buf_done(&out);
    faults_done(&faults);
}

static void faults_are_bounded(void **state)
{
    struct place root = { 0 };
    struct faults faults = { 0 };
    struct buf out = { 0 };
    struct writer w = writer_to(&out);

    (void)state;
    for (int i = 0; i < FAULTS_MAX + 50; i++)
        faults_at(&faults, &root, "again");
    assert_int_equal(faults.n, FAULTS_MAX);
    faults_write(&faults, &w);
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
    reply_error(&r, -28); /* ENOSPC */
    assert_int_equal(r.status, 507);
    assert_string_equal(r.type, "application/problem+json");
    assert_string_equal(r.headers[0].name, "Retry-After");
    reply_problem(&r, 404, NULL, "no %s", "\"job\"");
    assert_int_equal(r.n_headers, 0);
    assert_text(&r.body, "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,"
                         "\"detail\":\"no \\\"job\\\"\"}\n");
    reply_error(&r, -12345);
    assert_int_equal(r.status, 500);
    reply_done(&r);
    assert_int_equal(reply_format_raw(503, "x", raw, 64), 63);
    assert_true(reply_format_raw(503, "full", raw, sizeof(raw)) < sizeof(raw));
    assert_non_null(strstr(raw, "Retry-After: 5\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_stand_between_commas),
        cmocka_unit_test(microseconds_are_exact_milliseconds),
        cmocka_unit_test(strings_are_escaped_and_valid),
        cmocka_unit_test(faults_know_their_places),
        cmocka_unit_test(faults_are_bounded),
        cmocka_unit_test(errors_are_problems),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
