#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/render.h"

#define T0 1700000000000000LL

static char *rendered(const struct job *j, bool full, const struct store_body *body)
{
    struct buf out = { 0 };
    json_t *value = render_job(j, &(struct render_job){ .full = full, .body = body });

    assert_int_equal(shape_write(value, &out), 0);
    json_decref(value);
    assert_int_equal(buf_append(&out, "", 1), 0);
    return out.data;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no %s in %s", part, text);
}

static void a_new_job_has_every_field(void **state)
{
    struct job j = { .id = { .key = 0x18bcfe56800000, .tail = 1 },
        .spec = { .kind = JOB_DELIVERY, .wait_us = 900000 },
        .step = STEP_DELIVER,
        .created_us = T0,
        .due_us = T0 };
    char *text = rendered(&j, true, NULL);

    (void)state;
    assert_string_equal(text,
            "{\"id\":\"018bcfe5-6800-7000-8000-000000000001\",\"kind\":\"delivery\",\"name\":null,"
            "\"state\":\"pending\",\"step\":\"deliver\",\"batch\":null,\"index\":null,\"lane\":null,"
            "\"labels\":{},\"priority\":0,\"executor\":\"coroutine\",\"request\":null,\"wait_ms\":900.0,\"created_at\":"
            "\"2023-11-14T22:13:20.000000Z\",\"due_at\":\"2023-11-14T22:13:20.000000Z\","
            "\"started_at\":null,\"finished_at\":null,\"queued_ms\":null,\"run_ms\":null,"
            "\"total_ms\":null,\"attempts\":[],\"events\":[],\"result\":null,\"error\":null}");
    free(text);
}

static void an_ended_fetch_shows_its_story(void **state)
{
    struct attempt attempt = { .n = 1,
        .url = (char *)"http://a/",
        .method = (char *)"POST",
        .started_us = T0 + 5000,
        .lane_wait_us = 1500,
        .dns_us = PHASE_NOT_TAKEN,
        .connect_us = 120,
        .tls_us = PHASE_NOT_TAKEN,
        .send_us = 10,
        .first_byte_us = 2000,
        .receive_us = 5,
        .total_us = 2135,
        .http_version = 11,
        .remote = "192.0.2.1:80",
        .reached = PHASE_RESPONSE,
        .status = 500 };
    struct job j = { .id = { 1, 1 },
        .spec = { .kind = JOB_FETCH,
                .request = { .url = (char *)"http://a/",
                        .origin = (char *)"http://a:80",
                        .method = (char *)"POST",
                        .body_bytes = 3 },
                .executor = EXECUTOR_PROCESS },
        .batch = { 2, 2 },
        .index = 4,
        .state = JOB_FAILED,
        .created_us = T0,
        .due_us = T0,
        .started_us = T0 + 5000,
        .finished_us = T0 + 10000,
        .attempts = &attempt,
        .n_attempts = 1,
        .result = { .status = 500, .body_bytes = 2, .body_type = (char *)"text/plain" },
        .error = { .failure = FAILURE_UNEXPECTED_STATUS,
                .phase = PHASE_RESPONSE,
                .message = (char *)"status 500" } };
    struct store_body body = { .body = { .bytes = 2, .data = (char *)"\xff\x00" } };
    char *text;

    (void)state;
    pack_header(&j.spec.request.headers, "authorization", "secret");
    pack_header(&j.spec.request.headers, "accept", "a");
    pack_header(&j.spec.request.headers, "x-token", "secret");
    pack_header(&j.spec.request.headers, "accept", "b");
    pack_header(&j.result.headers, "set-cookie", "shown");
    text = rendered(&j, true, &body);
    assert_null(strstr(text, "secret"));
    assert_has(text, "\"headers\":{\"authorization\":[\"***\"],\"accept\":[\"a\",\"b\"],"
                     "\"x-token\":[\"***\"]},\"body_bytes\":3}");
    assert_has(text, "\"index\":4,\"lane\":\"http://a:80\"");
    assert_has(text, "\"priority\":0,\"executor\":\"process\",\"request\":{");
    assert_has(text, "\"queued_ms\":5.0,\"run_ms\":5.0,\"total_ms\":10.0");
    assert_has(text, "\"lane_wait_ms\":1.5,\"dns_ms\":null,\"connect_ms\":0.12,\"tls_ms\":null");
    assert_has(text, "\"http_version\":\"1.1\",\"remote\":\"192.0.2.1:80\"");
    assert_has(text, "\"reached\":\"response\",\"status\":500,\"error\":null}]");
    assert_has(text, "\"result\":{\"status\":500,\"headers\":{\"set-cookie\":[\"shown\"]},"
                     "\"body_bytes\":2,\"body_type\":\"text/plain\",\"truncated\":false,"
                     "\"body\":{\"base64\":\"/wA=\"}}");
    assert_has(text, "\"error\":{\"phase\":\"response\",\"code\":\"unexpected_status\","
                     "\"message\":\"status 500\",\"retry_safe\":false}}");
    free(text);
    text = rendered(&j, false, NULL);
    assert_has(text, "\"attempts\":null,\"events\":null,\"result\":{\"status\":500,"
                     "\"headers\":null,");
    free(text);
    blob_done(&j.spec.request.headers);
    blob_done(&j.result.headers);
}

static void bodies_are_text_where_they_can_be(void **state)
{
    struct job j = { .id = { 1, 1 }, .result = { .status = 200 } };
    struct store_body text_body = { .body = { .bytes = 3, .data = (char *)"h\xc3\xa9" } },
                      empty = { 0 }, file = { .body = { .bytes = 100000, .file = "f" } };
    char *text = rendered(&j, true, &text_body);

    (void)state;
    assert_has(text, "\"body\":\"h\xc3\xa9\"");
    free(text);
    text = rendered(&j, true, &empty);
    assert_has(text, "\"body\":\"\"");
    free(text);
    text = rendered(&j, true, &file);
    assert_has(text, "\"body\":null");
    free(text);
}

static void a_batch_tells_its_speedup(void **state)
{
    struct batch b = { .id = { 1, 1 },
        .run = BATCH_GATHER,
        .state = BATCH_SUCCEEDED,
        .total = 3,
        .counts = { [JOB_SUCCEEDED] = 3 },
        .created_us = T0,
        .finished_us = T0 + 900000,
        .work_us = 1800000 };
    struct buf out = { 0 };

    (void)state;
    assert_int_equal(shape_write_line(render_batch(&b, T0 + 5000000), &out), 0);
    b.state = BATCH_RUNNING;
    assert_int_equal(shape_write_line(render_batch(&b, T0 + 3600000), &out), 0);
    assert_int_equal(buf_append(&out, "", 1), 0);
    assert_has(out.data, "\"finished_at\":\"2023-11-14T22:13:20.900000Z\",\"elapsed_ms\":900.0,"
                         "\"work_ms\":1800.0,\"speedup\":2.0}");
    assert_has(out.data, "\"state\":\"running\",\"concurrency\":null,\"on_error\":\"continue\","
                         "\"counts\":{\"total\":3,\"pending\":0,\"running\":0,\"waiting\":0,"
                         "\"succeeded\":3,\"failed\":0,\"cancelled\":0}");
    assert_has(out.data,
            "\"finished_at\":null,\"elapsed_ms\":3600.0,\"work_ms\":1800.0,\"speedup\":0.5");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_job_has_every_field),
        cmocka_unit_test(an_ended_fetch_shows_its_story),
        cmocka_unit_test(bodies_are_text_where_they_can_be),
        cmocka_unit_test(a_batch_tells_its_speedup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
