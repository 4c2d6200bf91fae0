/* What is said when there is no room: which limit it is, and when to come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "tests/unit/api/client.h"
#include "tests/unit/api/fake_service.h"

static const struct refusal {
    const char *name; /* the fake's */
    unsigned status, again_s;
    const char *key;
} refusals[] = {
    { "queue full", 503, 7, "store.max_jobs" },
    { "too many origins", 503, 8, "scheduler.max_lanes" },
    { "shutting down", 503, 9, "shutting down" },
    { "disk full", 507, 31, "store.min_free" },
};

#define SHUTTING_DOWN 2 /* of these */

static void expect_header(const struct answer *a, const char *name, unsigned value)
{
    char header[64];

    snprintf(header, sizeof(header), "%s: %u\r\n", name, value);
    assert_non_null(strstr(a->head, header));
}

static void a_refusal_names_its_limit(void **state)
{
    int fd = client_dial();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        static const char *const paths[] = { "POST /v1/jobs", "POST /v1/batches" };
        char body[256];

        for (size_t k = 0; k < ARRAY_LEN(paths); k++) {
            struct answer a;

            snprintf(body, sizeof(body), "%s{\"kind\":\"delivery\",\"name\":\"%s\"}%s",
                    k ? "{\"jobs\":[" : "", refusals[i].name, k ? "]}" : "");
            client_send_json(fd, paths[k], body);
            a = client_read_answer(fd);
            assert_int_equal(a.status, refusals[i].status);
            assert_non_null(strstr(a.body, refusals[i].key));
            expect_header(&a, "Retry-After", refusals[i].again_s);
            /* Who is told that the daemon stops has to go elsewhere. */
            assert_int_equal(strstr(a.head, "Connection: close\r\n") != NULL, i == SHUTTING_DOWN);
            answer_done(&a);
            if (i == SHUTTING_DOWN) {
                close(fd);
                fd = client_dial();
            }
        }
    }
    close(fd);
}

static void a_refused_line_says_when_to_come_back(void **state)
{
    int fd = client_dial();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        char lines[256], wanted[64];
        struct answer a;

        snprintf(lines, sizeof(lines),
                "{\"kind\":\"delivery\",\"name\":\"%s\"}\n{\"kind\":\"delivery\"}\n{}\n",
                refusals[i].name);
        client_send_request(fd, "POST /v1/jobs", "Content-Type: application/x-ndjson\r\n", lines,
                strlen(lines));
        a = client_read_answer(fd);
        assert_int_equal(a.status, 200);
        expect_header(&a, "Retry-After", refusals[i].again_s);
        snprintf(wanted, sizeof(wanted), "\"retry_after_s\":%u}\n", refusals[i].again_s);
        assert_int_equal(text_count(a.body, wanted), 2);
        assert_int_equal(text_count(a.body, refusals[i].key), 2);
        answer_done(&a);
    }
    client_send_request(fd, "POST /v1/jobs", "Content-Type: application/x-ndjson\r\n", "{}", 2);
    {
        struct answer a = client_read_answer(fd);

        assert_null(strstr(a.head, "Retry-After"));
        assert_null(strstr(a.body, "retry_after_s"));
        answer_done(&a);
    }
    close(fd);
}

static void one_backup_at_a_time(void **state)
{
    int fd = client_dial(), other = client_dial();
    struct answer a;

    (void)state;
    client_send_request(fd, "POST /v1/admin/backup", "", NULL, 0);
    client_send_request(other, "GET /v1/admin/backup", "", NULL, 0);
    client_expect(other, 405, NULL);
    client_send_request(other, "POST /v1/admin/backup", "", NULL, 0);
    client_expect(other, 409, "a backup is being made already");
    a = client_read_answer(fd);
    assert_int_equal(a.status, 201);
    assert_string_equal(a.body, "{\"path\":\"/var/backups/1\",\"bytes\":4096}\n");
    answer_done(&a);
    client_send_request(fd, "POST /v1/admin/backup", "", "", 0);
    client_expect(fd, 507, "store.min_free");
    close(other);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_names_its_limit),
        cmocka_unit_test(a_refused_line_says_when_to_come_back),
        cmocka_unit_test(one_backup_at_a_time),
    };

    return cmocka_run_group_tests(tests, client_setup, client_teardown);
}
