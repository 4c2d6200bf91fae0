/* NDJSON uploads over real sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/api/client.h"

#define LARGE_BYTES    70000 /* more than is parsed on the loop */
#define LARGE_LINES    12
#define LARGE_AT_FAULT 8
#define SMALL_LINES    150

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
    client_send_request(
            fd, "POST /v1/jobs", "Content-Type: application/x-ndjson\r\n", lines, strlen(lines));
    return client_read_answer(fd);
}

static void lines_are_answered_one_by_one(void **state)
{
    char *lines = fetch_lines(1000,
            "\r\n   \n{\"kind\":\"fetch\"}\nnonsense\n{\"kind\":\"fetch\",\"url\":\"http://last/\"}");
    int fd = client_dial();
    struct answer a = post_lines(fd, lines);
    char *tail;

    (void)state;
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.head, "Content-Type: application/x-ndjson\r\n"));
    assert_int_equal(text_count(a.body, "\n"), 1003);
    assert_int_equal(text_count(a.body, "{\"status\":202,\"id\":\""), 1001);
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
            strstr(a.body, "{\"status\":507,\"errors\":[{\"detail\":\"the disk has too little "));
    answer_done(&a);
    free(lines);
    close(fd);
}

static void lines_are_bounded(void **state)
{
    char *lines = fetch_lines(3010, ""), *long_line = malloc(150100);
    int fd = client_dial();
    struct answer a = post_lines(fd, lines);

    (void)state;
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.head, "Connection: close\r\n"));
    assert_int_equal(text_count(a.body, "\"status\":202"), 3000);
    assert_int_equal(text_count(a.body, "\"status\":413"), 1);
    answer_done(&a);
    close(fd);

    fd = client_dial();
    memset(long_line, 'x', 150000);
    strcpy(long_line + 150000, "\n{\"kind\":\"delivery\"}");
    a = post_lines(fd, long_line);
    assert_int_equal(a.status, 200);
    assert_int_equal(text_count(a.body, "\n"), 2);
    assert_int_equal(strncmp(a.body, "{\"status\":413", 13), 0);
    assert_int_equal(text_count(a.body, "\"status\":202"), 1);
    answer_done(&a);
    close(fd);

    fd = client_dial();
    memset(long_line, ' ', 90000); /* parsed on a pool thread */
    strcpy(long_line + 90000, "{\"kind\":\"delivery\"}\n{\"kind\":\"delivery\"}");
    a = post_lines(fd, long_line);
    assert_int_equal(text_count(a.body, "\"status\":202"), 2);
    answer_done(&a);
    close(fd);
    free(lines);
    free(long_line);
}

/*
 * Large lines are parsed on pool threads while the small ones before them are being submitted:
 * a thread sanitizer sees who touches what.
 */
static void large_lines_come_among_small_ones(void **state)
{
    struct buf lines = { 0 };
    char *large = malloc(LARGE_BYTES + 1), *refused;
    int fd = client_dial();
    struct answer a;

    (void)state;
    memset(large, 'b', LARGE_BYTES);
    large[LARGE_BYTES] = 0;
    for (unsigned i = 0; i < LARGE_LINES; i++) {
        for (unsigned k = 0; k < SMALL_LINES; k++)
            assert_int_equal(buf_append_str(&lines, "{\"kind\":\"delivery\"}\n"), 0);
        /* One of them is at fault. */
        assert_int_equal(
                buf_printf(&lines, "{\"kind\":\"fetch\",\"%s\":\"http://large/\",%s%s\"}\n",
                        i == LARGE_AT_FAULT ? "uri" : "url", "\"method\":\"POST\",\"body\":\"",
                        large),
                0);
    }
    assert_int_equal(buf_append(&lines, "", 1), 0);
    a = post_lines(fd, lines.data);
    assert_int_equal(a.status, 200);
    assert_int_equal(text_count(a.body, "\n"), LARGE_LINES * (SMALL_LINES + 1));
    assert_int_equal(text_count(a.body, "\"status\":202"), LARGE_LINES * (SMALL_LINES + 1) - 1);
    refused = strstr(a.body, "{\"status\":422");
    assert_non_null(refused);
    *refused = 0;
    assert_int_equal(text_count(a.body, "\n"), (LARGE_AT_FAULT + 1) * (SMALL_LINES + 1) - 1);
    answer_done(&a);
    close(fd);
    buf_done(&lines);
    free(large);
}

static void a_cut_off_upload_leaves_whole_lines(void **state)
{
    char *lines = fetch_lines(1500, "{\"kind\":\"fet");
    unsigned before = client_listed("", "\"lane\":\"http://x\"");
    int fd = client_dial();

    (void)state;
    client_send_request(fd, "POST /v1/jobs",
            "Content-Type: application/x-ndjson\r\nContent-Length: 900000\r\n", NULL, 0);
    client_send_all(fd, lines, strlen(lines));
    close(fd);
    for (int i = 0; i < 500 && client_listed("", "\"lane\":\"http://x\"") < before + 1500; i++)
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    assert_int_equal(client_listed("", "\"lane\":\"http://x\""), before + 1500);
    server_expect_descriptors(server_idle_descriptors);
    free(lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_answered_one_by_one),
        cmocka_unit_test(lines_are_bounded),
        cmocka_unit_test(large_lines_come_among_small_ones),
        cmocka_unit_test(a_cut_off_upload_leaves_whole_lines),
    };

    return cmocka_run_group_tests(tests, client_setup, client_teardown);
}
