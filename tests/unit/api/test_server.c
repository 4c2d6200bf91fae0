/* Requests and answers over real sockets, with a service in memory behind them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "tests/unit/api/client.h"

/* Sends the bytes on a connection of their own: the status of the answer, which is the last one. */
static unsigned raw_status(const char *bytes, size_t n)
{
    unsigned status = 0;
    int fd = client_dial();
    char *text;

    client_send_all(fd, bytes, n);
    text = client_read_to_end(fd);
    assert_non_null(text);
    sscanf(text, "HTTP/1.1 %u ", &status);
    free(text);
    close(fd);
    return status;
}

static void requests_share_a_connection(void **state)
{
    int fd = client_dial();

    (void)state;
    for (int i = 0; i < 3; i++) {
        client_send_request(fd, "GET /livez", "", NULL, 0);
        client_expect(fd, 200, "ok");
        client_send_request(fd, "GET /v1/nothing", "", NULL, 0);
        client_expect(fd, 404, "\"status\":404");
        client_send_json(fd, "POST /v1/jobs", "{\"kind\":\"fetch\"}");
        client_expect(fd, 422, "\"pointer\":\"/url\"");
        client_send_request(fd, "POST /v1/jobs", "Content-Type: text/plain\r\n", "12345", 5);
        client_expect(fd, 415, "--json");
    }
    close(fd);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct buf in = { 0 };
    struct answer a;
    int fd = client_dial();

    (void)state;
    client_send_json(
            fd, "POST /v1/jobs?wait=5s", "{\"kind\":\"delivery\",\"name\":\"slow\",\"wait\":0.2}");
    client_send_request(fd, "GET /livez", "", NULL, 0);
    client_send_request(fd, "GET /v1/nothing", "", NULL, 0);
    a = client_read_next(fd, &in, false);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"state\":\"succeeded\""));
    answer_done(&a);
    a = client_read_next(fd, &in, false);
    assert_int_equal(a.status, 200);
    answer_done(&a);
    a = client_read_next(fd, &in, false);
    assert_int_equal(a.status, 404);
    answer_done(&a);
    buf_done(&in);
    close(fd);
}

static void head_has_no_body(void **state)
{
    struct buf in = { 0 };
    struct answer a;
    int fd = client_dial();

    (void)state;
    client_send_request(fd, "HEAD /livez", "", NULL, 0);
    a = client_read_next(fd, &in, true);
    assert_int_equal(a.status, 200);
    assert_int_equal(in.n, 0);
    answer_done(&a);
    client_send_request(fd, "GET /livez", "", NULL, 0);
    a = client_read_next(fd, &in, false);
    assert_string_equal(a.body, "{\"status\":\"ok\"}\n");
    answer_done(&a);
    buf_done(&in);
    close(fd);
}

static void a_job_goes_in_and_comes_back(void **state)
{
    char *id, line[128];
    int fd = client_dial();
    struct answer a;

    (void)state;
    client_send_json(fd, "POST /v1/jobs", "{\"kind\":\"fetch\",\"url\":\"http://a/\"}");
    a = client_read_answer(fd);
    assert_int_equal(a.status, 202);
    assert_non_null(strstr(a.head, "Content-Type: application/json\r\n"));
    id = text_between(a.head, "Location: /v1/jobs/");
    id[36] = 0;
    answer_done(&a);
    snprintf(line, sizeof(line), "GET /v1/jobs/%s?wait=5s&body=inline", id);
    client_send_request(fd, line, "", NULL, 0);
    client_expect(fd, 200, "\"body\":\"hello\"");
    snprintf(line, sizeof(line), "GET /v1/jobs/%s/body", id);
    client_send_request(fd, line, "", NULL, 0);
    a = client_read_answer(fd);
    assert_string_equal(a.body, "hello");
    assert_non_null(strstr(a.head, "Content-Type: text/html\r\n"));
    assert_non_null(strstr(a.head, "Content-Security-Policy: sandbox; default-src 'none'\r\n"));
    assert_non_null(strstr(a.head, "X-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(a.head, "Content-Disposition: attachment\r\n"));
    answer_done(&a);
    snprintf(line, sizeof(line), "POST /v1/jobs/%s/cancel", id);
    client_send_request(fd, line, "", NULL, 0);
    client_expect(fd, 409, "succeeded");
    snprintf(line, sizeof(line), "GET /v1/jobs/%s/body?step=collect", id);
    client_send_request(fd, line, "", NULL, 0);
    client_expect(fd, 404, NULL);
    client_send_request(fd, "GET /v1/jobs/018bcfe5-6800-7000-8000-000000000001", "", NULL, 0);
    client_expect(fd, 404, NULL);
    client_send_request(fd, "GET /v1/jobs/nonsense", "", NULL, 0);
    client_expect(fd, 404, NULL);
    free(id);
    close(fd);
}

static void large_bodies_come_from_files(void **state)
{
    char *id, line[128];
    int fd = client_dial();
    struct answer a;

    (void)state;
    client_send_json(fd, "POST /v1/jobs?wait=5",
            "{\"kind\":\"fetch\",\"url\":\"http://a/\",\"name\":\"in a file\"}");
    a = client_read_answer(fd);
    assert_int_equal(a.status, 200);
    id = text_between(a.body, "\"id\":\"");
    answer_done(&a);
    snprintf(line, sizeof(line), "GET /v1/jobs/%s/body", id);
    client_send_request(fd, line, "", NULL, 0);
    a = client_read_answer(fd);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.head, "Content-Length: 200000\r\n"));
    answer_done(&a);
    free(id);
    close(fd);
}

static void errors_of_the_service_have_their_status(void **state)
{
    struct answer a;
    int fd = client_dial();

    (void)state;
    client_send_json(fd, "POST /v1/jobs", "{\"kind\":\"delivery\",\"name\":\"disk full\"}");
    a = client_read_answer(fd);
    assert_int_equal(a.status, 507);
    assert_non_null(strstr(a.head, "Retry-After: "));
    answer_done(&a);
    client_send_json(fd, "POST /v1/jobs", "{\"kind\":\"delivery\",\"name\":\"queue full\"}");
    client_expect(fd, 503, "queue");
    client_send_request(fd, "PUT /v1/jobs", "", NULL, 0);
    a = client_read_answer(fd);
    assert_int_equal(a.status, 405);
    assert_non_null(strstr(a.head, "Allow: POST, GET, HEAD\r\n"));
    answer_done(&a);
    client_send_request(fd, "GET /v1/jobs?limit=0&x=1&state=odd&limit=2", "", NULL, 0);
    a = client_read_answer(fd);
    assert_int_equal(a.status, 400);
    assert_int_equal(text_count(a.body, "\"parameter\""), 4);
    answer_done(&a);
    close(fd);
}

static void preferences_are_applied(void **state)
{
    struct answer a;
    int fd = client_dial();

    (void)state;
    client_send_request(fd, "POST /v1/jobs", "Content-Type: application/json\r\nPrefer: wait=5\r\n",
            "{\"kind\":\"delivery\",\"wait\":0.05}", 31);
    a = client_read_answer(fd);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.head, "Preference-Applied: wait=5\r\n"));
    answer_done(&a);
    client_send_json(fd, "POST /v1/jobs?wait=100ms", "{\"kind\":\"delivery\",\"wait\":50}");
    client_expect(fd, 202, "\"state\":\"pending\"");
    close(fd);
}

static void bodies_come_in_chunks_and_after_a_continue(void **state)
{
    static const char body[] = "{\"kind\":\"delivery\"}";
    char chunk[16];
    int fd = client_dial();

    (void)state;
    client_send_request(fd, "POST /v1/jobs",
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", NULL, 0);
    for (size_t i = 0; i < sizeof(body) - 1; i++) {
        snprintf(chunk, sizeof(chunk), "1\r\n%c\r\n", body[i]);
        client_send_text(fd, chunk);
    }
    client_send_text(fd, "0\r\n\r\n");
    client_expect(fd, 202, NULL);
    client_send_request(fd, "POST /v1/jobs",
            "Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 19\r\n",
            NULL, 0);
    {
        struct buf in = { 0 };
        struct answer a;

        while (!in.n || !strstr(in.data, "100 Continue\r\n\r\n"))
            assert_true(client_read_more(fd, &in));
        client_send_text(fd, body);
        a = client_read_next(fd, &in, false);
        assert_int_equal(a.status, 202);
        answer_done(&a);
        buf_done(&in);
    }
    close(fd);
}

static void a_half_closed_client_gets_its_answer(void **state)
{
    int fd = client_dial();

    (void)state;
    client_send_json(fd, "POST /v1/jobs", "{\"kind\":\"delivery\"}");
    shutdown(fd, SHUT_WR);
    client_expect(fd, 202, NULL);
    assert_null(client_read_to_end(fd)); /* and is not kept */
    close(fd);
}

static void framing_is_checked_again(void **state)
{
    static const struct {
        const char *bytes; /* without the Host */
        unsigned status;
    } cases[] = {
        { "POST /v1/jobs HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n12345", 400 },
        { "POST /v1/jobs HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n12345", 400 },
        { "POST /v1/jobs HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                400 },
        { "POST /v1/jobs HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400 },
        { "POST /v1/jobs HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
        { "POST /v1/jobs HTTP/1.1\r\nContent-Length : 5\r\n\r\n12345", 400 },
        { "GET /livez HTTP/1.1\r\nX(: 1\r\n\r\n", 400 },
        { "GET /livez HTTP/1.1\r\nX: \x01\r\n\r\n", 400 },
        { "GET /livez HTTP/1.9\r\n\r\n", 400 },
        { "GET http://x/livez HTTP/1.1\r\n\r\n", 400 },
        { "GET /livez HTTP/1.1\r\nHost: evil\r\n\r\n", 400 },
        { "GET /livez HTTP/1.1\r\nOrigin: http://evil\r\n\r\n", 403 },
        { "GET /livez HTTP/1.1\r\nExpect: wonders\r\n\r\n", 417 },
        { "POST /v1/jobs HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100001\r\n"
          "Expect: 100-continue\r\n\r\n",
                413 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *rest = strstr(cases[i].bytes, "\r\n") + 2;
        char bytes[1024];
        int n = snprintf(bytes, sizeof(bytes), "%.*s%s%s", (int)(rest - cases[i].bytes),
                cases[i].bytes, host_line, rest);

        assert_int_equal(raw_status(bytes, (size_t)n), cases[i].status);
    }
    assert_int_equal(raw_status("GET /livez HTTP/1.1\r\nHost: evil\r\n\r\n", 35), 421);
    assert_int_equal(raw_status("GET /livez HTTP/1.1\r\n\r\n", 23), 400);
}

static void bodies_are_bounded(void **state)
{
    char *body = malloc(200001);
    int fd = client_dial();

    (void)state;
    memset(body, ' ', 200000);
    body[200000] = 0;
    client_send_request(fd, "POST /v1/jobs", "Content-Type: application/json\r\n", body, 200000);
    client_expect(fd, 413, NULL);
    client_send_request(fd, "POST /v1/jobs",
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", NULL, 0);
    client_send_text(fd, "30d40\r\n");
    client_send_all(fd, body, 200000);
    client_send_text(fd, "\r\n0\r\n\r\n");
    client_expect(fd, 413, NULL);
    free(body);
    close(fd);
}

static void who_is_refused_while_sending_reads_why(void **state)
{
    static const char *const framing[] = { "Content-Length: 8000000\r\n",
        "Transfer-Encoding: chunked\r\n" };
    const size_t n = 8000000;
    char *body = calloc(1, n), headers[128];
    unsigned before = server_descriptors();

    (void)state;
    for (int chunked = 0; chunked < 2; chunked++) {
        int fd = client_dial();

        snprintf(
                headers, sizeof(headers), "Content-Type: application/json\r\n%s", framing[chunked]);
        client_send_request(fd, "POST /v1/jobs", headers, NULL, 0);
        if (chunked)
            client_send_text(fd, "7a1200\r\n");
        client_send_all(fd, body, n);
        client_expect(fd, 413, "larger");
        close(fd);
        server_expect_descriptors(before);
    }
    free(body);
}

static void slow_heads_are_cut_off(void **state)
{
    int64_t start_us = clock_mono_us();
    int fd = client_dial();
    char *text;

    (void)state;
    client_send_text(fd, "GET /livez HTTP/1.1\r\nHost: 127");
    text = client_read_to_end(fd);
    assert_int_equal(strncmp(text, "HTTP/1.1 408 ", 13), 0);
    assert_true(clock_mono_us() - start_us >= 900000);
    free(text);
    close(fd);
    fd = client_dial(); /* says nothing at all */
    free(client_read_to_end(fd));
    close(fd);
}

static void unix_sockets_take_any_host(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    strcpy(address.sun_path, server.path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    client_send_text(fd, "GET /readyz HTTP/1.1\r\nHost: whoever\r\n\r\n");
    client_expect(fd, 200, "ready");
    client_send_text(fd, "GET /readyz HTTP/1.1\r\nHost: whoever\r\nOrigin: http://evil\r\n\r\n");
    client_expect(fd, 403, NULL);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_share_a_connection),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(head_has_no_body),
        cmocka_unit_test(a_job_goes_in_and_comes_back),
        cmocka_unit_test(large_bodies_come_from_files),
        cmocka_unit_test(errors_of_the_service_have_their_status),
        cmocka_unit_test(preferences_are_applied),
        cmocka_unit_test(bodies_come_in_chunks_and_after_a_continue),
        cmocka_unit_test(a_half_closed_client_gets_its_answer),
        cmocka_unit_test(framing_is_checked_again),
        cmocka_unit_test(bodies_are_bounded),
        cmocka_unit_test(who_is_refused_while_sending_reads_why),
        cmocka_unit_test(slow_heads_are_cut_off),
        cmocka_unit_test(unix_sockets_take_any_host),
    };

    return cmocka_run_group_tests(tests, client_setup, client_teardown);
}
