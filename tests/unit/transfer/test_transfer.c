#include "transfer_fixture.h"

TRANSFER_TEST(test_an_answer_is_recorded)
{
    struct attempt *a = &t->answer.attempt;
    char remote[56];

    get(t, "/ok");
    snprintf(remote, sizeof(remote), "127.0.0.1:%u", web_server_port(t->web));
    expect_body(t, "hello");
    assert_int_equal(a->status, 200);
    assert_int_equal(a->http_version, 11);
    assert_int_equal(a->reached, PHASE_RESPONSE);
    assert_string_equal(a->remote, remote);
    assert_false(a->reused);
    assert_int_equal(a->dns_us, PHASE_NOT_TAKEN);
    assert_int_equal(a->tls_us, PHASE_NOT_TAKEN);
    assert_true(a->connect_us >= 0 && a->send_us >= 0 && a->first_byte_us >= 0);
    assert_true(a->receive_us >= 0);
    check_phases(a);
    assert_true(a->sent_bytes > 40 && a->sent_bytes < 200);
    assert_true(a->received_bytes > 60 && a->received_bytes < 120);
    assert_string_equal(pack_header_find(&t->answer.headers, "x-path"), "/ok");
    assert_string_equal(pack_header_find(&t->answer.headers, "x-two"), "a");
    assert_null(t->answer.redirect_url);
    assert_int_equal(t->answer.retry_after_us, 0);
    return 0;
}

TRANSFER_TEST(test_a_kept_connection_is_used_again)
{
    get(t, "/ok");
    get(t, "/ok");
    assert_true(t->answer.attempt.reused);
    assert_int_equal(t->answer.attempt.connect_us, PHASE_NOT_TAKEN);
    check_phases(&t->answer.attempt);
    assert_int_equal(web_server_connections(t->web), 1);
    assert_int_equal(web_server_requests(t->web), 2);
    return 0;
}

static int exchange_together(void *arg)
{
    struct test *t = arg;
    struct exchange x = t->x;
    struct answer answer;

    x.url = t->url;
    x.method = "GET";
    x.deadline_ns = clock_mono_ns() + 10000 * MS;
    assert_int_equal(transfer_run(t->transfer, &x, &answer), 0);
    assert_int_equal(answer.attempt.status, 200);
    answer_done(&answer);
    return 0;
}

TRANSFER_TEST(test_few_connections_are_kept)
{
    const unsigned n = 5 * IDLE;
    struct co_group group;

    snprintf(t->url, sizeof(t->url), "http://127.0.0.1:%u/together/%u", web_server_port(t->web), n);
    co_group_open(&group);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(co_group_spawn(&group, "exchange", exchange_together, t, NULL), 0);
    assert_int_equal(co_group_close(&group, 0), 0);
    assert_int_equal(web_server_connections(t->web), n);
    web_server_await_open(t->web, IDLE);
    get(t, "/ok");
    assert_true(t->answer.attempt.reused);
    return 0;
}

TRANSFER_TEST(test_a_stray_answer_is_for_nobody)
{
    get(t, "/twice");
    expect_body(t, "hello");
    web_server_answer_again(t->web);
    get(t, "/ok");
    expect_body(t, "hello");
    assert_false(t->answer.attempt.reused);
    assert_int_equal(web_server_connections(t->web), 2);
    return 0;
}

TRANSFER_TEST(test_requests_look_as_they_should)
{
    struct blob headers = { 0 };
    char *last;

    get(t, "/echo");
    last = web_server_last(t->web);
    assert_non_null(strstr(last, "GET /echo HTTP/1.1\r\nHost: 127.0.0.1:"));
    assert_non_null(strstr(last, "\r\nUser-Agent: baedald/" BAEDAL_VERSION "\r\n"));
    assert_non_null(strstr(last, "\r\nAccept: */*\r\n"));
    assert_null(strcasestr(last, "encoding"));
    assert_null(strcasestr(last, "content-"));
    free(last);

    assert_int_equal(pack_header(&headers, "user-agent", "me"), 0);
    assert_int_equal(pack_header(&headers, "accept", "text/plain"), 0);
    assert_int_equal(pack_header(&headers, "x-empty", ""), 0);
    assert_int_equal(pack_header(&headers, "x-a", "1"), 0);
    assert_int_equal(pack_header(&headers, "x-a", "2"), 0);
    t->x.headers = &headers;
    t->x.idempotency_key = "the-key";
    t->x.body = "{}";
    t->x.body_bytes = 2;
    assert_int_equal(send_to(t, "127.0.0.1", "POST", "/echo", 10000 * MS), 0);
    last = web_server_last(t->web);
    assert_non_null(strstr(last, "POST /echo HTTP/1.1\r\n"));
    assert_non_null(strstr(last, "\r\nuser-agent: me\r\n"));
    assert_null(strstr(last, "baedald"));
    assert_non_null(strstr(last, "\r\naccept: text/plain\r\n"));
    assert_null(strstr(last, "*/*"));
    assert_non_null(strstr(last, "\r\nx-empty:\r\n"));
    assert_non_null(strstr(last, "\r\nx-a: 1\r\nx-a: 2\r\n"));
    assert_non_null(strstr(last, "\r\nIdempotency-Key: the-key\r\n"));
    assert_non_null(strstr(last, "\r\nContent-Length: 2\r\n"));
    assert_null(strcasestr(last, "content-type"));
    assert_null(strcasestr(last, "expect"));
    assert_non_null(strstr(last, "\r\n\r\n{}"));
    free(last);
    blob_done(&headers);
    return 0;
}

static void expect_request(struct test *t, const char *method, const char *has, const char *hasnt)
{
    char *last;

    assert_int_equal(send_to(t, "127.0.0.1", method, "/echo", 10000 * MS), 0);
    assert_int_equal(t->answer.attempt.status, 200);
    last = web_server_last(t->web);
    assert_int_equal(strncmp(last, method, strlen(method)), 0);
    assert_int_equal(strncmp(last + strlen(method), " /echo ", 7), 0);
    if (has)
        assert_non_null(strstr(last, has));
    if (hasnt)
        assert_null(strstr(last, hasnt));
    free(last);
}

static void expect_target(struct test *t, const char *host, const char *target)
{
    char line[256];
    char *last;

    assert_int_equal(send_to(t, host, "GET", target, 10000 * MS), 0);
    assert_int_equal(t->answer.attempt.status, 200);
    snprintf(line, sizeof(line), "GET %s HTTP/1.1\r\nHost: %s:%u\r\n", target, host,
            web_server_port(t->web));
    last = web_server_last(t->web);
    assert_int_equal(strncmp(last, line, strlen(line)), 0);
    free(last);
}

TRANSFER_TEST(test_targets_are_sent_as_they_are)
{
    static const char *const targets[] = { "/echo/a%2Fb%c3%A9", "/echo?q=1%2F2&r=a+b;c", "/echo",
        "/echo/~(x)?y=?/../z", "/echo?" };

    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        expect_target(t, "127.0.0.1", targets[i]);
        expect_target(t, "good.test", targets[i]);
    }
    return 0;
}

TRANSFER_TEST(test_methods_do_not_stick_to_a_handle)
{
    expect_request(t, "POST", "Content-Length: 0\r\n", "Content-Type");
    expect_request(t, "GET", NULL, "Content-Length");
    expect_request(t, "HEAD", NULL, "Content-Length");
    assert_int_equal(t->answer.body.bytes, 0);
    expect_request(t, "DELETE", NULL, "Content-Length");
    assert_true(t->answer.body.bytes > 0);
    expect_request(t, "PUT", "Content-Length: 0\r\n", NULL);
    t->x.body = "abc";
    t->x.body_bytes = 3;
    expect_request(t, "PURGE", "\r\n\r\nabc", NULL);
    expect_request(t, "GET", "\r\n\r\nabc", NULL);
    t->x.body = NULL;
    t->x.body_bytes = 0;
    expect_request(t, "PURGE", NULL, "Content-Length");
    expect_request(t, "OPTIONS", NULL, "abc");
    expect_request(t, "GET", NULL, "abc");
    assert_int_equal(web_server_connections(t->web), 1);
    return 0;
}

TRANSFER_TEST(test_a_large_request_body_arrives)
{
    char *body = malloc(SPILLED);

    assert_non_null(body);
    memset(body, 'b', SPILLED);
    t->x.body = body;
    t->x.body_bytes = SPILLED;
    assert_int_equal(send_to(t, "127.0.0.1", "POST", "/echo", 10000 * MS), 0);
    assert_int_equal(t->answer.attempt.error.failure, FAILURE_NONE);
    assert_true(t->answer.attempt.sent_bytes > SPILLED);
    assert_true(t->answer.attempt.sent_bytes < SPILLED + 300);
    assert_true(t->answer.body.bytes > SPILLED);
    free(body);
    return 0;
}

TRANSFER_TEST(test_answers_of_many_shapes)
{
    get(t, "/chunked");
    expect_body(t, "hello world");
    assert_null(pack_header_find(&t->answer.headers, "x-trailer"));
    get(t, "/early");
    expect_body(t, "hello");
    assert_null(pack_header_find(&t->answer.headers, "link"));
    get(t, "/fold");
    assert_string_equal(pack_header_find(&t->answer.headers, "x-long"), "a b c");
    get(t, "/empty");
    assert_int_equal(t->answer.attempt.status, 204);
    expect_body(t, "");
    get(t, "/old");
    expect_body(t, "until the end");
    assert_int_equal(t->answer.attempt.http_version, 10);
    get(t, "/length/same");
    expect_body(t, "hello");
    get(t, "/nothing-here");
    assert_int_equal(t->answer.attempt.status, 404);
    assert_int_equal(t->answer.attempt.error.failure, FAILURE_NONE);
    return 0;
}

TRANSFER_TEST(test_redirects_and_retry_after_are_told)
{
    char url[256];

    get(t, "/redirect/from/here");
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/redirect/there?x=1", web_server_port(t->web));
    assert_int_equal(t->answer.attempt.status, 302);
    assert_non_null(t->answer.redirect_url);
    assert_int_equal(strncmp(t->answer.redirect_url, url, strlen(url)), 0);
    assert_int_equal(web_server_requests(t->web), 1);
    get(t, "/retry");
    assert_int_equal(t->answer.attempt.status, 503);
    assert_int_equal(t->answer.retry_after_us, 7 * CLOCK_US_PER_S);
    return 0;
}

TRANSFER_TEST(test_the_body_is_capped)
{
    t->x.max_body_bytes = 1000;
    get(t, "/large/1000");
    assert_int_equal(t->answer.attempt.error.failure, FAILURE_NONE);
    assert_int_equal(t->answer.body.bytes, 1000);
    assert_false(t->answer.body.truncated);
    get(t, "/large/1001");
    expect_failure(t, FAILURE_BODY_TOO_LARGE, PHASE_RESPONSE, true);
    assert_int_equal(t->answer.body.bytes, 1000);
    assert_true(t->answer.body.truncated);
    assert_int_equal(t->answer.attempt.status, 200);
    get(t, "/large/100000/chunked");
    expect_failure(t, FAILURE_BODY_TOO_LARGE, PHASE_RESPONSE, true);
    assert_int_equal(t->answer.body.bytes, 1000);
    t->x.max_body_bytes = 0;
    get(t, "/empty");
    expect_body(t, "");
    get(t, "/ok");
    expect_failure(t, FAILURE_BODY_TOO_LARGE, PHASE_RESPONSE, true);
    assert_int_equal(t->answer.body.bytes, 0);
    return 0;
}

static void expect_file(struct test *t, int64_t bytes)
{
    char piece[26];
    off_t size = 0;
    int fd;

    assert_int_equal(t->answer.body.bytes, bytes);
    assert_string_equal(t->answer.body.file, FILE_NAME);
    assert_null(t->answer.body.data);
    assert_true(has_file(t, FILE_NAME, &size));
    assert_int_equal(size, bytes);
    fd = openat(t->directory_fd, FILE_NAME, O_RDONLY);
    assert_int_equal(pread(fd, piece, sizeof(piece), 100000), sizeof(piece));
    assert_memory_equal(piece, "abcdefghijklmnopqrstuvwxyz", sizeof(piece));
    close(fd);
    unlinkat(t->directory_fd, FILE_NAME, 0);
}

TRANSFER_TEST(test_large_bodies_are_files)
{
    off_t size;

    get(t, "/large/65536");
    assert_int_equal(t->answer.body.bytes, 65536);
    assert_non_null(t->answer.body.data);
    get(t, "/large/65536/chunked");
    assert_int_equal(t->answer.body.bytes, 65536);
    assert_non_null(t->answer.body.data);
    assert_false(has_file(t, FILE_NAME, &size));
    get(t, "/large/200000");
    assert_int_equal(t->answer.attempt.error.failure, FAILURE_NONE);
    expect_file(t, SPILLED);
    get(t, "/large/200000/chunked");
    expect_file(t, SPILLED);
    t->x.max_body_bytes = 150000;
    get(t, "/large/200000");
    expect_failure(t, FAILURE_BODY_TOO_LARGE, PHASE_RESPONSE, true);
    assert_true(t->answer.body.truncated);
    expect_file(t, 150000);
    return 0;
}

static int budget_body(struct test *t)
{
    off_t size;

    get(t, "/large/1000");
    assert_non_null(t->answer.body.data);
    get(t, "/large/5000");
    assert_string_equal(t->answer.body.file, FILE_NAME);
    assert_true(has_file(t, FILE_NAME, &size));
    unlinkat(t->directory_fd, FILE_NAME, 0);
    /* What was handed over is no longer counted. */
    get(t, "/large/1000");
    get(t, "/large/1000");
    assert_non_null(t->answer.body.data);
    return 0;
}

static void test_past_the_budget_bodies_are_files(void **state)
{
    with_memory(state, budget_body, 1500);
}

TRANSFER_TEST(test_a_file_that_can_not_be_written_is_our_fault)
{
    strcpy(t->x.file, "no/such/directory");
    get(t, "/large/200000");
    expect_failure(t, FAILURE_INTERNAL, PHASE_RESPONSE, true);
    assert_int_equal(t->answer.body.bytes, 0);
    return 0;
}

/* The end of what a process may write is the end of the disk, as far as a file can tell. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void expect_full(struct test *t, bool safe)
{
    off_t size;

    limit_files(150000);
    get(t, "/large/200000");
    limit_files(RLIM_INFINITY);
    expect_failure(t, FAILURE_STORAGE_FULL, PHASE_RESPONSE, safe);
    assert_int_equal(t->answer.body.bytes, 0);
    assert_false(has_file(t, FILE_NAME, &size));
}

TRANSFER_TEST(test_a_full_disk_is_told)
{
    expect_full(t, true);
    t->x.idempotent = false;
    expect_full(t, false);
    get(t, "/large/200000");
    expect_file(t, SPILLED);
    return 0;
}

static bool no_more_space(void *arg)
{
    ((struct test *)arg)->n_more_space++;
    return false;
}

static int no_more_space_body(struct test *t)
{
    expect_full(t, true);
    assert_int_equal(t->n_more_space, 1);
    return 0;
}

static bool useless_space(void *arg)
{
    ((struct test *)arg)->n_more_space++;
    return true;
}

static bool some_more_space(void *arg)
{
    limit_files(RLIM_INFINITY);
    return useless_space(arg);
}

static int some_more_space_body(struct test *t)
{
    limit_files(150000);
    get(t, "/large/200000");
    expect_file(t, SPILLED);
    assert_int_equal(t->n_more_space, 1);
    return 0;
}

static void test_space_is_made_once_for_a_write(void **state)
{
    with_space(state, no_more_space_body, no_more_space);
    with_space(state, no_more_space_body, useless_space);
    with_space(state, some_more_space_body, some_more_space);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_is_recorded),
        cmocka_unit_test(test_a_kept_connection_is_used_again),
        cmocka_unit_test(test_requests_look_as_they_should),
        cmocka_unit_test(test_targets_are_sent_as_they_are),
        cmocka_unit_test(test_methods_do_not_stick_to_a_handle),
        cmocka_unit_test(test_a_large_request_body_arrives),
        cmocka_unit_test(test_answers_of_many_shapes),
        cmocka_unit_test(test_redirects_and_retry_after_are_told),
        cmocka_unit_test(test_the_body_is_capped),
        cmocka_unit_test(test_large_bodies_are_files),
        cmocka_unit_test(test_past_the_budget_bodies_are_files),
        cmocka_unit_test(test_a_file_that_can_not_be_written_is_our_fault),
        cmocka_unit_test(test_a_full_disk_is_told),
        cmocka_unit_test(test_space_is_made_once_for_a_write),
    };
    /* They watch what they keep. */
    const struct CMUnitTest of_pumps[] = {
        cmocka_unit_test(test_few_connections_are_kept),
        cmocka_unit_test(test_a_stray_answer_is_for_nobody),
    };

    worker_of_tests(argc, argv);
    return run_under_all(tests, ARRAY_LEN(tests)) +
           run_under(EXECUTOR_COROUTINE, of_pumps, ARRAY_LEN(of_pumps));
}
