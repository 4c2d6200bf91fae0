#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/loop.h"
#include "daemon/co/co.h"
#include "daemon/transfer/egress.h"
#include "daemon/transfer/transfer.h"
#include "dns_server.h"
#include "web_server.h"

#define MS         1000000LL
#define FILE_NAME  "the-body"
#define SPILLED    200000
#define MEMORY     (1024 * 1024)

static const struct dns_record script[] = {
    { "good.test", "127.0.0.1", 60, 0, 0 },
    { "second.test", "127.0.0.99 127.0.0.1", 60, 0, 0 },
    { "mixed.test", "127.0.0.1 10.0.0.1", 60, 0, 0 },
    { "private.test", "10.0.0.1", 60, 0, 0 },
    { "silent.test", "", 60, 0, 1 },
    { NULL, NULL, 0, 0, 0 },
};

struct test {
    struct loop *loop;
    struct web_server *web;
    struct dns_server *dns;
    struct egress *egress;
    struct transfer *transfer;
    char directory[32];
    int directory_fd;
    int64_t memory;
    int (*body)(struct test *t);
    struct exchange x;   /* what get() and send_request() send, but for what they are given */
    struct answer answer;
    char url[256];
};

static int transfer_body(void *arg)
{
    struct test *t = arg;
    struct transfer_options options = {
        .threads = 2,
        .connect_timeout_us = 2 * CLOCK_US_PER_S,
        .body_memory_bytes = t->memory,
        .body_directory_fd = t->directory_fd,
        .name_servers = dns_server_address(t->dns),
    };
    struct error why = { "" };
    int rc;

    assert_int_equal(transfer_new(t->loop, &options, t->egress, &t->transfer, &why), 0);
    rc = t->body(t);
    answer_done(&t->answer);
    transfer_free(t->transfer);
    return rc;
}

static void with_memory(int (*body)(struct test *t), int64_t memory)
{
    static const char *const allow[] = { "127.0.0.0/8", "::1", NULL };
    static const char *const deny[] = { "127.0.0.13", NULL };
    struct egress_options rules = { .allow = allow, .deny = deny };
    struct co_options tasks = { .max_tasks = 1000, .max_threads = 2 };
    struct test t = { .body = body, .memory = memory, .directory = "/tmp/test-transfer-XXXXXX" };
    struct error why;

    assert_non_null(mkdtemp(t.directory));
    t.directory_fd = open(t.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(egress_new(&rules, &t.egress, &why), 0);
    t.web = web_server_start();
    t.dns = dns_server_start(script);
    t.x.max_body_bytes = MEMORY;
    t.x.idempotent = true;
    strcpy(t.x.file, FILE_NAME);
    assert_int_equal(loop_new(&t.loop), 0);
    assert_int_equal(co_run(t.loop, &tasks, transfer_body, &t), 0);
    loop_free(t.loop);
    web_server_stop(t.web);
    dns_server_stop(t.dns);
    egress_unref(t.egress);
    unlinkat(t.directory_fd, FILE_NAME, 0);
    close(t.directory_fd);
    assert_int_equal(rmdir(t.directory), 0);
}

static void with_transfer(int (*body)(struct test *t))
{
    with_memory(body, MEMORY);
}

#define TRANSFER_TEST(name)               \
    static int name##_body(struct test *t); \
    static void name(void **state)        \
    {                                     \
        (void)state;                      \
        with_transfer(name##_body);       \
    }                                     \
    static int name##_body(struct test *t)

/* One exchange with the scripted server under the name `host`; the answer is in t->answer. */
static int send_to(struct test *t, const char *host, const char *method, const char *path,
        int64_t timeout_ns)
{
    snprintf(t->url, sizeof(t->url), "http://%s:%u%s", host, web_server_port(t->web), path);
    t->x.url = t->url;
    t->x.method = method;
    t->x.deadline_ns = clock_mono_ns() + timeout_ns;
    answer_done(&t->answer);
    return transfer_run(t->transfer, &t->x, &t->answer);
}

static void get(struct test *t, const char *path)
{
    assert_int_equal(send_to(t, "127.0.0.1", "GET", path, 10000 * MS), 0);
}

/* The phases share the total, and those behind the one that failed did not happen. */
static void check_phases(const struct attempt *a)
{
    const int64_t phases[] = { a->dns_us, a->connect_us, a->tls_us, a->send_us, a->first_byte_us,
        a->receive_us };
    int64_t sum = 0;

    for (size_t i = 0; i < ARRAY_LEN(phases); i++) {
        assert_true(phases[i] >= PHASE_NOT_TAKEN);
        if (phases[i] != PHASE_NOT_TAKEN)
            sum += phases[i];
    }
    assert_int_equal(sum, a->total_us);
    if (a->reached < PHASE_RESPONSE)
        assert_int_equal(a->receive_us, PHASE_NOT_TAKEN);
    if (a->reached < PHASE_REQUEST)
        assert_int_equal(a->send_us, PHASE_NOT_TAKEN);
}

static void expect_failure(struct test *t, enum failure failure, enum phase reached, bool safe)
{
    const struct attempt *a = &t->answer.attempt;

    if (a->error.failure != failure || a->reached != reached)
        fail_msg("%s: failure %d in phase %d: %s", t->url, a->error.failure, a->reached,
                a->error.message ? a->error.message : "-");
    assert_int_equal(a->error.phase, reached);
    assert_int_equal(a->error.retry_safe, safe);
    assert_non_null(a->error.message);
    check_phases(a);
}

static void expect_body(struct test *t, const char *text)
{
    assert_int_equal(t->answer.attempt.error.failure, FAILURE_NONE);
    assert_int_equal(t->answer.body.bytes, strlen(text));
    assert_memory_equal(t->answer.body.data, text, strlen(text));
    assert_false(t->answer.body.truncated);
    assert_string_equal(t->answer.body.file, "");
}

static bool has_file(struct test *t, const char *name, off_t *ret_size)
{
    struct stat s;

    if (fstatat(t->directory_fd, name, &s, 0) < 0)
        return false;
    *ret_size = s.st_size;
    return true;
}

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

TRANSFER_TEST(test_refused)
{
    /* A port that nobody listens on: bound, so that nobody else gets it, but not listening. */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(a);
    char text[64];

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    getsockname(fd, (struct sockaddr *)&a, &size);
    snprintf(t->url, sizeof(t->url), "http://127.0.0.1:%u/", ntohs(a.sin_port));
    t->x.url = t->url;
    t->x.method = "POST";
    t->x.idempotent = false;
    t->x.deadline_ns = clock_mono_ns() + 10000 * MS;
    assert_int_equal(transfer_run(t->transfer, &t->x, &t->answer), 0);
    expect_failure(t, FAILURE_CONNECTION_REFUSED, PHASE_CONNECT, true);
    snprintf(text, sizeof(text), "connection to 127.0.0.1:%u refused", ntohs(a.sin_port));
    assert_string_equal(t->answer.attempt.error.message, text);
    close(fd);
    return 0;
}

static void expect_lost(struct test *t, const char *path)
{
    t->x.idempotent = true;
    get(t, path);
    expect_failure(t, FAILURE_CONNECTION_RESET, PHASE_REQUEST, true);
    t->x.idempotent = false;
    assert_int_equal(send_to(t, "127.0.0.1", "POST", path, 10000 * MS), 0);
    expect_failure(t, FAILURE_OUTCOME_UNKNOWN, PHASE_REQUEST, false);
    assert_non_null(strstr(t->answer.attempt.error.message, "closed the connection"));
    assert_int_equal(t->answer.attempt.status, 0);
}

TRANSFER_TEST(test_no_answer_is_an_unknown_outcome_unless_it_may_be_repeated)
{
    expect_lost(t, "/reset");
    expect_lost(t, "/close");
    assert_int_equal(web_server_requests(t->web), 4);
    return 0;
}

TRANSFER_TEST(test_timeouts)
{
    assert_int_equal(send_to(t, "127.0.0.1", "GET", "/silent", 100 * MS), 0);
    expect_failure(t, FAILURE_TIMEOUT, PHASE_REQUEST, true);
    assert_non_null(strstr(t->answer.attempt.error.message, "within 0.1 s"));
    assert_true(t->answer.attempt.total_us >= 99000);
    assert_true(t->answer.attempt.first_byte_us >= 90000);
    t->x.idempotent = false;
    assert_int_equal(send_to(t, "127.0.0.1", "POST", "/silent", 100 * MS), 0);
    expect_failure(t, FAILURE_OUTCOME_UNKNOWN, PHASE_REQUEST, false);
    assert_non_null(strstr(t->answer.attempt.error.message, "timeout"));
    assert_int_equal(send_to(t, "127.0.0.1", "POST", "/early-only", 100 * MS), 0);
    expect_failure(t, FAILURE_OUTCOME_UNKNOWN, PHASE_REQUEST, false);
    assert_int_equal(t->answer.attempt.status, 0);
    assert_int_equal(send_to(t, "127.0.0.1", "POST", "/stuck", 100 * MS), 0);
    expect_failure(t, FAILURE_TIMEOUT, PHASE_RESPONSE, false);
    assert_true(t->answer.attempt.receive_us >= 90000);
    assert_int_equal(t->answer.attempt.status, 200);
    assert_int_equal(t->answer.body.bytes, 40);
    assert_true(t->answer.body.truncated);
    assert_int_equal(send_to(t, "127.0.0.1", "POST", "/ok", -1), 0);
    expect_failure(t, FAILURE_TIMEOUT, PHASE_NONE, true);
    return 0;
}

TRANSFER_TEST(test_answers_that_break_off)
{
    get(t, "/partial");
    expect_failure(t, FAILURE_CONNECTION_RESET, PHASE_RESPONSE, true);
    assert_int_equal(t->answer.attempt.status, 200);
    assert_int_equal(t->answer.body.bytes, 40);
    assert_true(t->answer.body.truncated);
    get(t, "/reset-in-body");
    expect_failure(t, FAILURE_CONNECTION_RESET, PHASE_RESPONSE, true);
    assert_int_equal(t->answer.body.bytes, 3);
    return 0;
}

TRANSFER_TEST(test_broken_answers)
{
    static const char *const paths[] = { "/bad-chunk", "/endless-header", "/long-header",
        "/length/two", "/length/minus", "/length/huge", "/length/vast", "/length/list",
        "/length/text", "/switch", "/garbage" };

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        get(t, paths[i]);
        expect_failure(t, FAILURE_BAD_RESPONSE, PHASE_RESPONSE, true);
    }
    assert_int_equal(web_server_requests(t->web), ARRAY_LEN(paths));
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
    (void)state;
    with_memory(budget_body, 1500);
}

TRANSFER_TEST(test_a_file_that_can_not_be_written_is_our_fault)
{
    strcpy(t->x.file, "no/such/directory");
    get(t, "/large/200000");
    expect_failure(t, FAILURE_INTERNAL, PHASE_RESPONSE, true);
    assert_int_equal(t->answer.body.bytes, 0);
    return 0;
}

struct cancelling {
    struct test *test;
    const char *path;
    int rc;
};

static int run_cancelled(void *arg)
{
    struct cancelling *c = arg;

    c->rc = send_to(c->test, "127.0.0.1", "POST", c->path, 60000 * MS);
    return 0;
}

static int await_request(void *arg)
{
    web_server_await(arg, 1);
    return 0;
}

/* Cancels the exchange once the server has its request. */
static void cancel_at_server(struct test *t, const char *path)
{
    struct cancelling c = { .test = t, .path = path };
    struct co_task task;

    t->x.idempotent = false;
    assert_int_equal(co_spawn("exchange", run_cancelled, &c, &task), 0);
    assert_int_equal(co_to_thread(await_request, t->web, NULL), 0);
    if (strcmp(path, "/silent") != 0)
        assert_int_equal(co_sleep(100 * MS), 0);
    assert_int_equal(co_cancel(task), 0);
    (void)co_await(task, NULL);
    assert_int_equal(c.rc, -ECANCELED);
}

TRANSFER_TEST(test_cancelled_before_the_answer)
{
    cancel_at_server(t, "/silent");
    expect_failure(t, FAILURE_CANCELLED, PHASE_REQUEST, false);
    return 0;
}

TRANSFER_TEST(test_cancelled_in_the_body)
{
    off_t size;

    cancel_at_server(t, "/stuck");
    expect_failure(t, FAILURE_CANCELLED, PHASE_RESPONSE, false);
    assert_int_equal(t->answer.body.bytes, 0);
    assert_false(has_file(t, FILE_NAME, &size));
    return 0;
}

TRANSFER_TEST(test_cancelled_before_it_began)
{
    struct co_scope scope;

    co_scope_open(&scope, CO_NEVER, 0);
    co_scope_cancel(&scope);
    assert_int_equal(send_to(t, "127.0.0.1", "GET", "/ok", 10000 * MS), -ECANCELED);
    (void)co_scope_close(&scope, -ECANCELED);
    expect_failure(t, FAILURE_CANCELLED, PHASE_NONE, true);
    assert_int_equal(web_server_requests(t->web), 0);
    return 0;
}

static int exchange_in_group(void *arg)
{
    struct test *t = arg;
    struct answer answer;
    struct exchange x = t->x;
    char url[256];
    int rc;

    snprintf(url, sizeof(url), "http://127.0.0.1:%u/ok", web_server_port(t->web));
    x.url = url;
    x.method = "GET";
    x.deadline_ns = clock_mono_ns() + 10000 * MS;
    rc = transfer_run(t->transfer, &x, &answer);
    assert_true(rc == 0 || rc == -ECANCELED);
    answer_done(&answer);
    return 0;
}

TRANSFER_TEST(test_cancelled_at_any_moment)
{
    for (int round = 0; round < 50; round++) {
        struct co_group group;

        co_group_open(&group);
        for (int i = 0; i < 20; i++)
            assert_int_equal(co_group_spawn(&group, "exchange", exchange_in_group, t, NULL), 0);
        assert_int_equal(co_sleep(round * 20000), 0);
        co_group_cancel(&group);
        (void)co_group_close(&group, 0);
        if (web_server_connections(t->web) > 200)
            break;
    }
    return 0;
}

TRANSFER_TEST(test_a_request_is_never_sent_twice_in_one_attempt)
{
    get(t, "/stale");
    assert_int_equal(t->answer.attempt.status, 200);
    get(t, "/stale");
    expect_failure(t, FAILURE_CONNECTION_RESET, PHASE_REQUEST, true);
    assert_true(t->answer.attempt.reused);
    assert_int_equal(t->answer.attempt.connect_us, PHASE_NOT_TAKEN);
    assert_int_equal(web_server_requests(t->web), 2);
    get(t, "/stale");
    assert_int_equal(t->answer.attempt.status, 200);
    t->x.idempotent = false;
    assert_int_equal(send_to(t, "127.0.0.1", "POST", "/stale", 10000 * MS), 0);
    expect_failure(t, FAILURE_OUTCOME_UNKNOWN, PHASE_REQUEST, false);
    assert_int_equal(web_server_requests(t->web), 4);
    return 0;
}

TRANSFER_TEST(test_only_the_repeatable_use_an_old_connection)
{
    get(t, "/ok");
    assert_int_equal(co_sleep(2100 * MS), 0);
    get(t, "/ok");
    assert_true(t->answer.attempt.reused);
    assert_int_equal(co_sleep(2100 * MS), 0);
    t->x.idempotent = false;
    assert_int_equal(send_to(t, "127.0.0.1", "POST", "/ok", 10000 * MS), 0);
    assert_false(t->answer.attempt.reused);
    assert_int_equal(send_to(t, "127.0.0.1", "POST", "/ok", 10000 * MS), 0);
    assert_true(t->answer.attempt.reused);
    return 0;
}

TRANSFER_TEST(test_blocked_literals)
{
    assert_int_equal(send_to(t, "127.0.0.13", "GET", "/ok", 10000 * MS), 0);
    expect_failure(t, FAILURE_BLOCKED_ADDRESS, PHASE_NONE, true);
    assert_int_equal(send_to(t, "10.0.0.1", "GET", "/ok", 10000 * MS), 0);
    expect_failure(t, FAILURE_BLOCKED_ADDRESS, PHASE_NONE, true);
    assert_string_equal(t->answer.attempt.error.message,
            "10.0.0.1 may not be called (private network)");
    return 0;
}

TRANSFER_TEST(test_names_are_resolved_and_vetted)
{
    assert_int_equal(send_to(t, "good.test", "GET", "/ok", 10000 * MS), 0);
    expect_body(t, "hello");
    assert_true(t->answer.attempt.dns_us >= 0);
    check_phases(&t->answer.attempt);
    assert_int_equal(send_to(t, "good.test", "GET", "/ok", 10000 * MS), 0);
    assert_true(t->answer.attempt.reused);
    assert_int_equal(dns_server_questions(t->dns, "good.test"), 2);
    assert_int_equal(send_to(t, "private.test", "GET", "/ok", 10000 * MS), 0);
    expect_failure(t, FAILURE_BLOCKED_ADDRESS, PHASE_DNS, true);
    assert_non_null(strstr(t->answer.attempt.error.message, "10.0.0.1"));
    assert_int_equal(send_to(t, "mixed.test", "GET", "/ok", 10000 * MS), 0);
    expect_failure(t, FAILURE_BLOCKED_ADDRESS, PHASE_DNS, true);
    assert_int_equal(send_to(t, "nx.test", "GET", "/ok", 10000 * MS), 0);
    expect_failure(t, FAILURE_DNS_NOT_FOUND, PHASE_DNS, true);
    assert_string_equal(t->answer.attempt.error.message, "nx.test: the name does not exist");
    assert_int_equal(send_to(t, "silent.test", "GET", "/ok", 50 * MS), 0);
    expect_failure(t, FAILURE_TIMEOUT, PHASE_DNS, true);
    assert_int_equal(web_server_requests(t->web), 2);
    return 0;
}

TRANSFER_TEST(test_the_next_address_is_tried)
{
    assert_int_equal(send_to(t, "second.test", "GET", "/ok", 10000 * MS), 0);
    expect_body(t, "hello");
    assert_int_equal(strncmp(t->answer.attempt.remote, "127.0.0.1:", 10), 0);
    return 0;
}

TRANSFER_TEST(test_localhost_is_not_asked_of_anybody)
{
    assert_int_equal(send_to(t, "localhost", "GET", "/ok", 10000 * MS), 0);
    expect_body(t, "hello");
    assert_int_equal(t->answer.attempt.dns_us, PHASE_NOT_TAKEN);
    assert_int_equal(send_to(t, "my.app.localhost", "GET", "/ok", 10000 * MS), 0);
    expect_body(t, "hello");
    assert_int_equal(dns_server_questions(t->dns, "localhost"), 0);
    assert_int_equal(dns_server_questions(t->dns, "my.app.localhost"), 0);
    return 0;
}

static struct egress *other_rules(const char *const *allow, const char *const *deny)
{
    struct egress_options rules = { .allow = allow, .deny = deny };
    struct egress *e;
    struct error why;

    assert_int_equal(egress_new(&rules, &e, &why), 0);
    return e;
}

TRANSFER_TEST(test_localhost_is_what_is_allowed_of_it)
{
    static const char *const v4[] = { "127.0.0.1", NULL }, *const v6[] = { "::1", NULL };
    struct egress *e = other_rules(v4, NULL);

    transfer_set_egress(t->transfer, e);
    egress_unref(e);
    assert_int_equal(send_to(t, "localhost", "GET", "/ok", 10000 * MS), 0);
    expect_body(t, "hello");
    e = other_rules(NULL, NULL);
    transfer_set_egress(t->transfer, e);
    egress_unref(e);
    assert_int_equal(send_to(t, "localhost", "GET", "/ok", 10000 * MS), 0);
    expect_failure(t, FAILURE_BLOCKED_ADDRESS, PHASE_NONE, true);
    /* The kept connection leads to 127.0.0.1, which is denied by now: the socket's peer counts. */
    e = other_rules(v6, NULL);
    transfer_set_egress(t->transfer, e);
    egress_unref(e);
    assert_int_equal(send_to(t, "localhost", "GET", "/ok", 10000 * MS), 0);
    expect_failure(t, FAILURE_BLOCKED_ADDRESS, PHASE_CONNECT, true);
    assert_non_null(strstr(t->answer.attempt.error.message, "127.0.0.1 may not be called"));
    assert_int_equal(web_server_requests(t->web), 1);
    return 0;
}

TRANSFER_TEST(test_tls_failures)
{
    snprintf(t->url, sizeof(t->url), "https://127.0.0.1:%u/ok", web_server_port(t->web));
    t->x.url = t->url;
    t->x.method = "GET";
    t->x.deadline_ns = clock_mono_ns() + 300 * MS;
    assert_int_equal(transfer_run(t->transfer, &t->x, &t->answer), 0);
    assert_int_equal(t->answer.attempt.reached, PHASE_TLS);
    assert_true(t->answer.attempt.connect_us >= 0 && t->answer.attempt.tls_us > 0);
    check_phases(&t->answer.attempt);
    return 0;
}

TRANSFER_TEST(test_what_is_not_canonical_is_not_sent)
{
    static const char *const urls[] = { "http://a@127.0.0.1/", "ftp://127.0.0.1/", "http://LOCAL/",
        "127.0.0.1", "" };

    t->x.method = "GET";
    t->x.deadline_ns = clock_mono_ns() + 1000 * MS;
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        t->x.url = urls[i];
        answer_done(&t->answer);
        assert_int_equal(transfer_run(t->transfer, &t->x, &t->answer), 0);
        expect_failure(t, FAILURE_INTERNAL, PHASE_NONE, true);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_is_recorded),
        cmocka_unit_test(test_a_kept_connection_is_used_again),
        cmocka_unit_test(test_requests_look_as_they_should),
        cmocka_unit_test(test_methods_do_not_stick_to_a_handle),
        cmocka_unit_test(test_a_large_request_body_arrives),
        cmocka_unit_test(test_answers_of_many_shapes),
        cmocka_unit_test(test_redirects_and_retry_after_are_told),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_answer_is_an_unknown_outcome_unless_it_may_be_repeated),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_answers_that_break_off),
        cmocka_unit_test(test_broken_answers),
        cmocka_unit_test(test_the_body_is_capped),
        cmocka_unit_test(test_large_bodies_are_files),
        cmocka_unit_test(test_past_the_budget_bodies_are_files),
        cmocka_unit_test(test_a_file_that_can_not_be_written_is_our_fault),
        cmocka_unit_test(test_cancelled_before_the_answer),
        cmocka_unit_test(test_cancelled_in_the_body),
        cmocka_unit_test(test_cancelled_before_it_began),
        cmocka_unit_test(test_cancelled_at_any_moment),
        cmocka_unit_test(test_a_request_is_never_sent_twice_in_one_attempt),
        cmocka_unit_test(test_only_the_repeatable_use_an_old_connection),
        cmocka_unit_test(test_blocked_literals),
        cmocka_unit_test(test_names_are_resolved_and_vetted),
        cmocka_unit_test(test_the_next_address_is_tried),
        cmocka_unit_test(test_localhost_is_not_asked_of_anybody),
        cmocka_unit_test(test_localhost_is_what_is_allowed_of_it),
        cmocka_unit_test(test_tls_failures),
        cmocka_unit_test(test_what_is_not_canonical_is_not_sent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
