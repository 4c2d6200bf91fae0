/* Idempotency-Key: its forms, and what becomes of repeats over real sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/idempotency.h"
#include "tests/unit/api/client.h"

#define FETCH "{\"kind\":\"fetch\",\"url\":\"http://x/\"}"
#define SLOW  "{\"kind\":\"delivery\",\"wait\":0.3}"

static void expect_key(const char *value, const char *wanted)
{
    char *key = NULL;

    assert_int_equal(idempotency_parse(value, strlen(value), &key), wanted ? 0 : -EINVAL);
    if (wanted)
        assert_string_equal(key, wanted);
    free(key);
}

static void a_key_is_bare_or_a_string(void **state)
{
    char longest[300];

    (void)state;
    expect_key("abc", "abc");
    expect_key("\"abc\"", "abc");
    expect_key("a\"b", "a\"b");
    expect_key("\"a\\\"b\\\\\"", "a\"b\\");
    expect_key("", NULL);
    expect_key("\"\"", NULL);
    expect_key("\"", NULL);
    expect_key("\"abc", NULL);
    expect_key("\"a\"b\"", NULL);
    expect_key("\"a\\b\"", NULL);
    expect_key("\"abc\\\"", NULL);
    expect_key("\"abc\";p=1", NULL);
    expect_key("a b", NULL);
    expect_key("\"a b\"", NULL);
    expect_key("caf\xc3\xa9", NULL);
    memset(longest, 'k', sizeof(longest));
    longest[IDEMPOTENCY_KEY_MAX_BYTES] = 0;
    expect_key(longest, longest);
    longest[IDEMPOTENCY_KEY_MAX_BYTES] = 'k';
    longest[IDEMPOTENCY_KEY_MAX_BYTES + 1] = 0;
    expect_key(longest, NULL);
}

/* SHA-256 of "\0/v1/jobs\0k" and of "{}", from sha256sum(1): stored keys outlive the daemon. */
static void digests_stay_the_same(void **state)
{
    static const unsigned char key[] = { 0xf4, 0x18, 0xf4, 0x93, 0x37, 0x22, 0xaa, 0x08, 0x47, 0x03,
        0x77, 0x64, 0x59, 0xc9, 0xa0, 0x26, 0x34, 0x3c, 0x7b, 0x33, 0x35, 0x0d, 0x1d, 0x7e, 0x25,
        0xbc, 0xdb, 0xf6, 0xf9, 0x34, 0x81, 0xd4 };
    static const unsigned char fingerprint[] = { 0x44, 0x13, 0x6f, 0xa3, 0x55, 0xb3, 0x67, 0x8a,
        0x11, 0x46, 0xad, 0x16, 0xf7, 0xe8, 0x64, 0x9e, 0x94, 0xfb, 0x4f, 0xc2, 0x1f, 0xe7, 0x7e,
        0x83, 0x10, 0xc0, 0x60, 0xf6, 0x1c, 0xaa, 0xff, 0x8a };
    struct idempotency jobs, batches;

    (void)state;
    assert_int_equal(idempotency_digest("/v1/jobs", "k", "{}", 2, &jobs), 0);
    assert_memory_equal(jobs.key, key, sizeof(key));
    assert_memory_equal(jobs.fingerprint, fingerprint, sizeof(fingerprint));
    assert_int_equal(idempotency_digest("/v1/batches", "k", "{}", 2, &batches), 0);
    assert_memory_not_equal(jobs.key, batches.key, sizeof(key));
}

static struct answer post_keyed(int fd, const char *line, const char *key, const char *body)
{
    char headers[512];

    snprintf(headers, sizeof(headers), "Content-Type: application/json\r\n%s%s%s",
            key ? "Idempotency-Key: " : "", key ? key : "", key ? "\r\n" : "");
    client_send_request(fd, line, headers, body, strlen(body));
    return client_read_answer(fd);
}

static void expect_refusal(struct answer a, unsigned status, const char *part)
{
    assert_int_equal(a.status, status);
    assert_non_null(strstr(a.body, part));
    answer_done(&a);
}

static char *first_location(struct answer *a)
{
    char *location = text_between(a->head, "Location: /v1/");

    *strchr(location, '\r') = 0;
    return location;
}

static void a_repeat_is_the_first_one(void **state)
{
    int fd = client_dial();
    struct answer a = post_keyed(fd, "POST /v1/jobs", "\"one\"", SLOW);
    char *first, *again;

    (void)state;
    assert_int_equal(a.status, 202);
    assert_null(strstr(a.head, "Idempotency-Replayed"));
    first = first_location(&a);
    answer_done(&a);

    a = post_keyed(fd, "POST /v1/jobs", "one", SLOW);
    assert_int_equal(a.status, 202);
    assert_non_null(strstr(a.head, "Idempotency-Replayed: true\r\n"));
    again = first_location(&a);
    assert_string_equal(first, again);
    free(again);
    answer_done(&a);

    a = post_keyed(fd, "POST /v1/jobs?wait=10s", "one", SLOW);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.head, "Idempotency-Replayed: true\r\n"));
    assert_non_null(strstr(a.body, "\"state\":\"succeeded\""));
    assert_non_null(strstr(a.body, first + strlen("jobs/")));
    answer_done(&a);

    expect_refusal(post_keyed(fd, "POST /v1/jobs", "one", FETCH), 422,
            "\"parameter\":\"Idempotency-Key\"");
    a = post_keyed(fd, "POST /v1/jobs", NULL, SLOW); /* without a key it is another one */
    again = first_location(&a);
    assert_string_not_equal(first, again);
    answer_done(&a);
    free(again);
    free(first);
    close(fd);
}

static void a_job_may_say_its_key_itself(void **state)
{
    static const char own[] =
            "{\"kind\":\"fetch\",\"url\":\"http://x/\",\"idempotency_key\":\"own\"}";
    static const char other[] =
            "{\"kind\":\"fetch\",\"url\":\"http://y/\",\"idempotency_key\":\"own\"}";
    int fd = client_dial();
    struct answer a = post_keyed(fd, "POST /v1/jobs", NULL, own);

    (void)state;
    assert_int_equal(a.status, 202);
    answer_done(&a);
    a = post_keyed(fd, "POST /v1/jobs", "own", own);
    assert_int_equal(a.status, 202);
    assert_non_null(strstr(a.head, "Idempotency-Replayed: true\r\n"));
    answer_done(&a);
    expect_refusal(post_keyed(fd, "POST /v1/jobs", "not-own", own), 422,
            "\"pointer\":\"/idempotency_key\"");
    expect_refusal(
            post_keyed(fd, "POST /v1/jobs", NULL, other), 422, "\"pointer\":\"/idempotency_key\"");
    expect_refusal(
            post_keyed(fd, "POST /v1/jobs", NULL,
                    "{\"kind\":\"fetch\",\"url\":\"http://x/\",\"idempotency_key\":\"a b\"}"),
            422, "1 to 255 visible ASCII characters");
    expect_refusal(post_keyed(fd, "POST /v1/jobs", NULL,
                           "{\"kind\":\"fetch\",\"url\":\"http://x/\",\"idempotency_key\":7}"),
            422, "must be a string");
    close(fd);
}

static void bad_headers_are_refused(void **state)
{
    int fd = client_dial();

    (void)state;
    expect_refusal(post_keyed(fd, "POST /v1/jobs", "\"a b\"", FETCH), 400,
            "1 to 255 visible ASCII characters\",\"parameter\":\"Idempotency-Key\"");
    close(fd); /* as the daemon does after a 400 */
    fd = client_dial();
    expect_refusal(post_keyed(fd, "POST /v1/batches", "", FETCH), 400, "Idempotency-Key");
    close(fd);
    fd = client_dial();
    client_send_request(fd, "POST /v1/jobs",
            "Content-Type: application/x-ndjson\r\nIdempotency-Key: k\r\n", FETCH, strlen(FETCH));
    client_expect(fd, 422, "give each line");
    client_send_request(fd, "POST /v1/jobs",
            "Content-Type: application/json\r\nIdempotency-Key: k\r\nIdempotency-Key: k\r\n", FETCH,
            strlen(FETCH));
    client_expect(fd, 400, "came twice");
    close(fd);
}

static void a_batch_has_one_key(void **state)
{
    static const char batch[] = "{\"jobs\":[" SLOW "," SLOW "]}";
    int fd = client_dial();
    struct answer a = post_keyed(fd, "POST /v1/batches", "batch", batch);
    char *first = first_location(&a), *again, *ids = strdup(strstr(a.body, "\"job_ids\":["));

    (void)state;
    assert_int_equal(a.status, 202);
    answer_done(&a);
    a = post_keyed(fd, "POST /v1/batches?wait=10s", "batch", batch);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.head, "Idempotency-Replayed: true\r\n"));
    again = first_location(&a);
    assert_string_equal(first, again);
    assert_non_null(strstr(a.body, ids));
    answer_done(&a);
    expect_refusal(post_keyed(fd, "POST /v1/batches", "batch", "{\"jobs\":[" SLOW "]}"), 422,
            "\"parameter\":\"Idempotency-Key\"");
    expect_refusal(post_keyed(fd, "POST /v1/batches", NULL,
                           "{\"jobs\":[" SLOW
                           ",{\"kind\":\"delivery\",\"wait\":1,\"idempotency_key\":\"k\"}]}"),
            422,
            "one key for all of it: the header Idempotency-Key\",\"pointer\":\"/jobs/1/"
            "idempotency_key\"");
    free(first);
    free(again);
    free(ids);
    close(fd);
}

static struct answer post_lines(int fd, const char *lines)
{
    client_send_request(
            fd, "POST /v1/jobs", "Content-Type: application/x-ndjson\r\n", lines, strlen(lines));
    return client_read_answer(fd);
}

/* A line counts without its end, whichever that is. */
static void each_line_has_its_key(void **state)
{
#define LINE(url, key) \
    "{\"kind\":\"fetch\",\"url\":\"http://" url "/\",\"idempotency_key\":\"" key "\"}"
    int fd = client_dial();
    struct answer a = post_lines(fd, LINE("x", "line-1") "\n" LINE("x", "line-2") "\n");
    char *id, wanted[128];

    (void)state;
    assert_int_equal(text_count(a.body, "{\"status\":202,"), 2);
    assert_null(strstr(a.body, "replayed"));
    id = text_between(a.body, "\"id\":\"");
    answer_done(&a);
    a = post_lines(fd, LINE("x", "line-1") "\n" LINE("y", "line-2") "\n" LINE("x", "line-3"));
    snprintf(wanted, sizeof(wanted), "{\"status\":202,\"id\":\"%s\",\"replayed\":true}\n", id);
    assert_ptr_equal(strstr(a.body, wanted), a.body);
    assert_non_null(strstr(a.body, "\n{\"status\":422,\"errors\":[{\"detail\":"));
    assert_non_null(strstr(a.body, "\"pointer\":\"/idempotency_key\"}]}\n{\"status\":202,"));
    answer_done(&a);
    a = post_keyed(fd, "POST /v1/jobs", NULL, LINE("x", "line-1")); /* the same path */
    assert_non_null(strstr(a.head, "Idempotency-Replayed: true\r\n"));
    answer_done(&a);
    free(id);
    close(fd);
}

static void what_retention_removed_is_gone(void **state)
{
    static const char job[] =
            "{\"kind\":\"delivery\",\"name\":\"forgotten\",\"idempotency_key\":\"gone\"}";
    int fd = client_dial();
    struct answer a = post_keyed(fd, "POST /v1/jobs", NULL, job);

    (void)state;
    assert_int_equal(a.status, 202);
    answer_done(&a);
    expect_refusal(post_keyed(fd, "POST /v1/jobs", NULL, job), 410, "retention has removed it");
    a = post_lines(fd, job);
    assert_non_null(strstr(a.body, "{\"status\":410,\"errors\":[{\"detail\":\"what came"));
    answer_done(&a);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_bare_or_a_string),
        cmocka_unit_test(digests_stay_the_same),
        cmocka_unit_test(a_repeat_is_the_first_one),
        cmocka_unit_test(a_job_may_say_its_key_itself),
        cmocka_unit_test(bad_headers_are_refused),
        cmocka_unit_test(a_batch_has_one_key),
        cmocka_unit_test(each_line_has_its_key),
        cmocka_unit_test(what_retention_removed_is_gone),
    };

    return cmocka_run_group_tests(tests, client_setup, client_teardown);
}
