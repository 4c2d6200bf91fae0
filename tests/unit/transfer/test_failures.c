#include "transfer_fixture.h"

#define NUDGED 100

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
    get(t, "/ok"); /* the first exchange of a process is slow under Valgrind */
    assert_int_equal(send_to(t, "127.0.0.1", "GET", "/silent", 500 * MS), 0);
    expect_failure(t, FAILURE_TIMEOUT, PHASE_REQUEST, true);
    assert_non_null(strstr(t->answer.attempt.error.message, "within 0.5 s"));
    assert_true(t->answer.attempt.total_us >= 300000);
    assert_true(t->answer.attempt.first_byte_us >= 300000);
    t->x.idempotent = false;
    assert_int_equal(send_to(t, "127.0.0.1", "POST", "/silent", 500 * MS), 0);
    expect_failure(t, FAILURE_OUTCOME_UNKNOWN, PHASE_REQUEST, false);
    assert_non_null(strstr(t->answer.attempt.error.message, "timeout"));
    assert_int_equal(send_to(t, "127.0.0.1", "POST", "/early-only", 500 * MS), 0);
    expect_failure(t, FAILURE_OUTCOME_UNKNOWN, PHASE_REQUEST, false);
    assert_int_equal(t->answer.attempt.status, 0);
    assert_int_equal(send_to(t, "127.0.0.1", "POST", "/stuck", 500 * MS), 0);
    expect_failure(t, FAILURE_TIMEOUT, PHASE_RESPONSE, false);
    assert_true(t->answer.attempt.receive_us >= 300000);
    assert_int_equal(t->answer.attempt.status, 200);
    assert_int_equal(t->answer.body.bytes, 40);
    assert_true(t->answer.body.truncated);
    assert_int_equal(send_to(t, "127.0.0.1", "POST", "/ok", -1), 0);
    expect_failure(t, FAILURE_TIMEOUT, PHASE_NONE, true);
    return 0;
}

struct nudged {
    struct test *test;
    int64_t timeout_ns;
    int64_t offset_ns; /* from the end of the exchange to the moment at which a byte comes */
};

/* The scope only bounds what would not end. */
static int run_nudged(void *arg)
{
    const struct nudged *n = arg;
    struct exchange x = n->test->x;
    struct answer answer;
    struct co_scope scope;
    char url[256];
    int rc;

    x.deadline_ns = clock_mono_ns() + n->timeout_ns;
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/byte-at/%lld", web_server_port(n->test->web),
            (long long)(x.deadline_ns + n->offset_ns));
    x.url = url;
    x.method = "GET";
    co_scope_open(&scope, x.deadline_ns + 1000 * MS, 0);
    rc = co_scope_close(&scope, transfer_run(n->test->transfer, &x, &answer));
    if (rc != 0 || answer.attempt.error.failure != FAILURE_TIMEOUT)
        fail_msg("%d: failure %d with a byte at %lld us", rc, answer.attempt.error.failure,
                (long long)n->offset_ns / 1000);
    check_phases(&answer.attempt);
    answer_done(&answer);
    return 0;
}

/* libcurl forgets a timeout when it looks at the exchange within the millisecond before. */
TRANSFER_TEST(test_a_byte_at_the_last_moment_does_not_hold_the_timeout_up)
{
    struct nudged nudged[NUDGED];

    get(t, "/ok");
    for (unsigned i = 0; i < NUDGED;) {
        struct co_group group;

        co_group_open(&group);
        do {
            nudged[i] = (struct nudged){ t, (20 + i % 7) * MS, (i * 20 - 1000LL) * MS / 1000 };
            assert_int_equal(co_group_spawn(&group, "nudged", run_nudged, &nudged[i], NULL), 0);
        } while (++i % BLOCKING != 0);
        assert_int_equal(co_group_close(&group, 0), 0);
    }
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
        "/length/text", "/length/fold", "/length/coding", "/switch", "/garbage" };

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        get(t, paths[i]);
        expect_failure(t, FAILURE_BAD_RESPONSE, PHASE_RESPONSE, true);
    }
    assert_int_equal(web_server_requests(t->web), ARRAY_LEN(paths));
    get(t, "/long-header");
    assert_non_null(strstr(t->answer.attempt.error.message, "a line of its header is too long"));
    get(t, "/length/fold");
    assert_non_null(strstr(t->answer.attempt.error.message, "folded"));
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
    assert_string_equal(
            t->answer.attempt.error.message, "10.0.0.1 may not be called (private network)");
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
    t->x.deadline_ns = clock_mono_ns() + 1000 * MS;
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_answer_is_an_unknown_outcome_unless_it_may_be_repeated),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_a_byte_at_the_last_moment_does_not_hold_the_timeout_up),
        cmocka_unit_test(test_answers_that_break_off),
        cmocka_unit_test(test_broken_answers),
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

    worker_of_tests(argc, argv);
    return run_under_all(tests, ARRAY_LEN(tests));
}
