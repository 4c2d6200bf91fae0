/* Limits with a name: past each there is an answer at once, and room for others stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "tests/unit/api/client.h"

#define WAITS "{\"kind\":\"delivery\",\"wait\":100}"

static int dial_local(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", server.path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void expect_alive(int fd)
{
    client_send_request(fd, "GET /livez", "", NULL, 0);
    client_expect(fd, 200, NULL);
}

static void start(const struct server_fixture_options *options)
{
    int fd;

    client_start_server(options);
    expect_alive(fd = client_dial());
    server_idle_descriptors = server_descriptors() - 1;
    close(fd);
    server_expect_descriptors(server_idle_descriptors);
}

static void a_client_has_its_share_of_connections(void **state)
{
    enum { SHARE = 3 };
    int fds[SHARE], other, local[SHARE], more;
    struct answer a;

    (void)state;
    start(&(struct server_fixture_options){ .max_connections_per_client = SHARE });
    for (int i = 0; i < SHARE; i++)
        expect_alive(fds[i] = client_dial());
    more = client_dial();
    a = client_read_answer(more);
    assert_int_equal(a.status, 429);
    assert_non_null(strstr(a.head, "Retry-After: 5\r\n"));
    assert_non_null(strstr(a.body, "api.max_connections_per_client"));
    answer_done(&a);
    close(more);
    for (int i = 0; i < SHARE; i++) /* a user of the Unix socket is another client */
        expect_alive(local[i] = dial_local());
    more = dial_local();
    client_expect(more, 429, "api.max_connections_per_client");
    close(more);
    close(fds[0]);
    server_expect_descriptors(server_idle_descriptors + 2 * SHARE - 1);
    expect_alive(other = client_dial());
    close(other);
    for (int i = 0; i < SHARE; i++) {
        close(local[i]);
        if (i > 0)
            close(fds[i]);
    }
    server_expect_descriptors(server_idle_descriptors);
    expect_alive(other = client_dial());
    close(other);
    assert_int_equal(server_fixture_stop(&server), 0);
}

/* None of the connections lets go by itself here. */
static void half_open_connections_give_way(void **state)
{
    enum { MOST = 20 };
    int fds[MOST], good;

    (void)state;
    start(&(struct server_fixture_options){
            .max_connections = MOST, .header_timeout_us = 60000000 });
    for (int i = 0; i < MOST; i++) {
        fds[i] = client_dial();
        client_send_text(fds[i], "GET /livez HTTP/1.1\r\nHo");
    }
    server_expect_descriptors(server_idle_descriptors + MOST);
    good = client_dial();
    client_expect(good, 503, "api.max_connections"); /* they have just come */
    close(good);
    nanosleep(&(struct timespec){ .tv_sec = 1, .tv_nsec = 200000000 }, NULL);
    for (int i = 0; i < 5; i++) {
        expect_alive(good = client_dial());
        assert_null(client_read_to_end(fds[i])); /* the oldest */
        close(fds[i]);
        fds[i] = good;
    }
    for (int i = 0; i < MOST; i++)
        close(fds[i]);
    assert_int_equal(server_fixture_stop(&server), 0);
}

static void a_client_makes_room_for_itself(void **state)
{
    enum { SHARE = 3 };
    int others[SHARE], fds[SHARE], good;

    (void)state;
    start(&(struct server_fixture_options){
            .max_connections_per_client = SHARE, .header_timeout_us = 60000000 });
    for (int i = 0; i < SHARE; i++) { /* older, but of another client */
        others[i] = dial_local();
        client_send_text(others[i], "G");
    }
    for (int i = 0; i < SHARE; i++) {
        fds[i] = client_dial();
        client_send_text(fds[i], "G");
    }
    server_expect_descriptors(server_idle_descriptors + 2 * SHARE);
    nanosleep(&(struct timespec){ .tv_sec = 1, .tv_nsec = 200000000 }, NULL);
    expect_alive(good = client_dial());
    assert_null(client_read_to_end(fds[0]));
    server_expect_descriptors(server_idle_descriptors + 2 * SHARE);
    for (int i = 0; i < SHARE; i++) {
        close(fds[i]);
        close(others[i]);
    }
    close(good);
    assert_int_equal(server_fixture_stop(&server), 0);
}

static void waiting_requests_leave_room(void **state)
{
    enum { MOST = 4 };
    static const char *const forms[] = { "POST /v1/jobs?wait=60s", "POST /v1/batches?wait=60s" };
    int fds[MOST], good;
    char *id, line[128];
    struct answer a;

    (void)state;
    start(&(struct server_fixture_options){ .max_waiters = MOST });
    good = client_dial();
    client_send_json(good, "POST /v1/batches", "{\"jobs\":[" WAITS "]}");
    a = client_read_answer(good);
    id = text_between(a.body, "\"id\":\"");
    answer_done(&a);
    for (int i = 0; i < MOST; i++) {
        fds[i] = client_dial();
        client_send_json(fds[i], "POST /v1/jobs?wait=60s", WAITS);
    }
    while (client_listed("", "\"wait_ms\":100000") < MOST + 1)
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    for (int i = 0; i < 2; i++) {
        client_send_json(good, forms[i], i ? "{\"jobs\":[" WAITS "]}" : WAITS);
        a = client_read_answer(good);
        assert_int_equal(a.status, 503);
        assert_non_null(strstr(a.head, "Retry-After: "));
        assert_non_null(strstr(a.body, "api.max_waiters"));
        answer_done(&a);
    }
    snprintf(line, sizeof(line), "GET /v1/batches/%s/results", id);
    client_send_request(good, line, "", NULL, 0);
    client_expect(good, 503, "api.max_waiters");
    snprintf(line, sizeof(line), "GET /v1/batches/%s?wait=1", id);
    client_send_request(good, line, "", NULL, 0);
    client_expect(good, 503, "api.max_waiters");
    assert_int_equal(client_listed("", "\"wait_ms\":100000"), MOST + 1); /* nothing was accepted */
    close(fds[0]);
    server_expect_descriptors(server_idle_descriptors + MOST);
    client_send_request(good, line, "", NULL, 0);
    client_expect(good, 200, NULL);
    for (int i = 1; i < MOST; i++)
        close(fds[i]);
    close(good);
    free(id);
    assert_int_equal(server_fixture_stop(&server), 0);
}

#define MIB (1 << 20)

static int begin_body(const char *type, size_t length)
{
    char head[256];
    int fd = client_dial();

    snprintf(head, sizeof(head),
            "POST /v1/jobs HTTP/1.1\r\n%sContent-Type: application/%s\r\nContent-Length: "
            "%zu\r\n\r\n",
            host_line, type, length);
    client_send_text(fd, head);
    return fd;
}

static bool answers_within(int fd, int ms)
{
    return poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, ms) == 1;
}

/* Until the server has read what makes it refuse others. */
static void wait_until_large_ones_are_refused(void)
{
    for (int i = 0; i < 200; i++) {
        int fd = begin_body("json", MIB + 1);
        bool refused = answers_within(fd, 50);

        if (refused)
            client_expect(fd, 503, "api.request_memory");
        close(fd);
        if (refused)
            return;
    }
    fail_msg("a large body is let in");
}

static char *many_lines(size_t n)
{
    static const char line[] = "{\"kind\":\"delivery\",\"name\":\"of the upload\"}\n";
    struct buf lines = { 0 };

    while (lines.n < n)
        assert_int_equal(buf_append_str(&lines, line), 0);
    assert_int_equal(buf_append(&lines, "", 1), 0);
    return lines.data;
}

static void large_bodies_leave_room_for_small_ones(void **state)
{
    char *spaces = calloc(1, 8 * MIB), *lines = many_lines(200000);
    int large, small, upload;
    struct answer a;

    (void)state;
    memset(spaces, ' ', 8 * MIB - 1);
    start(&(struct server_fixture_options){ .request_memory_bytes = 4 * MIB });
    large = begin_body("json", 8 * MIB);
    client_send_all(large, spaces, 4 * MIB - 100000); /* of the only one, whatever its size */
    wait_until_large_ones_are_refused();
    small = client_dial();
    client_send_json(small, "POST /v1/jobs", "{\"kind\":\"delivery\"}");
    client_expect(small, 202, NULL);
    client_send_request(small, "POST /v1/jobs",
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", NULL, 0);
    client_send_text(small, "30000\r\n");
    client_send_all(small, spaces, 0x30000);
    client_expect(small, 503, "api.request_memory"); /* in the middle of it */
    upload = begin_body("x-ndjson", strlen(lines));
    client_send_all(upload, lines, strlen(lines) - 1);
    client_send_text(upload, "\n");
    assert_false(answers_within(upload, 300));
    close(large);
    a = client_read_answer(upload);
    assert_int_equal(text_count(a.body, "{\"status\":202,"), text_count(lines, "\n"));
    answer_done(&a);
    close(small);
    close(upload);
    free(spaces);
    free(lines);
    assert_int_equal(server_fixture_stop(&server), 0);
}

static long server_peak_kb(void)
{
    char path[64], line[128];
    long kb = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)server.pid);
    f = fopen(path, "r");
    assert_non_null(f);
    while (kb == 0 && fgets(line, sizeof(line), f))
        sscanf(line, "VmHWM: %ld", &kb);
    fclose(f);
    return kb;
}

/* Its results, or a list of its tasks, are some megabytes. */
static char *large_batch(int fd, int jobs, const char *line, unsigned wait_s, unsigned status)
{
    struct buf body = { 0 };
    struct answer a;
    char *id;

    assert_int_equal(buf_append_str(&body, "{\"jobs\":["), 0);
    for (int i = 0; i < jobs; i++)
        assert_int_equal(
                buf_printf(&body, "%s{\"kind\":\"delivery\",\"wait\":%u,\"name\":\"%0200d\"}",
                        i ? "," : "", wait_s, i),
                0);
    assert_int_equal(buf_append(&body, "]}", 3), 0);
    client_send_json(fd, line, body.data);
    a = client_read_answer(fd);
    assert_int_equal(a.status, status);
    id = text_between(a.body, "\"id\":\"");
    answer_done(&a);
    buf_done(&body);
    return id;
}

static int dial_narrow(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
        .sin_port = htons((uint16_t)server.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){ 4096 }, sizeof(int));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void who_reads_nothing_is_let_go(void **state)
{
    enum { READERS = 8 };
    char *id, line[128];
    int fds[READERS], fd;
    long before_kb __attribute__((unused));

    (void)state;
    start(&(struct server_fixture_options){ .write_timeout_us = 1000000 });
    fd = client_dial();
    id = large_batch(fd, 5000, "POST /v1/batches?wait=30s", 0, 200);
    snprintf(line, sizeof(line), "GET /v1/batches/%s/results", id);
    before_kb = server_peak_kb();
    for (int i = 0; i < READERS; i++) {
        fds[i] = dial_narrow();
        client_send_request(fds[i], line, "", NULL, 0);
    }
    close(fd);
    server_expect_descriptors(server_idle_descriptors + READERS);
    server_expect_descriptors(server_idle_descriptors); /* nobody has closed but the server */
#ifndef BAEDAL_SANITIZED                                /* whose memory is another's */
    if (!getenv("BAEDAL_TEST_WRAPPED"))
        assert_true(server_peak_kb() - before_kb < READERS * 500); /* each has asked for 4 MB */
#endif
    for (int i = 0; i < READERS; i++)
        close(fds[i]);
    free(id);
    assert_int_equal(server_fixture_stop(&server), 0);
}

static void unread_answers_are_bounded(void **state)
{
    enum { READERS = 4 };
    int fds[READERS], fd;
    unsigned refused = 0;

    (void)state;
    start(&(struct server_fixture_options){ .answer_memory_bytes = 6 * MIB });
    fd = client_dial();
    free(large_batch(fd, 20000, "POST /v1/batches", 100, 202));
    for (int i = 0; i < READERS; i++) {
        fds[i] = dial_narrow();
        client_send_request(fds[i], "GET /v1/tasks", "", NULL, 0);
        assert_true(answers_within(fds[i], 5000));
    }
    for (int i = 0; i < READERS; i++) {
        struct buf in = { 0 };

        assert_true(client_read_more(fds[i], &in));
        refused += strstr(in.data, " 503 ") != NULL;
        buf_done(&in);
    }
    assert_in_range(refused, 1, READERS - 1);
    expect_alive(fd); /* small answers go on */
    for (int i = 0; i < READERS; i++)
        close(fds[i]);
    close(fd);
    assert_int_equal(server_fixture_stop(&server), 0);
}

/* A byte now and then is no progress. */
static void a_dripping_body_is_ended(void **state)
{
    int64_t start_us = clock_mono_us();
    int fd;

    (void)state;
    start(&(struct server_fixture_options){ .body_timeout_us = 500000 });
    fd = begin_body("json", 1000);
    while (!answers_within(fd, 50) && clock_mono_us() - start_us < 5000000)
        client_send_text(fd, " ");
    client_expect(fd, 408, NULL);
    close(fd);
    assert_int_equal(server_fixture_stop(&server), 0);
}

/* Each form of waiting, and each is noticed before anything is due. */
static void who_vanishes_gives_everything_back(void **state)
{
    static const char *const waits[] = { "POST /v1/jobs?wait=60s", "POST /v1/batches?wait=60s" };
    char *lines = many_lines(300000);
    int fd, good;

    (void)state;
    start(&(struct server_fixture_options){ .max_waiters = 1 });
    for (int i = 0; i < 4; i++) {
        fd = client_dial();
        client_send_json(fd, waits[i % 2], i % 2 ? "{\"jobs\":[" WAITS "]}" : WAITS);
        server_expect_descriptors(server_idle_descriptors + 1);
        assert_false(answers_within(fd, 100)); /* so it was let in: the one before is gone */
        close(fd);
        server_expect_descriptors(server_idle_descriptors);
    }
    for (int i = 0; i < 2; i++) {
        fd = begin_body(i ? "json" : "x-ndjson", 8 * MIB - 1);
        client_send_all(fd, lines, strlen(lines));
        close(fd);
        server_expect_descriptors(server_idle_descriptors);
    }
    good = client_dial();
    client_send_json(good, "POST /v1/jobs?wait=10s", "{\"kind\":\"delivery\"}");
    client_expect(good, 200, NULL);
    close(good);
    free(lines);
    assert_int_equal(server_fixture_stop(&server), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_has_its_share_of_connections),
        cmocka_unit_test(half_open_connections_give_way),
        cmocka_unit_test(a_client_makes_room_for_itself),
        cmocka_unit_test(waiting_requests_leave_room),
        cmocka_unit_test(large_bodies_leave_room_for_small_ones),
        cmocka_unit_test(who_reads_nothing_is_let_go),
        cmocka_unit_test(unread_answers_are_bounded),
        cmocka_unit_test(a_dripping_body_is_ended),
        cmocka_unit_test(who_vanishes_gives_everything_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
