/* What a worker says is checked. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/buf.h"
#include "daemon/transfer/outcome.h"
#include "daemon/transfer/report.h"
#include "daemon/transfer/transfer.h"
#include "daemon/transfer/wire.h"

#define DNS_US 1000

static void make_answer(struct answer *a)
{
    *a = (struct answer){ .retry_after_us = 7000000 };
    attempt_init(&a->attempt);
    a->attempt.dns_us = DNS_US;
    a->attempt.connect_us = 200;
    a->attempt.send_us = 30;
    a->attempt.first_byte_us = 4;
    a->attempt.receive_us = 0;
    a->attempt.total_us = DNS_US + 234;
    a->attempt.http_version = 11;
    a->attempt.sent_bytes = 80;
    a->attempt.received_bytes = 90;
    a->attempt.reached = PHASE_RESPONSE;
    a->attempt.status = 302;
    strcpy(a->attempt.remote, "[::1]:80");
    a->redirect_url = strdup("http://example.com/");
    outcome_fail(&a->attempt, FAILURE_BODY_TOO_LARGE, PHASE_RESPONSE, true, "too %s", "much");
    assert_int_equal(pack_header(&a->headers, "location", "/"), 0);
}

/* What is written of an answer, with `change` of it. */
static int pass(void (*change)(struct answer *a), struct answer *ret)
{
    struct buf b = { 0 };
    struct answer a;
    struct wire_view v;
    int rc;

    make_answer(&a);
    if (change)
        change(&a);
    assert_int_equal(report_put(&b, &a), 0);
    assert_int_equal(wire_missing(b.data, b.n), 0);
    assert_int_equal(wire_next(b.data, b.n, b.n, &v), b.n);
    assert_int_equal(v.type, WIRE_REPORT);
    rc = report_get(&v, DNS_US, ret);
    answer_done(&a);
    buf_done(&b);
    return rc;
}

static void test_a_report_arrives(void **state)
{
    struct answer a = { 0 };

    (void)state;
    assert_int_equal(pass(NULL, &a), 0);
    assert_int_equal(a.attempt.dns_us, DNS_US);
    assert_int_equal(a.attempt.connect_us, 200);
    assert_int_equal(a.attempt.tls_us, PHASE_NOT_TAKEN);
    assert_int_equal(a.attempt.send_us, 30);
    assert_int_equal(a.attempt.first_byte_us, 4);
    assert_int_equal(a.attempt.receive_us, 0);
    assert_int_equal(a.attempt.total_us, DNS_US + 234);
    assert_false(a.attempt.reused);
    assert_int_equal(a.attempt.http_version, 11);
    assert_int_equal(a.attempt.sent_bytes, 80);
    assert_int_equal(a.attempt.received_bytes, 90);
    assert_int_equal(a.attempt.reached, PHASE_RESPONSE);
    assert_int_equal(a.attempt.status, 302);
    assert_string_equal(a.attempt.remote, "[::1]:80");
    assert_int_equal(a.attempt.error.failure, FAILURE_BODY_TOO_LARGE);
    assert_int_equal(a.attempt.error.phase, PHASE_RESPONSE);
    assert_true(a.attempt.error.retry_safe);
    assert_string_equal(a.attempt.error.message, "too much");
    assert_string_equal(a.redirect_url, "http://example.com/");
    assert_string_equal(pack_header_find(&a.headers, "location"), "/");
    assert_int_equal(a.retry_after_us, 7000000);
    answer_done(&a);
}

static void set_failure(struct answer *a)
{
    a->attempt.error.failure = FAILURE_MAX;
}

static void set_phase(struct answer *a)
{
    a->attempt.reached = (enum phase) - 1;
}

static void set_status(struct answer *a)
{
    a->attempt.status = 1000;
}

static void set_total(struct answer *a)
{
    a->attempt.total_us++;
}

static void set_span(struct answer *a)
{
    a->attempt.send_us = -2;
}

static void set_bytes(struct answer *a)
{
    a->attempt.received_bytes = -1;
}

static void set_headers(struct answer *a)
{
    a->headers.data[a->headers.n - 1] = 'x';
}

static void test_what_can_not_be_is_refused(void **state)
{
    static void (*const changes[])(struct answer *) = { set_failure, set_phase, set_status,
        set_total, set_span, set_bytes, set_headers };
    struct answer a = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
        assert_int_equal(pass(changes[i], &a), -EPROTO);
    assert_null(a.headers.data);
}

/* In a block of its own size, so that a sanitizer sees a byte too many. */
static int get_copy(const char *data, size_t n)
{
    char *copy = malloc(n + !n);
    struct answer a = { 0 };
    struct wire_view v = { .type = WIRE_REPORT, .at = copy, .left = n };
    int rc;

    assert_non_null(copy);
    memcpy(copy, data, n);
    rc = report_get(&v, DNS_US, &a);
    answer_done(&a);
    free(copy);
    return rc;
}

static void test_no_piece_of_a_report_is_one(void **state)
{
    struct buf b = { 0 };
    struct wire_view v;
    struct answer a;

    (void)state;
    make_answer(&a);
    assert_int_equal(report_put(&b, &a), 0);
    assert_true(wire_next(b.data, b.n, b.n, &v) > 0);
    assert_int_equal(wire_next(b.data, b.n, v.left - 1, &v), -EPROTO);
    for (size_t n = 0; n < v.left; n++)
        assert_int_equal(get_copy(v.at, n), -EPROTO);
    for (size_t i = 0; i < 8 * v.left; i++) {
        b.data[b.n - v.left + i / 8] ^= (char)(1 << i % 8);
        (void)get_copy(v.at, v.left);
        b.data[b.n - v.left + i / 8] ^= (char)(1 << i % 8);
    }
    assert_int_equal(get_copy(v.at, v.left), 0);
    answer_done(&a);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_report_arrives),
        cmocka_unit_test(test_what_can_not_be_is_refused),
        cmocka_unit_test(test_no_piece_of_a_report_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
