#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/framing.h"
#include "daemon/base/cleanup.h"

#define OURS "Host", "127.0.0.1:8470"

static struct host_list hosts;

static int setup(void **state)
{
    (void)state;
    return host_list_add(&hosts, "127.0.0.1:8470") || host_list_add(&hosts, "localhost:8470");
}

static int teardown(void **state)
{
    (void)state;
    host_list_done(&hosts);
    return 0;
}

/* 0, or the status of the fault. `fields` are names and values, NULL-terminated. */
static unsigned check(const char *target, const char *version, bool local,
        const char *const *fields, struct framing *ret)
{
    struct framing_head head = { .target = target, .version = version, .local = local };
    struct framing_fault fault = { 0 };

    for (; *fields; fields += 2)
        head.fields[head.n++] = (struct framing_field){ fields[0], fields[1], strlen(fields[0]),
            strlen(fields[1]) };
    return framing_check(&head, &hosts, ret, &fault) ? 0 : fault.status;
}

#define CHECK(...) \
    check("/v1/jobs", "HTTP/1.1", false, (const char *const[]){ __VA_ARGS__, NULL }, &f)

static void good_heads_pass(void **state)
{
    struct framing f;

    (void)state;
    assert_int_equal(CHECK(OURS), 0);
    assert_int_equal(f.content_length, -1);
    assert_false(f.chunked);
    assert_int_equal(CHECK(OURS, "content-LENGTH", "12 ", "Content-Type", "application/json"), 0);
    assert_int_equal(f.content_length, 12);
    assert_int_equal(f.content_type.value_n, 16);
    assert_int_equal(CHECK(OURS, "Transfer-Encoding", "Chunked"), 0);
    assert_true(f.chunked);
    assert_int_equal(CHECK(OURS, "Expect", "100-Continue", "Prefer", "wait=1"), 0);
    assert_true(f.expect_continue);
    assert_non_null(f.prefer.value);
    assert_int_equal(CHECK("hOST", "LOCALHOST:8470"), 0);
}

static void smuggling_forms_are_refused(void **state)
{
    struct framing f;

    (void)state;
    assert_int_equal(CHECK(OURS, "Content-Length", "5", "Content-Length", "5"), 400);
    assert_int_equal(CHECK(OURS, "Content-Length", "5, 5"), 400);
    assert_int_equal(CHECK(OURS, "Content-Length", "+5"), 400);
    assert_int_equal(CHECK(OURS, "Content-Length", ""), 400);
    assert_int_equal(CHECK(OURS, "Content-Length", "99999999999999999999"), 400);
    assert_int_equal(CHECK(OURS, "Content-Length", "5", "Transfer-Encoding", "chunked"), 400);
    assert_int_equal(CHECK(OURS, "Transfer-Encoding", "gzip, chunked"), 400);
    assert_int_equal(
            CHECK(OURS, "Transfer-Encoding", "chunked", "transfer-encoding", "chunked"), 400);
    assert_int_equal(CHECK(OURS, "Content-Length ", "5"), 400);
    assert_int_equal(CHECK(OURS, "", "5"), 400);
    assert_int_equal(CHECK(OURS, "X(", "5"), 400);
    assert_int_equal(CHECK(OURS, "X", "a\x01"), 400);
    assert_int_equal(
            check("/", "HTTP/1.0", false,
                    (const char *const[]){ OURS, "Transfer-Encoding", "chunked", NULL }, &f),
            400);
    assert_int_equal(check("/", "HTTP/1.9", false, (const char *const[]){ OURS, NULL }, &f), 400);
    assert_int_equal(
            check("http://x/", "HTTP/1.1", false, (const char *const[]){ OURS, NULL }, &f), 400);
    assert_int_equal(check("*", "HTTP/1.1", false, (const char *const[]){ OURS, NULL }, &f), 400);
    assert_int_equal(
            check("/a b", "HTTP/1.1", false, (const char *const[]){ OURS, NULL }, &f), 400);
    assert_int_equal(
            check("/\xc3", "HTTP/1.1", false, (const char *const[]){ OURS, NULL }, &f), 400);
    assert_int_equal(CHECK(OURS, "Expect", "200-ok"), 417);
}

static void only_our_names_and_origins(void **state)
{
    struct framing f;

    (void)state;
    assert_int_equal(CHECK("Accept", "*/*"), 400);
    assert_int_equal(CHECK(OURS, OURS), 400);
    assert_int_equal(CHECK("Host", "evil.example:8470"), 421);
    assert_int_equal(CHECK("Host", "127.0.0.1"), 421);
    assert_int_equal(CHECK("Host", "127.0.0.1:8470.evil"), 421);
    assert_int_equal(CHECK("Host", "localhost:8471"), 421);
    assert_int_equal(CHECK(OURS, "Origin", "http://evil.example"), 403);
    assert_int_equal(CHECK(OURS, "Origin", "null"), 403);
    assert_int_equal(CHECK(OURS, "Origin", "http://127.0.0.1:8470"), 0);
    assert_int_equal(CHECK(OURS, "Origin", "http://localhost:8470"), 403);
    assert_int_equal(CHECK(OURS, "Sec-Fetch-Site", "cross-site"), 403);
    assert_int_equal(CHECK(OURS, "Sec-Fetch-Site", "same-origin"), 0);
    assert_int_equal(
            check("/", "HTTP/1.1", true, (const char *const[]){ "Host", "whatever", NULL }, &f), 0);
    assert_int_equal(check("/", "HTTP/1.1", true,
                             (const char *const[]){ "Host", "a", "Origin", "http://b", NULL }, &f),
            403);
    assert_int_equal(check("/", "HTTP/1.0", false, (const char *const[]){ "A", "b", NULL }, &f), 0);
}

static void sizes_are_bounded(void **state)
{
    struct framing_head head = { .target = "/", .version = "HTTP/1.1" };
    struct framing_fault fault;
    char *large = malloc(17000);
    struct framing f;

    (void)state;
    memset(large, 'a', 16999);
    large[16999] = 0;
    assert_int_equal(CHECK(OURS, "X", large), 431);
    large[0] = '/';
    assert_int_equal(check(large, "HTTP/1.1", false, (const char *const[]){ OURS, NULL }, &f), 414);
    head.n = FRAMING_HEADERS_MAX + 1;
    assert_false(framing_check(&head, &hosts, &f, &fault));
    assert_int_equal(fault.status, 431);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_heads_pass),
        cmocka_unit_test(smuggling_forms_are_refused),
        cmocka_unit_test(only_our_names_and_origins),
        cmocka_unit_test(sizes_are_bounded),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
