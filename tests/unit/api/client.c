#include "tests/unit/api/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_TIMEOUT_MS 30000

struct server_fixture server;
char host_line[64];
unsigned server_idle_descriptors;

char *text_between(const char *text, const char *before)
{
    const char *from = strstr(text, before);

    assert_non_null(from);
    from += strlen(before);
    return strndup(from, strcspn(from, "\""));
}

unsigned text_count(const char *text, const char *part)
{
    unsigned n = 0;

    for (; (text = strstr(text, part)); text += strlen(part))
        n++;
    return n;
}

int client_dial(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
        .sin_port = htons((uint16_t)server.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

void client_send_all(int fd, const void *data, size_t n)
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

void client_send_text(int fd, const char *text)
{
    client_send_all(fd, text, strlen(text));
}

void client_send_request(
        int fd, const char *line, const char *headers, const char *body, size_t body_n)
{
    char head[4096];
    int n = snprintf(head, sizeof(head), "%s HTTP/1.1\r\n%s%s", line, host_line, headers);

    if (body)
        n += snprintf(head + n, sizeof(head) - (size_t)n, "Content-Length: %zu\r\n", body_n);
    n += snprintf(head + n, sizeof(head) - (size_t)n, "\r\n");
    client_send_all(fd, head, (size_t)n);
    if (body)
        client_send_all(fd, body, body_n);
}

void client_send_json(int fd, const char *line, const char *body)
{
    client_send_request(fd, line, "Content-Type: application/json\r\n", body, strlen(body));
}

bool client_read_more(int fd, struct buf *in)
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

void answer_done(struct answer *a)
{
    free(a->head);
    free(a->body);
}

struct answer client_read_next(int fd, struct buf *in, bool head_only)
{
    struct answer a = { 0 };
    char *end = NULL, *length;
    size_t head_n, body_n = 0;

    while (!in->n || !(end = strstr(in->data, "\r\n\r\n")))
        if (!client_read_more(fd, in))
            fail_msg("the connection ended in a head: %.*s", (int)in->n, in->data);
    head_n = (size_t)(end - in->data) + 4;
    a.head = strndup(in->data, head_n);
    assert_int_equal(sscanf(a.head, "HTTP/1.1 %u ", &a.status), 1);
    if (a.status == 100) {
        free(a.head);
        buf_consume(in, head_n);
        in->data[in->n] = 0;
        return client_read_next(fd, in, head_only);
    }
    length = strstr(a.head, "Content-Length: ");
    assert_non_null(length);
    if (!head_only)
        body_n = strtoul(length + 16, NULL, 10);
    while (in->n < head_n + body_n)
        if (!client_read_more(fd, in))
            fail_msg("the connection ended in a body");
    a.body = malloc(body_n + 1);
    memcpy(a.body, in->data + head_n, body_n);
    a.body[body_n] = 0;
    buf_consume(in, head_n + body_n);
    in->data[in->n] = 0;
    return a;
}

struct answer client_read_answer(int fd)
{
    struct buf in = { 0 };
    struct answer a = client_read_next(fd, &in, false);

    assert_int_equal(in.n, 0);
    buf_done(&in);
    return a;
}

char *client_read_to_end(int fd)
{
    struct buf in = { 0 };

    while (client_read_more(fd, &in))
        ;
    if (in.n == 0)
        buf_done(&in);
    return in.data;
}

void client_expect(int fd, unsigned status, const char *part)
{
    struct answer a = client_read_answer(fd);

    if (a.status != status || (part && !strstr(a.body, part)))
        fail_msg("wanted %u with %s, got %s%s", status, part ? part : "anything", a.head, a.body);
    answer_done(&a);
}

unsigned client_listed(const char *query, const char *part)
{
    char line[256], *next = strdup("");
    unsigned n = 0;
    int fd = client_dial();

    do {
        struct answer a;

        snprintf(line, sizeof(line), "GET /v1/jobs?limit=700%s%s%s", query, *next ? "&cursor=" : "",
                next);
        free(next);
        client_send_request(fd, line, "", NULL, 0);
        a = client_read_answer(fd);
        assert_int_equal(a.status, 200);
        n += text_count(a.body, part);
        next = strstr(a.body, "\"next_cursor\":\"") ? text_between(a.body, "\"next_cursor\":\"")
                                                    : strdup("");
        assert_int_equal(*next != 0, strstr(a.head, "Link: <") != NULL);
        answer_done(&a);
    } while (*next);
    free(next);
    close(fd);
    return n;
}

unsigned server_descriptors(void)
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

void server_expect_descriptors(unsigned n)
{
    for (int i = 0; i < 3000 && server_descriptors() != n; i++)
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    assert_int_equal(server_descriptors(), n);
}

int64_t server_cpu_us(void)
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

int client_start_server(const struct server_fixture_options *options)
{
    server_fixture_start(&server, options);
    snprintf(host_line, sizeof(host_line), "Host: 127.0.0.1:%u\r\n", server.port);
    return 0;
}

int client_setup(void **state)
{
    int fd;

    (void)state;
    client_start_server(&(struct server_fixture_options){ .max_connections = 2000,
            .max_lines = 3000,
            .max_body_bytes = 100000,
            .max_bulk_bytes = 1000000,
            .header_timeout_us = 1000000 });
    fd = client_dial();
    client_send_request(fd, "GET /livez", "", NULL, 0);
    client_expect(fd, 200, NULL);
    server_idle_descriptors = server_descriptors() - 1;
    close(fd);
    return 0;
}

int client_teardown(void **state)
{
    (void)state;
    return server_fixture_stop(&server);
}
