/* The whole API over real sockets, with a service in memory behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/buf.h"
#include "daemon/base/clock.h"
#include "tests/unit/api/server_fixture.h"

#define ANSWER_TIMEOUT_MS 10000

static struct server_fixture server;
static char host_line[64];

static int start(const struct server_fixture_options *options)
{
    server_fixture_start(&server, options);
    snprintf(host_line, sizeof(host_line), "Host: 127.0.0.1:%u\r\n", server.port);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return start(&(struct server_fixture_options){ .max_connections = 2000,
            .max_lines = 3000,
            .max_body_bytes = 100000,
            .max_bulk_bytes = 1000000,
            .header_timeout_us = 500000 });
}

static int teardown(void **state)
{
    (void)state;
    return server_fixture_stop(&server);
}

static int dial(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
        .sin_port = htons((uint16_t)server.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void send_all(int fd, const void *data, size_t n)
{
    const char *p = data;

    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

        if (sent < 0)
            return; /* what the server says is read */
        p += sent;
        n -= (size_t)sent;
    }
}

static void send_text(int fd, const char *text)
{
    send_all(fd, text, strlen(text));
}

/* A request with a Host, and a body when there is one. */
static void send_request(
        int fd, const char *line, const char *headers, const char *body, size_t body_n)
{
    char head[4096];
    int n = snprintf(head, sizeof(head), "%s HTTP/1.1\r\n%s%s", line, host_line, headers);

    if (body)
        n += snprintf(head + n, sizeof(head) - (size_t)n, "Content-Length: %zu\r\n", body_n);
    n += snprintf(head + n, sizeof(head) - (size_t)n, "\r\n");
    send_all(fd, head, (size_t)n);
    if (body)
        send_all(fd, body, body_n);
}

static void send_json(int fd, const char *line, const char *body)
{
    send_request(fd, line, "Content-Type: application/json\r\n", body, strlen(body));
}

/* Reads more; false at the end of the connection. */
static bool read_more(int fd, struct buf *in)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    ssize_t n;

    assert_int_equal(buf_reserve(in, 65536), 0);
    if (poll(&p, 1, ANSWER_TIMEOUT_MS) != 1)
        fail_msg("no answer; so far: %.*s", (int)in->n, in->data);
    n = recv(fd, in->data + in->n, 65535, 0);
    if (n <= 0)
        return false;
    in->n += (size_t)n;
    in->data[in->n] = 0;
    return true;
}

/* One whole answer with a Content-Length; what follows it stays in *in. */
struct answer {
    unsigned status;
    char *head, *body;
};

static struct answer read_answer_of(int fd, struct buf *in, bool head_only)
{
    struct answer a = { 0 };
    char *end = NULL, *length;
    size_t head_n, body_n = 0;

    while (!in->n || !(end = strstr(in->data, "\r\n\r\n")))
        if (!read_more(fd, in))
            fail_msg("the connection ended in a head: %.*s", (int)in->n, in->data);
    head_n = (size_t)(end - in->data) + 4;
    a.head = strndup(in->data, head_n);
    assert_int_equal(sscanf(a.head, "HTTP/1.1 %u ", &a.status), 1);
    if (a.status == 100) {
        free(a.head);
        buf_consume(in, head_n);
        in->data[in->n] = 0;
        return read_answer_of(fd, in, head_only);
    }
    length = strstr(a.head, "Content-Length: ");
    assert_non_null(length);
    if (!head_only)
        body_n = strtoul(length + 16, NULL, 10);
    while (in->n < head_n + body_n)
        if (!read_more(fd, in))
            fail_msg("the connection ended in a body");
    a.body = malloc(body_n + 1);
    memcpy(a.body, in->data + head_n, body_n);
    a.body[body_n] = 0;
    buf_consume(in, head_n + body_n);
    in->data[in->n] = 0;
    return a;
}

static void answer_done(struct answer *a)
{
    free(a->head);
    free(a->body);
}

/* The next answer, whatever it is called with; nothing may follow it. */
static struct answer read_answer(int fd)
{
    struct buf in = { 0 };
    struct answer a = read_answer_of(fd, &in, false);

    assert_int_equal(in.n, 0);
    buf_done(&in);
    return a;
}

/* All until the server closes. */
static char *read_to_end(int fd)
{
    struct buf in = { 0 };

    while (read_more(fd, &in))
        ;
    if (in.n == 0)
        buf_done(&in);
    return in.data;
}

static void assert_status(int fd, unsigned status, const char *part)
{
    struct answer a = read_answer(fd);

    if (a.status != status || (part && !strstr(a.body, part)))
        fail_msg("wanted %u with %s, got %s%s", status, part ? part : "anything", a.head, a.body);
    answer_done(&a);
}

/* Sends the bytes on a connection of their own: the status of the answer, which is the last one. */
static unsigned raw_status(const char *bytes, size_t n)
{
    unsigned status = 0;
    int fd = dial();
    char *text;

    send_all(fd, bytes, n);
    text = read_to_end(fd);
    assert_non_null(text);
    sscanf(text, "HTTP/1.1 %u ", &status);
    free(text);
    close(fd);
    return status;
}

static char *text_between(const char *text, const char *before)
{
    const char *from = strstr(text, before);

    assert_non_null(from);
    from += strlen(before);
    return strndup(from, strcspn(from, "\""));
}

static unsigned count(const char *text, const char *part)
{
    unsigned n = 0;

    for (; (text = strstr(text, part)); text += strlen(part))
        n++;
    return n;
}

static unsigned server_descriptors(void)
{
    char path[64];
    unsigned n = 0;
    DIR *d;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)server.pid);
    d = opendir(path);
    while (d && readdir(d))
        n++;
    closedir(d);
    return n;
}

static void wait_for_descriptors(unsigned n)
{
    for (int i = 0; i < 500 && server_descriptors() != n; i++)
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    assert_int_equal(server_descriptors(), n);
}

static int64_t server_cpu_us(void)
{
    char path[64], text[1024] = "";
    unsigned long user = 0, system_ticks = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)server.pid);
    f = fopen(path, "r");
    if (f && fgets(text, sizeof(text), f))
        sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                &system_ticks);
    fclose(f);
    return (int64_t)(user + system_ticks) * 1000000 / sysconf(_SC_CLK_TCK);
}

static void requests_share_a_connection(void **state)
{
    int fd = dial();

    (void)state;
    for (int i = 0; i < 3; i++) {
        send_request(fd, "GET /livez", "", NULL, 0);
        assert_status(fd, 200, "ok");
        send_request(fd, "GET /v1/nothing", "", NULL, 0);
        assert_status(fd, 404, "\"status\":404");
        send_json(fd, "POST /v1/jobs", "{\"kind\":\"fetch\"}");
        assert_status(fd, 422, "\"pointer\":\"/url\"");
        send_request(fd, "POST /v1/jobs", "Content-Type: text/plain\r\n", "12345", 5);
        assert_status(fd, 415, "--json");
    }
    close(fd);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct buf in = { 0 };
    struct answer a;
    int fd = dial();

    (void)state;
    send_json(
            fd, "POST /v1/jobs?wait=5s", "{\"kind\":\"delivery\",\"name\":\"slow\",\"wait\":0.2}");
    send_request(fd, "GET /livez", "", NULL, 0);
    send_request(fd, "GET /v1/nothing", "", NULL, 0);
    a = read_answer_of(fd, &in, false);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"state\":\"succeeded\""));
    answer_done(&a);
    a = read_answer_of(fd, &in, false);
    assert_int_equal(a.status, 200);
    answer_done(&a);
    a = read_answer_of(fd, &in, false);
    assert_int_equal(a.status, 404);
    answer_done(&a);
    buf_done(&in);
    close(fd);
}

static void head_has_no_body(void **state)
{
    struct buf in = { 0 };
    struct answer a;
    int fd = dial();

    (void)state;
    send_request(fd, "HEAD /livez", "", NULL, 0);
    a = read_answer_of(fd, &in, true);
    assert_int_equal(a.status, 200);
    assert_int_equal(in.n, 0);
    answer_done(&a);
    send_request(fd, "GET /livez", "", NULL, 0);
    a = read_answer_of(fd, &in, false);
    assert_string_equal(a.body, "{\"status\":\"ok\"}\n");
    answer_done(&a);
    buf_done(&in);
    close(fd);
}

static void a_job_goes_in_and_comes_back(void **state)
{
    char *id, line[128];
    int fd = dial();
    struct answer a;

    (void)state;
    send_json(fd, "POST /v1/jobs", "{\"kind\":\"fetch\",\"url\":\"http://a/\"}");
    a = read_answer(fd);
    assert_int_equal(a.status, 202);
    assert_non_null(strstr(a.head, "Content-Type: application/json\r\n"));
    id = text_between(a.head, "Location: /v1/jobs/");
    id[36] = 0;
    answer_done(&a);
    snprintf(line, sizeof(line), "GET /v1/jobs/%s?wait=5s&body=inline", id);
    send_request(fd, line, "", NULL, 0);
    assert_status(fd, 200, "\"body\":\"hello\"");
    snprintf(line, sizeof(line), "GET /v1/jobs/%s/body", id);
    send_request(fd, line, "", NULL, 0);
    a = read_answer(fd);
    assert_string_equal(a.body, "hello");
    assert_non_null(strstr(a.head, "Content-Type: text/html\r\n"));
    assert_non_null(strstr(a.head, "Content-Security-Policy: sandbox; default-src 'none'\r\n"));
    assert_non_null(strstr(a.head, "X-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(a.head, "Content-Disposition: attachment\r\n"));
    answer_done(&a);
    snprintf(line, sizeof(line), "POST /v1/jobs/%s/cancel", id);
    send_request(fd, line, "", NULL, 0);
    assert_status(fd, 409, "succeeded");
    snprintf(line, sizeof(line), "GET /v1/jobs/%s/body?step=collect", id);
    send_request(fd, line, "", NULL, 0);
    assert_status(fd, 404, NULL);
    send_request(fd, "GET /v1/jobs/018bcfe5-6800-7000-8000-000000000001", "", NULL, 0);
    assert_status(fd, 404, NULL);
    send_request(fd, "GET /v1/jobs/nonsense", "", NULL, 0);
    assert_status(fd, 404, NULL);
    free(id);
    close(fd);
}

static void large_bodies_come_from_files(void **state)
{
    char *id, line[128];
    int fd = dial();
    struct answer a;

    (void)state;
    send_json(fd, "POST /v1/jobs?wait=5",
            "{\"kind\":\"fetch\",\"url\":\"http://a/\",\"name\":\"in a file\"}");
    a = read_answer(fd);
    assert_int_equal(a.status, 200);
    id = text_between(a.body, "\"id\":\"");
    answer_done(&a);
    snprintf(line, sizeof(line), "GET /v1/jobs/%s/body", id);
    send_request(fd, line, "", NULL, 0);
    a = read_answer(fd);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.head, "Content-Length: 200000\r\n"));
    answer_done(&a);
    free(id);
    close(fd);
}

static void errors_of_the_service_have_their_status(void **state)
{
    struct answer a;
    int fd = dial();

    (void)state;
    send_json(fd, "POST /v1/jobs", "{\"kind\":\"delivery\",\"name\":\"disk full\"}");
    a = read_answer(fd);
    assert_int_equal(a.status, 507);
    assert_non_null(strstr(a.head, "Retry-After: "));
    answer_done(&a);
    send_json(fd, "POST /v1/jobs", "{\"kind\":\"delivery\",\"name\":\"queue full\"}");
    assert_status(fd, 503, "queue");
    send_request(fd, "PUT /v1/jobs", "", NULL, 0);
    a = read_answer(fd);
    assert_int_equal(a.status, 405);
    assert_non_null(strstr(a.head, "Allow: POST, GET, HEAD\r\n"));
    answer_done(&a);
    send_request(fd, "GET /v1/jobs?limit=0&x=1&state=odd&limit=2", "", NULL, 0);
    a = read_answer(fd);
    assert_int_equal(a.status, 400);
    assert_int_equal(count(a.body, "\"parameter\""), 4);
    answer_done(&a);
    close(fd);
}

static void preferences_are_applied(void **state)
{
    struct answer a;
    int fd = dial();

    (void)state;
    send_request(fd, "POST /v1/jobs", "Content-Type: application/json\r\nPrefer: wait=5\r\n",
            "{\"kind\":\"delivery\",\"wait\":0.05}", 32);
    a = read_answer(fd);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.head, "Preference-Applied: wait=5\r\n"));
    answer_done(&a);
    send_json(fd, "POST /v1/jobs?wait=100ms", "{\"kind\":\"delivery\",\"wait\":50}");
    assert_status(fd, 202, "\"state\":\"pending\"");
    close(fd);
}

static void bodies_come_in_chunks_and_after_a_continue(void **state)
{
    static const char body[] = "{\"kind\":\"delivery\"}";
    char chunk[16];
    int fd = dial();

    (void)state;
    send_request(fd, "POST /v1/jobs",
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", NULL, 0);
    for (size_t i = 0; i < sizeof(body) - 1; i++) {
        snprintf(chunk, sizeof(chunk), "1\r\n%c\r\n", body[i]);
        send_text(fd, chunk);
    }
    send_text(fd, "0\r\n\r\n");
    assert_status(fd, 202, NULL);
    send_request(fd, "POST /v1/jobs",
            "Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 19\r\n",
            NULL, 0);
    {
        struct buf in = { 0 };
        struct answer a;

        while (!in.n || !strstr(in.data, "100 Continue\r\n\r\n"))
            assert_true(read_more(fd, &in));
        send_text(fd, body);
        a = read_answer_of(fd, &in, false);
        assert_int_equal(a.status, 202);
        answer_done(&a);
        buf_done(&in);
    }
    close(fd);
}

static void a_half_closed_client_gets_its_answer(void **state)
{
    int fd = dial();

    (void)state;
    send_json(fd, "POST /v1/jobs", "{\"kind\":\"delivery\"}");
    shutdown(fd, SHUT_WR);
    assert_status(fd, 202, NULL);
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
    int fd = dial();

    (void)state;
    memset(body, ' ', 200000);
    body[200000] = 0;
    send_request(fd, "POST /v1/jobs", "Content-Type: application/json\r\n", body, 200000);
    assert_status(fd, 413, NULL);
    send_request(fd, "POST /v1/jobs",
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", NULL, 0);
    send_text(fd, "30d40\r\n");
    send_all(fd, body, 200000);
    send_text(fd, "\r\n0\r\n\r\n");
    assert_status(fd, 413, NULL);
    free(body);
    close(fd);
}

static char *fetch_lines(unsigned n, const char *tail)
{
    struct buf lines = { 0 };

    for (unsigned i = 0; i < n; i++)
        assert_int_equal(
                buf_printf(&lines, "{\"kind\":\"fetch\",\"url\":\"http://x/%u\"}\n", i), 0);
    assert_int_equal(buf_append(&lines, tail, strlen(tail) + 1), 0);
    return lines.data;
}

static struct answer post_lines(int fd, const char *lines)
{
    send_request(
            fd, "POST /v1/jobs", "Content-Type: application/x-ndjson\r\n", lines, strlen(lines));
    return read_answer(fd);
}

static void lines_are_answered_one_by_one(void **state)
{
    char *lines = fetch_lines(1000,
            "\r\n   \n{\"kind\":\"fetch\"}\nnonsense\n{\"kind\":\"fetch\",\"url\":\"http://last/\"}");
    int fd = dial();
    struct answer a = post_lines(fd, lines);
    char *tail;

    (void)state;
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.head, "Content-Type: application/x-ndjson\r\n"));
    assert_int_equal(count(a.body, "\n"), 1003);
    assert_int_equal(count(a.body, "{\"status\":202,\"id\":\""), 1001);
    tail = strstr(a.body, "{\"status\":422");
    assert_non_null(tail);
    assert_non_null(strstr(tail, "\"pointer\":\"/url\"}]}\n{\"status\":400,\"errors\":[{"));
    assert_non_null(strstr(tail, "\"line\":1,\"column\":"));
    assert_non_null(strstr(tail, "}\n{\"status\":202,\"id\":"));
    answer_done(&a);
    a = post_lines(fd, "");
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "");
    answer_done(&a);
    a = post_lines(fd, "{\"kind\":\"delivery\",\"name\":\"disk full\"}\n");
    assert_non_null(
            strstr(a.body, "{\"status\":507,\"errors\":[{\"detail\":\"the disk is full\"}]}"));
    answer_done(&a);
    free(lines);
    close(fd);
}

static void lines_are_bounded(void **state)
{
    char *lines = fetch_lines(3010, ""), *long_line = malloc(150100);
    int fd = dial();
    struct answer a = post_lines(fd, lines);

    (void)state;
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.head, "Connection: close\r\n"));
    assert_int_equal(count(a.body, "\"status\":202"), 3000);
    assert_int_equal(count(a.body, "\"status\":413"), 1);
    answer_done(&a);
    close(fd);

    fd = dial();
    memset(long_line, 'x', 150000);
    strcpy(long_line + 150000, "\n{\"kind\":\"delivery\"}");
    a = post_lines(fd, long_line);
    assert_int_equal(a.status, 200);
    assert_int_equal(count(a.body, "\n"), 2);
    assert_int_equal(strncmp(a.body, "{\"status\":413", 13), 0);
    assert_int_equal(count(a.body, "\"status\":202"), 1);
    answer_done(&a);
    close(fd);

    fd = dial();
    memset(long_line, ' ', 90000); /* parsed on a pool thread */
    strcpy(long_line + 90000, "{\"kind\":\"delivery\"}\n{\"kind\":\"delivery\"}");
    a = post_lines(fd, long_line);
    assert_int_equal(count(a.body, "\"status\":202"), 2);
    answer_done(&a);
    close(fd);
    free(lines);
    free(long_line);
}

/* How many jobs of this state the list has, page by page. */
static unsigned listed(const char *query, const char *part)
{
    char line[256], *next = strdup("");
    unsigned n = 0;
    int fd = dial();

    do {
        struct answer a;

        snprintf(line, sizeof(line), "GET /v1/jobs?limit=700%s%s%s", query, *next ? "&cursor=" : "",
                next);
        free(next);
        send_request(fd, line, "", NULL, 0);
        a = read_answer(fd);
        assert_int_equal(a.status, 200);
        n += count(a.body, part);
        next = strstr(a.body, "\"next_cursor\":\"") ? text_between(a.body, "\"next_cursor\":\"")
                                                    : strdup("");
        assert_int_equal(*next != 0, strstr(a.head, "Link: <") != NULL);
        answer_done(&a);
    } while (*next);
    free(next);
    close(fd);
    return n;
}

static void a_cut_off_upload_leaves_whole_lines(void **state)
{
    char *lines = fetch_lines(1500, "{\"kind\":\"fet");
    unsigned before = listed("", "\"lane\":\"http://x\"");
    int fd = dial();

    (void)state;
    send_request(fd, "POST /v1/jobs",
            "Content-Type: application/x-ndjson\r\nContent-Length: 900000\r\n", NULL, 0);
    send_all(fd, lines, strlen(lines));
    close(fd);
    for (int i = 0; i < 500 && listed("", "\"lane\":\"http://x\"") < before + 1500; i++)
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    assert_int_equal(listed("", "\"lane\":\"http://x\""), before + 1500);
    free(lines);
}

static void batches_are_awaited_listed_and_cancelled(void **state)
{
    char *id, line[128];
    int fd = dial();
    struct answer a;

    (void)state;
    send_json(fd, "POST /v1/batches?wait=5s",
            "{\"run\":\"gather\",\"jobs\":[{\"kind\":\"delivery\",\"wait\":0.1},{\"kind\":"
            "\"delivery\",\"wait\":0.05}]}");
    a = read_answer(fd);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"state\":\"succeeded\""));
    assert_non_null(strstr(a.body, "\"job_ids\":[\""));
    id = text_between(a.body, "\"id\":\"");
    answer_done(&a);
    snprintf(line, sizeof(line), "POST /v1/batches/%s/cancel", id);
    send_request(fd, line, "", NULL, 0);
    assert_status(fd, 409, NULL);
    free(id);
    send_json(fd, "POST /v1/batches", "{\"jobs\":[{\"kind\":\"delivery\",\"wait\":100}]}");
    a = read_answer(fd);
    assert_int_equal(a.status, 202);
    id = text_between(a.body, "\"id\":\"");
    answer_done(&a);
    snprintf(line, sizeof(line), "POST /v1/batches/%s/cancel", id);
    send_request(fd, line, "", NULL, 0);
    assert_status(fd, 200, "\"state\":\"cancelled\"");
    snprintf(line, sizeof(line), "GET /v1/batches/%s", id);
    send_request(fd, line, "", NULL, 0);
    assert_status(fd, 200, "\"cancelled\":1");
    send_request(fd, "GET /v1/batches?limit=1", "", NULL, 0);
    assert_status(fd, 200, "\"next_cursor\":\"c");
    send_json(fd, "POST /v1/batches", "{\"jobs\":[]}");
    assert_status(fd, 422, "\"pointer\":\"/jobs\"");
    free(id);
    close(fd);
}

static void results_arrive_as_jobs_finish(void **state)
{
    struct buf in = { 0 };
    char *id, line[128];
    int fd = dial();
    struct answer a;

    (void)state;
    send_json(fd, "POST /v1/batches",
            "{\"jobs\":[{\"kind\":\"delivery\",\"name\":\"slow\",\"wait\":0.4},{\"kind\":"
            "\"delivery\",\"name\":\"fast\",\"wait\":0.1}]}");
    a = read_answer(fd);
    id = text_between(a.body, "\"id\":\"");
    answer_done(&a);
    snprintf(line, sizeof(line), "GET /v1/batches/%s/results", id);
    send_request(fd, line, "", NULL, 0);
    while (!in.n || !strstr(in.data, "\"name\":\"fast\""))
        assert_true(read_more(fd, &in));
    assert_null(strstr(in.data, "\"name\":\"slow\"")); /* the fast one did not wait for it */
    while (!strstr(in.data, "\r\n0\r\n\r\n"))
        assert_true(read_more(fd, &in));
    assert_non_null(strstr(in.data, "\"name\":\"slow\""));
    buf_done(&in);
    snprintf(line, sizeof(line), "GET /v1/batches/%s/results?after=1", id);
    in = (struct buf){ 0 };
    send_request(fd, line, "", NULL, 0);
    while (!in.n || !strstr(in.data, "\r\n0\r\n\r\n"))
        assert_true(read_more(fd, &in));
    assert_null(strstr(in.data, "\"name\":\"fast\""));
    assert_non_null(strstr(in.data, "\"name\":\"slow\""));
    buf_done(&in);
    send_request(fd, "GET /v1/batches/018bcfe5-6800-7000-8000-000000000001/results", "", NULL, 0);
    assert_status(fd, 404, NULL);
    free(id);
    close(fd);
}

static void clients_that_vanish_are_let_go(void **state)
{
    static const char job[] = "{\"kind\":\"delivery\",\"wait\":100}";
    unsigned before;
    char *id, line[128];
    struct answer a;
    int fd;

    (void)state;
    before = server_descriptors();
    for (int reset = 0; reset < 2; reset++) {
        fd = dial();
        send_json(fd, "POST /v1/jobs?wait=60s", job);
        wait_for_descriptors(before + 1);
        nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
        if (reset)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
        close(fd);
        wait_for_descriptors(before);
    }
    fd = dial();
    send_json(fd, "POST /v1/batches", "{\"jobs\":[{\"kind\":\"delivery\",\"wait\":100}]}");
    a = read_answer(fd);
    id = text_between(a.body, "\"id\":\"");
    answer_done(&a);
    snprintf(line, sizeof(line), "GET /v1/batches/%s/results", id);
    send_request(fd, line, "", NULL, 0);
    {
        struct buf in = { 0 };

        while (!in.n || !strstr(in.data, "\r\n\r\n"))
            assert_true(read_more(fd, &in));
        buf_done(&in);
    }
    close(fd);
    wait_for_descriptors(before);
    free(id);
}

static void slow_heads_are_cut_off(void **state)
{
    int64_t start_us = clock_mono_us();
    int fd = dial();
    char *text;

    (void)state;
    send_text(fd, "GET /livez HTTP/1.1\r\nHost: 127");
    text = read_to_end(fd);
    assert_int_equal(strncmp(text, "HTTP/1.1 408 ", 13), 0);
    assert_true(clock_mono_us() - start_us >= 450000);
    free(text);
    close(fd);
    fd = dial(); /* says nothing at all */
    free(read_to_end(fd));
    close(fd);
}

static void a_thousand_clients_wait_at_no_cost(void **state)
{
    enum { N = 1000 };
    static const char job[] = "{\"kind\":\"delivery\",\"wait\":2.5}";
    int fds[N];
    int64_t cpu_us;

    (void)state;
    for (int i = 0; i < N; i++) {
        fds[i] = dial();
        send_json(fds[i], "POST /v1/jobs?wait=60s", job);
    }
    while (listed("&state=pending", "\"wait_ms\":2500") < N)
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    cpu_us = server_cpu_us();
    nanosleep(&(struct timespec){ .tv_nsec = 500000000 }, NULL);
    assert_true(server_cpu_us() - cpu_us <= 100000);
    for (int i = 0; i < N; i++) {
        assert_status(fds[i], 200, "\"state\":\"succeeded\"");
        close(fds[i]);
    }
}

static void unix_sockets_take_any_host(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    strcpy(address.sun_path, server.path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    send_text(fd, "GET /readyz HTTP/1.1\r\nHost: whoever\r\n\r\n");
    assert_status(fd, 200, "ready");
    send_text(fd, "GET /readyz HTTP/1.1\r\nHost: whoever\r\nOrigin: http://evil\r\n\r\n");
    assert_status(fd, 403, NULL);
    close(fd);
}

/* The rest start servers of their own. */

static void too_many_connections_are_told_so(void **state)
{
    enum { LIMIT = 10, N = 30 };
    unsigned served = 0, refused = 0;
    int fds[N];

    (void)state;
    start(&(struct server_fixture_options){ .max_connections = LIMIT });
    for (int i = 0; i < N; i++) {
        fds[i] = dial();
        send_request(fds[i], "GET /livez", "", NULL, 0);
    }
    for (int i = 0; i < N; i++) {
        struct answer a = read_answer(fds[i]);

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
    start(&(struct server_fixture_options){ .descriptors = 48 });
    for (int i = 0; i < N; i++) {
        fds[i] = dial();
        send_request(fds[i], "GET /livez", "", NULL, 0);
    }
    for (int i = 0; i < N; i++) {
        struct answer a = read_answer(fds[i]);

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
    start(&(struct server_fixture_options){ 0 });
    idle = dial();
    uploading = dial();
    send_request(uploading, "POST /v1/jobs",
            "Content-Type: application/x-ndjson\r\nContent-Length: 500\r\n", NULL, 0);
    send_text(uploading, "{\"kind\":\"delivery\"}\n{");
    stream = dial();
    send_json(stream, "POST /v1/batches", "{\"jobs\":[{\"kind\":\"delivery\",\"wait\":100}]}");
    a = read_answer(stream);
    id = text_between(a.body, "\"id\":\"");
    answer_done(&a);
    snprintf(line, sizeof(line), "GET /v1/batches/%s/results", id);
    send_request(stream, line, "", NULL, 0);
    while (!in.n || !strstr(in.data, "\r\n\r\n"))
        assert_true(read_more(stream, &in));
    for (int i = 0; i < N; i++) {
        fds[i] = dial();
        send_json(fds[i], "POST /v1/jobs?wait=60s",
                "{\"kind\":\"delivery\",\"name\":\"waits\",\"wait\":100}");
    }
    while (listed("", "\"name\":\"waits\"") < N)
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    start_us = clock_mono_us();
    assert_int_equal(server_fixture_stop(&server), 0);
    assert_true(clock_mono_us() - start_us < 4000000);
    for (int i = 0; i < N; i++) {
        a = read_answer(fds[i]);
        assert_int_equal(a.status, 202);
        assert_non_null(strstr(a.head, "Connection: close\r\n"));
        answer_done(&a);
        close(fds[i]);
    }
    while (read_more(stream, &in))
        ;
    assert_null(strstr(in.data, "\r\n0\r\n\r\n")); /* cut, not ended: there would be more */
    assert_null(read_to_end(idle));
    buf_done(&in);
    free(id);
    close(idle);
    close(uploading);
    close(stream);
}

int main(void)
{
    const struct CMUnitTest shared[] = {
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
        cmocka_unit_test(lines_are_answered_one_by_one),
        cmocka_unit_test(lines_are_bounded),
        cmocka_unit_test(a_cut_off_upload_leaves_whole_lines),
        cmocka_unit_test(batches_are_awaited_listed_and_cancelled),
        cmocka_unit_test(results_arrive_as_jobs_finish),
        cmocka_unit_test(clients_that_vanish_are_let_go),
        cmocka_unit_test(slow_heads_are_cut_off),
        cmocka_unit_test(a_thousand_clients_wait_at_no_cost),
        cmocka_unit_test(unix_sockets_take_any_host),
    };
    const struct CMUnitTest own[] = {
        cmocka_unit_test(too_many_connections_are_told_so),
        cmocka_unit_test(no_descriptors_left_is_told_too),
        cmocka_unit_test(a_stop_answers_those_who_wait),
    };
    int failed = cmocka_run_group_tests(shared, setup, teardown);

    return failed + cmocka_run_group_tests(own, NULL, NULL);
}
