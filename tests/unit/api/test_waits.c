/* Clients that wait, that vanish, and that are too many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "tests/unit/api/client.h"

static void batches_are_awaited_listed_and_cancelled(void **state)
{
    char *id, line[128];
    int fd = client_dial();
    struct answer a;

    (void)state;
    client_send_json(fd, "POST /v1/batches?wait=5s",
            "{\"run\":\"gather\",\"jobs\":[{\"kind\":\"delivery\",\"wait\":0.1},{\"kind\":"
            "\"delivery\",\"wait\":0.05}]}");
    a = client_read_answer(fd);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"state\":\"succeeded\""));
    assert_non_null(strstr(a.body, "\"job_ids\":[\""));
    id = text_between(a.body, "\"id\":\"");
    answer_done(&a);
    snprintf(line, sizeof(line), "POST /v1/batches/%s/cancel", id);
    client_send_request(fd, line, "", NULL, 0);
    client_expect(fd, 409, NULL);
    free(id);
    client_send_json(fd, "POST /v1/batches", "{\"jobs\":[{\"kind\":\"delivery\",\"wait\":100}]}");
    a = client_read_answer(fd);
    assert_int_equal(a.status, 202);
    id = text_between(a.body, "\"id\":\"");
    answer_done(&a);
    snprintf(line, sizeof(line), "POST /v1/batches/%s/cancel", id);
    client_send_request(fd, line, "", NULL, 0);
    client_expect(fd, 200, "\"state\":\"cancelled\"");
    snprintf(line, sizeof(line), "GET /v1/batches/%s", id);
    client_send_request(fd, line, "", NULL, 0);
    client_expect(fd, 200, "\"cancelled\":1");
    client_send_request(fd, "GET /v1/batches?limit=1", "", NULL, 0);
    client_expect(fd, 200, "\"next_cursor\":\"c");
    client_send_json(fd, "POST /v1/batches", "{\"jobs\":[]}");
    client_expect(fd, 422, "\"pointer\":\"/jobs\"");
    free(id);
    close(fd);
}

static void results_arrive_as_jobs_finish(void **state)
{
    struct buf in = { 0 };
    char *id, line[128];
    int fd = client_dial();
    struct answer a;

    (void)state;
    client_send_json(fd, "POST /v1/batches",
            "{\"jobs\":[{\"kind\":\"delivery\",\"name\":\"slow\",\"wait\":0.4},{\"kind\":"
            "\"delivery\",\"name\":\"fast\",\"wait\":0.1}]}");
    a = client_read_answer(fd);
    id = text_between(a.body, "\"id\":\"");
    answer_done(&a);
    snprintf(line, sizeof(line), "GET /v1/batches/%s/results", id);
    client_send_request(fd, line, "", NULL, 0);
    while (!in.n || !strstr(in.data, "\"name\":\"fast\""))
        assert_true(client_read_more(fd, &in));
    assert_null(strstr(in.data, "\"name\":\"slow\"")); /* the fast one did not wait for it */
    while (!strstr(in.data, "\r\n0\r\n\r\n"))
        assert_true(client_read_more(fd, &in));
    assert_non_null(strstr(in.data, "\"name\":\"slow\""));
    buf_done(&in);
    snprintf(line, sizeof(line), "GET /v1/batches/%s/results?after=1", id);
    in = (struct buf){ 0 };
    client_send_request(fd, line, "", NULL, 0);
    while (!in.n || !strstr(in.data, "\r\n0\r\n\r\n"))
        assert_true(client_read_more(fd, &in));
    assert_null(strstr(in.data, "\"name\":\"fast\""));
    assert_non_null(strstr(in.data, "\"name\":\"slow\""));
    buf_done(&in);
    client_send_request(
            fd, "GET /v1/batches/018bcfe5-6800-7000-8000-000000000001/results", "", NULL, 0);
    client_expect(fd, 404, NULL);
    free(id);
    close(fd);
}

static void clients_that_vanish_are_let_go(void **state)
{
    static const char job[] = "{\"kind\":\"delivery\",\"wait\":100}";
    unsigned before = server_idle_descriptors;
    char *id, line[128];
    struct answer a;
    int fd;

    (void)state;
    server_expect_descriptors(before);
    for (int reset = 0; reset < 2; reset++) {
        fd = client_dial();
        client_send_json(fd, "POST /v1/jobs?wait=60s", job);
        server_expect_descriptors(before + 1);
        nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
        if (reset)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
        close(fd);
        server_expect_descriptors(before);
    }
    fd = client_dial();
    client_send_json(fd, "POST /v1/batches", "{\"jobs\":[{\"kind\":\"delivery\",\"wait\":100}]}");
    a = client_read_answer(fd);
    id = text_between(a.body, "\"id\":\"");
    answer_done(&a);
    snprintf(line, sizeof(line), "GET /v1/batches/%s/results", id);
    client_send_request(fd, line, "", NULL, 0);
    {
        struct buf in = { 0 };

        while (!in.n || !strstr(in.data, "\r\n\r\n"))
            assert_true(client_read_more(fd, &in));
        buf_done(&in);
    }
    close(fd);
    server_expect_descriptors(before);
    free(id);
}

static void a_thousand_clients_wait_at_no_cost(void **state)
{
    enum { N = 1000 };
    static const char job[] = "{\"kind\":\"delivery\",\"wait\":4}";
    static int fds[N];
    int64_t cpu_us;

    (void)state;
    for (int i = 0; i < N; i++) {
        fds[i] = client_dial();
        client_send_json(fds[i], "POST /v1/jobs?wait=60s", job);
    }
    while (client_listed("&state=pending", "\"wait_ms\":4000") < N)
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    cpu_us = server_cpu_us();
    nanosleep(&(struct timespec){ .tv_nsec = 500000000 }, NULL);
    assert_true(server_cpu_us() - cpu_us <= 100000);
    for (int i = 0; i < N; i++) {
        client_expect(fds[i], 200, "\"state\":\"succeeded\"");
        close(fds[i]);
    }
}

static void too_many_connections_are_told_so(void **state)
{
    enum { LIMIT = 10, N = 30 };
    unsigned served = 0, refused = 0;
    int fds[N];

    (void)state;
    client_start_server(&(struct server_fixture_options){ .max_connections = LIMIT });
    for (int i = 0; i < N; i++) {
        fds[i] = client_dial();
        client_send_request(fds[i], "GET /livez", "", NULL, 0);
    }
    for (int i = 0; i < N; i++) {
        struct answer a = client_read_answer(fds[i]);

        served += a.status == 200;
        refused += a.status == 503;
        answer_done(&a);
    }
    assert_int_equal(served, LIMIT);
    assert_int_equal(refused, N - LIMIT);
    for (int i = 0; i < N; i++)
        close(fds[i]);
    assert_int_equal(server_fixture_stop(&server), 0);
}

static void no_descriptors_left_is_told_too(void **state)
{
    enum { N = 100 };
    unsigned served = 0, refused = 0;
    int fds[N];

    (void)state;
    client_start_server(&(struct server_fixture_options){ .descriptors = 48 });
    for (int i = 0; i < N; i++) {
        fds[i] = client_dial();
        client_send_request(fds[i], "GET /livez", "", NULL, 0);
    }
    for (int i = 0; i < N; i++) {
        struct answer a = client_read_answer(fds[i]);

        served += a.status == 200;
        refused += a.status == 503;
        answer_done(&a);
    }
    assert_true(served >= 10);
    assert_int_equal(served + refused, N);
    for (int i = 0; i < N; i++)
        close(fds[i]);
    assert_int_equal(server_fixture_stop(&server), 0);
}

static void a_stop_answers_those_who_wait(void **state)
{
    enum { N = 50 };
    int fds[N], idle, uploading, stream;
    struct buf in = { 0 };
    struct answer a;
    char *id, line[128];
    int64_t start_us;

    (void)state;
    client_start_server(&(struct server_fixture_options){ 0 });
    idle = client_dial();
    uploading = client_dial();
    client_send_request(uploading, "POST /v1/jobs",
            "Content-Type: application/x-ndjson\r\nContent-Length: 500\r\n", NULL, 0);
    client_send_text(uploading, "{\"kind\":\"delivery\"}\n{");
    stream = client_dial();
    client_send_json(
            stream, "POST /v1/batches", "{\"jobs\":[{\"kind\":\"delivery\",\"wait\":100}]}");
    a = client_read_answer(stream);
    id = text_between(a.body, "\"id\":\"");
    answer_done(&a);
    snprintf(line, sizeof(line), "GET /v1/batches/%s/results", id);
    client_send_request(stream, line, "", NULL, 0);
    while (!in.n || !strstr(in.data, "\r\n\r\n"))
        assert_true(client_read_more(stream, &in));
    for (int i = 0; i < N; i++) {
        fds[i] = client_dial();
        client_send_json(fds[i], "POST /v1/jobs?wait=60s",
                "{\"kind\":\"delivery\",\"name\":\"waits\",\"wait\":100}");
    }
    while (client_listed("", "\"name\":\"waits\"") < N)
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    start_us = clock_mono_us();
    assert_int_equal(server_fixture_stop(&server), 0);
    assert_true(clock_mono_us() - start_us < 4000000);
    for (int i = 0; i < N; i++) {
        a = client_read_answer(fds[i]);
        assert_int_equal(a.status, 202);
        assert_non_null(strstr(a.head, "Connection: close\r\n"));
        answer_done(&a);
        close(fds[i]);
    }
    while (client_read_more(stream, &in))
        ;
    assert_null(strstr(in.data, "\r\n0\r\n\r\n")); /* cut, not ended: there would be more */
    assert_null(client_read_to_end(idle));
    buf_done(&in);
    free(id);
    close(idle);
    close(uploading);
    close(stream);
}

int main(void)
{
    const struct CMUnitTest shared[] = {
        cmocka_unit_test(batches_are_awaited_listed_and_cancelled),
        cmocka_unit_test(results_arrive_as_jobs_finish),
        cmocka_unit_test(clients_that_vanish_are_let_go),
        cmocka_unit_test(a_thousand_clients_wait_at_no_cost),
    };
    const struct CMUnitTest own[] = {
        cmocka_unit_test(too_many_connections_are_told_so),
        cmocka_unit_test(no_descriptors_left_is_told_too),
        cmocka_unit_test(a_stop_answers_those_who_wait),
    };
    int failed = cmocka_run_group_tests(shared, client_setup, client_teardown);

    return failed + cmocka_run_group_tests(own, NULL, NULL);
}
