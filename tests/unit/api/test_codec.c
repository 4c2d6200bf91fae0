#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/codec.h"
#include "tests/unit/api/fake_service.h"

static int setup(void **state)
{
    *state = fake_service_new(-1);
    return 0;
}

static int teardown(void **state)
{
    fake_service_free(*state);
    return 0;
}

static struct job_spec good_job(void **state, const char *text)
{
    struct service_rules *rules = service_rules_ref(*state);
    struct faults faults = { 0 };
    struct job_spec spec = { 0 };
    int rc = codec_job(text, strlen(text), NULL, rules, &spec, &faults);

    if (rc < 0)
        print_error("%s\n", faults.n ? faults.list[0].detail : "?");
    assert_int_equal(rc, 0);
    service_rules_unref(rules);
    return spec;
}

/* The faults of a job as "pointer: detail" lines; the rc. */
static int bad_job(void **state, const char *text, char *ret, size_t size)
{
    struct service_rules *rules = service_rules_ref(*state);
    struct faults faults = { 0 };
    struct job_spec spec = { .kind = 77 };
    int rc = codec_job(text, strlen(text), NULL, rules, &spec, &faults);
    size_t n = 0;

    assert_true(rc < 0);
    assert_true(faults_any(&faults));
    assert_int_equal(spec.kind, 77);
    ret[0] = 0;
    for (size_t i = 0; i < faults.n && n < size; i++)
        n += (size_t)snprintf(ret + n, size - n, "%s: %s\n",
                faults.list[i].pointer ? faults.list[i].pointer : "-", faults.list[i].detail);
    faults_done(&faults);
    service_rules_unref(rules);
    return rc;
}

static void assert_fault(void **state, const char *text, const char *pointer)
{
    char got[4096], wanted[256];

    assert_int_equal(bad_job(state, text, got, sizeof(got)), -EINVAL);
    snprintf(wanted, sizeof(wanted), "%s: ", pointer);
    if (strncmp(got, wanted, strlen(wanted)) != 0 || strchr(got, '\n')[1] != 0)
        fail_msg("%s\nwanted one fault at %s, got\n%s", text, pointer, got);
}

#define FETCH(more) "{\"kind\":\"fetch\",\"url\":\"http://a/\"" more "}"

static void a_fetch_has_defaults(void **state)
{
    struct job_spec s = good_job(state, FETCH(""));

    assert_int_equal(s.kind, JOB_FETCH);
    assert_string_equal(s.request.url, "http://a/");
    assert_string_equal(s.request.origin, "http://a");
    assert_string_equal(s.request.method, "GET");
    assert_int_equal(s.request.body_bytes, 0);
    assert_int_equal(s.timeout_us, 30000000);
    assert_int_equal(s.deadline_us, 0);
    assert_int_equal(s.attempts, 1);
    assert_int_equal(s.redirects, 5);
    assert_int_equal(s.expect.n, 1);
    assert_int_equal(s.expect.range[0].first, 200);
    assert_int_equal(s.expect.range[0].last, 299);
    assert_true(s.idempotent);
    assert_int_equal(s.on_unknown, UNKNOWN_RETRY);
    assert_int_equal(s.executor, EXECUTOR_COROUTINE);
    job_spec_done(&s);
}

static void every_key_is_read(void **state)
{
    struct job_spec s = good_job(state,
            FETCH(",\"method\":\"POST\",\"headers\":{\"Accept\":\"*/*\",\"X-A\":[\"1\",\" 2 "
                  "\"]},\"body\":\"h\\u00e9\",\"timeout\":\"250ms\",\"deadline\":600,\"max_body\":"
                  "\"64KiB\",\"redirects\":0,\"expect\":[\"2xx\",404],\"retry\":{\"attempts\":7,"
                  "\"backoff\":\"2s\",\"max_backoff\":\"1min\"},\"delay\":\"10s\",\"name\":\"front "
                  "page\",\"labels\":{\"team\":\"a\"},\"priority\":-5,\"on_unknown\":\"retry\","
                  "\"idempotent\":false"));

    assert_string_equal(s.request.method, "POST");
    assert_string_equal(pack_header_find(&s.request.headers, "accept"), "*/*");
    assert_string_equal(pack_header_find(&s.request.headers, "x-a"), "1");
    assert_null(pack_header_find(&s.request.headers, "content-type"));
    assert_int_equal(s.request.body_bytes, 3);
    assert_memory_equal(s.request.body.data, "h\xc3\xa9", 3);
    assert_int_equal(s.timeout_us, 250000);
    assert_int_equal(s.deadline_us, 600000000);
    assert_int_equal(s.max_body_bytes, 65536);
    assert_int_equal(s.redirects, 0);
    assert_int_equal(s.expect.n, 2);
    assert_int_equal(s.expect.range[1].last, 404);
    assert_int_equal(s.attempts, 7);
    assert_int_equal(s.backoff_us, 2000000);
    assert_int_equal(s.max_backoff_us, 60000000);
    assert_int_equal(s.delay_us, 10000000);
    assert_string_equal(s.name, "front page");
    assert_int_equal(s.n_labels, 1);
    assert_string_equal(s.labels[0].value, "a");
    assert_int_equal(s.priority, -5);
    assert_int_equal(s.on_unknown, UNKNOWN_RETRY);
    assert_false(s.idempotent);
    job_spec_done(&s);
}

static void a_delivery_posts_waits_and_collects(void **state)
{
    struct job_spec s = good_job(state,
            "{\"kind\":\"delivery\",\"url\":\"https://b/hook\",\"payload\":{\"z\":1.10,\"a\":[true,"
            "null,\"\\u00e9\"]},\"wait\":\"9s\",\"collect\":{\"url\":\"http://c/\"},\"at\":\"2030-"
            "01-31T10:30:00+01:00\"}");

    assert_string_equal(s.request.method, "POST");
    assert_memory_equal(
            s.request.body.data, "{\"z\":1.1,\"a\":[true,null,\"\xc3\xa9\"]}", s.request.body.n);
    assert_string_equal(pack_header_find(&s.request.headers, "content-type"), "application/json");
    assert_int_equal(s.wait_us, 9000000);
    assert_string_equal(s.collect.method, "GET");
    assert_string_equal(s.collect.origin, "http://c");
    assert_int_equal(s.attempts, 3);
    assert_int_equal(s.redirects, 0);
    assert_false(s.idempotent);
    assert_int_equal(s.on_unknown, UNKNOWN_RETRY);
    assert_true(s.at_us > 0);
    job_spec_done(&s);

    s = good_job(state, "{\"kind\":\"delivery\",\"name\":\"A\",\"wait\":0.9}");
    assert_null(s.request.url);
    assert_null(s.collect.url);
    assert_int_equal(s.wait_us, 900000);
    job_spec_done(&s);

    s = good_job(
            state, "{\"kind\":\"delivery\",\"collect\":{\"url\":\"http://c/\",\"payload\":7}}");
    assert_string_equal(s.collect.method, "POST");
    assert_memory_equal(s.collect.body.data, "7", 1);
    job_spec_done(&s);
}

static void bodies_come_in_three_forms(void **state)
{
    struct job_spec s = good_job(state, FETCH(",\"body\":{\"base64\":\"AP8=\"}"));

    assert_int_equal(s.request.body_bytes, 2);
    assert_memory_equal(s.request.body.data, "\x00\xff", 2);
    job_spec_done(&s);
    s = good_job(state,
            FETCH(",\"headers\":{\"Content-Type\":\"application/vnd.x+json\"},\"body\":{\"json\":"
                  "[1, 2]}"));
    assert_memory_equal(s.request.body.data, "[1,2]", 5);
    assert_string_equal(
            pack_header_find(&s.request.headers, "content-type"), "application/vnd.x+json");
    job_spec_done(&s);
    s = good_job(state, FETCH(",\"body\":{\"text\":\"x\"}"));
    assert_memory_equal(s.request.body.data, "x", 1);
    job_spec_done(&s);
}

static void unknown_outcomes_follow_the_method(void **state)
{
    struct job_spec s = good_job(state, FETCH(",\"method\":\"POST\""));

    assert_int_equal(s.on_unknown, UNKNOWN_FAIL);
    assert_false(s.idempotent);
    job_spec_done(&s);
    s = good_job(state, FETCH(",\"method\":\"POST\",\"idempotent\":true"));
    assert_int_equal(s.on_unknown, UNKNOWN_RETRY);
    assert_true(s.idempotent);
    job_spec_done(&s);
    s = good_job(state, FETCH(",\"on_unknown\":\"fail\""));
    assert_int_equal(s.on_unknown, UNKNOWN_FAIL);
    job_spec_done(&s);
}

static void each_executor_is_read_by_name(void **state)
{
    static const char *const jobs[EXECUTOR_MAX] = {
        [EXECUTOR_COROUTINE] = FETCH(",\"executor\":\"coroutine\""),
        [EXECUTOR_THREAD] = FETCH(",\"executor\":\"thread\""),
        [EXECUTOR_PROCESS] = "{\"kind\":\"delivery\",\"executor\":\"process\"}",
    };
    char got[4096];

    for (int x = 0; x < EXECUTOR_MAX; x++) {
        struct job_spec s = good_job(state, jobs[x]);

        assert_int_equal(s.executor, x);
        assert_int_equal(executor_from_text(executor_name(s.executor)), x);
        job_spec_done(&s);
    }
    bad_job(state, FETCH(",\"executor\":\"fiber\""), got, sizeof(got));
    assert_string_equal(got, "/executor: must be \"coroutine\", \"thread\" or \"process\"\n");
}

static void single_mistakes_have_their_pointer(void **state)
{
    static const struct {
        const char *job, *pointer;
    } cases[] = {
        { "[]", "" },
        { "\"x\"", "" },
        { "{}", "/kind" },
        { "{\"kind\":\"cron\"}", "/kind" },
        { "{\"kind\":1}", "/kind" },
        { "{\"kind\":\"fetch\"}", "/url" },
        { "{\"kind\":\"fetch\",\"url\":7}", "/url" },
        { "{\"kind\":\"fetch\",\"url\":\"ftp://a/\"}", "/url" },
        { "{\"kind\":\"fetch\",\"url\":\"http://10.0.0.1/\"}", "/url" },
        { FETCH(",\"executor\":\"fiber\""), "/executor" },
        { FETCH(",\"executor\":\"Thread\""), "/executor" },
        { FETCH(",\"executor\":\"\""), "/executor" },
        { FETCH(",\"executor\":1"), "/executor" },
        { FETCH(",\"executor\":null"), "/executor" },
        { "{\"kind\":\"delivery\",\"collect\":{\"url\":\"http://a/\",\"executor\":\"thread\"}}",
                "/collect/executor" },
        { FETCH(",\"order_key\":\"a\""), "/order_key" },
        { FETCH(",\"idempotency_key\":\"a b\""), "/idempotency_key" },
        { FETCH(",\"wait\":1"), "/wait" },
        { FETCH(",\"payload\":1"), "/payload" },
        { FETCH(",\"collect\":{}"), "/collect" },
        { FETCH(",\"method\":\"G T\""), "/method" },
        { FETCH(",\"method\":\"get\""), "/method" },
        { FETCH(",\"method\":\"CONNECT\""), "/method" },
        { FETCH(",\"method\":\"\""), "/method" },
        { FETCH(",\"timeout\":\"-1s\""), "/timeout" },
        { FETCH(",\"timeout\":\"10 parsecs\""), "/timeout" },
        { FETCH(",\"timeout\":-1"), "/timeout" },
        { FETCH(",\"timeout\":0"), "/timeout" },
        { FETCH(",\"timeout\":null"), "/timeout" },
        { FETCH(",\"deadline\":true"), "/deadline" },
        { FETCH(",\"delay\":\"99999d\""), "/delay" },
        { FETCH(",\"max_body\":\"11MiB\""), "/max_body" },
        { FETCH(",\"max_body\":-1"), "/max_body" },
        { FETCH(",\"redirects\":21"), "/redirects" },
        { FETCH(",\"redirects\":1.5"), "/redirects" },
        { FETCH(",\"expect\":[]"), "/expect" },
        { FETCH(",\"expect\":[\"2xx\",\"600\"]"), "/expect/1" },
        { FETCH(",\"retry\":3"), "/retry" },
        { FETCH(",\"retry\":{\"attempts\":0}"), "/retry/attempts" },
        { FETCH(",\"retry\":{\"tries\":1}"), "/retry/tries" },
        { FETCH(",\"retry\":{\"backoff\":\"2s\",\"max_backoff\":\"1s\"}"), "/retry/max_backoff" },
        { FETCH(",\"at\":\"tomorrow\""), "/at" },
        { FETCH(",\"at\":\"2030-01-01T00:00:00Z\",\"delay\":1"), "/at" },
        { FETCH(",\"name\":\"a\\nb\""), "/name" },
        { FETCH(",\"name\":\"\""), "/name" },
        { FETCH(",\"labels\":{\"a:b\":\"c\"}"), "/labels/a:b" },
        { FETCH(",\"labels\":{\"a/b~\":1}"), "/labels/a~1b~0" },
        { FETCH(",\"priority\":101"), "/priority" },
        { FETCH(",\"on_unknown\":\"guess\""), "/on_unknown" },
        { FETCH(",\"idempotent\":1"), "/idempotent" },
        { FETCH(",\"headers\":[]"), "/headers" },
        { FETCH(",\"headers\":{\"Host\":\"x\"}"), "/headers/Host" },
        { FETCH(",\"headers\":{\"Transfer-Encoding\":\"x\"}"), "/headers/Transfer-Encoding" },
        { FETCH(",\"headers\":{\"proxy-x\":\"x\"}"), "/headers/proxy-x" },
        { FETCH(",\"headers\":{\"a b\":\"x\"}"), "/headers/a b" },
        { FETCH(",\"headers\":{\"a\":\"x\\r\\ny: z\"}"), "/headers/a" },
        { FETCH(",\"headers\":{\"a\":[\"x\",1]}"), "/headers/a/1" },
        { FETCH(",\"body\":1"), "/body" },
        { FETCH(",\"body\":{}"), "/body" },
        { FETCH(",\"body\":{\"text\":\"a\",\"json\":1}"), "/body" },
        { FETCH(",\"body\":{\"base64\":\"!\"}"), "/body/base64" },
        { FETCH(",\"body\":{\"text\":1}"), "/body/text" },
        { "{\"kind\":\"delivery\",\"payload\":1}", "/payload" },
        { "{\"kind\":\"delivery\",\"method\":\"PUT\"}", "/method" },
        { "{\"kind\":\"delivery\",\"url\":\"http://a/\",\"payload\":1,\"body\":\"x\"}",
                "/payload" },
        { "{\"kind\":\"delivery\",\"collect\":{}}", "/collect/url" },
        { "{\"kind\":\"delivery\",\"collect\":{\"url\":\"http://a/\",\"wait\":1}}",
                "/collect/wait" },
        { "{\"kind\":\"delivery\",\"collect\":{\"url\":\"http://10.1.2.3/\"}}", "/collect/url" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_fault(state, cases[i].job, cases[i].pointer);
}

static void all_mistakes_come_together(void **state)
{
    char got[4096];

    assert_int_equal(
            bad_job(state,
                    "{\"zzz\":1,\"kind\":\"fetch\",\"url\":\"x\",\"timeout\":\"x\",\"retry\":"
                    "{\"attempts\":\"1\"},\"headers\":{\"te\":\"x\"}}",
                    got, sizeof(got)),
            -EINVAL);
    assert_non_null(strstr(got, "/zzz: "));
    assert_non_null(strstr(got, "/url: "));
    assert_non_null(strstr(got, "/timeout: "));
    assert_non_null(strstr(got, "/retry/attempts: "));
    assert_non_null(strstr(got, "/headers/te: "));
}

static void headers_are_bounded(void **state)
{
    char *text = malloc(200000), got[4096];
    size_t n = (size_t)sprintf(text, "{\"kind\":\"fetch\",\"url\":\"http://a/\",\"headers\":{");

    for (int i = 0; i < 65; i++)
        n += (size_t)sprintf(text + n, "%s\"x-%d\":\"1\"", i ? "," : "", i);
    sprintf(text + n, "}}");
    assert_fault(state, text, "/headers");
    n = (size_t)sprintf(text, "{\"kind\":\"fetch\",\"url\":\"http://a/\",\"headers\":{\"x\":\"");
    memset(text + n, 'v', 33000);
    sprintf(text + n + 33000, "\"}}");
    assert_fault(state, text, "/headers");
    n = (size_t)sprintf(text, "{\"kind\":\"fetch\",\"url\":\"http://a/");
    memset(text + n, 'v', 9000);
    sprintf(text + n + 9000, "\"}");
    assert_int_equal(bad_job(state, text, got, sizeof(got)), -EINVAL);
    free(text);
}

static void nul_is_for_bodies_only(void **state)
{
    char got[4096];
    struct job_spec s = good_job(state,
            "{\"kind\":\"fetch\",\"url\":\"http://a/\",\"method\":\"POST\",\"body\":\"a\\u0000b\"}");

    assert_int_equal(s.request.body.n, 3);
    assert_memory_equal(s.request.body.data, "a\0b", 3);
    job_spec_done(&s);
    s = good_job(state, "{\"kind\":\"delivery\",\"url\":\"http://a/\",\"payload\":[\"\\u0000\"]}");
    assert_int_equal(s.request.body.n, 10);
    assert_memory_equal(s.request.body.data, "[\"\\u0000\"]", 10);
    job_spec_done(&s);
    assert_int_equal(bad_job(state,
                             "{\"kind\":\"delivery\",\"name\":\"a\\u0000\",\"wait\":\"1s\\u0000\","
                             "\"labels\":{\"a\":\"\\u0000\"}}",
                             got, sizeof(got)),
            -EINVAL);
    assert_non_null(strstr(got, "/name: "));
    assert_non_null(strstr(got, "/labels/a: "));
    assert_non_null(strstr(got, "/wait: "));
}

static void what_is_no_json_is_told_by_line_and_column(void **state)
{
    static const char *const bad[] = { "", " ", "{", "{\"kind\":\"fetch\",}", "{'kind':1}",
        "{\"kind\":\"fetch\"} x", "{\"kind\":1,\"kind\":2}", "{\"payload\":99999999999999999999}",
        "{\"\\u0000\":1}", "{\"a\":\"\xff\"}", "{\"a\":1e999}" };
    char deep[200], got[4096];

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(bad_job(state, bad[i], got, sizeof(got)), -EBADMSG);
    memset(deep, '[', 33);
    deep[33] = 0;
    assert_int_equal(bad_job(state, deep, got, sizeof(got)), -EBADMSG);
    assert_non_null(strstr(got, "nested deeper"));
    /* Brackets in strings are no depth, not behind an escaped quote either. */
    strcpy(deep,
            "{\"kind\":\"delivery\",\"name\":\"\\\\\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\"}");
    {
        struct job_spec s = good_job(state, deep);

        job_spec_done(&s);
    }
}

static int read_batch(
        void **state, const char *text, struct batch *options, size_t *n, char pointer[128])
{
    struct service_rules *rules = service_rules_ref(*state);
    struct job_spec *specs = NULL;
    struct faults faults = { 0 };
    int rc = codec_batch(text, strlen(text), rules, options, &specs, n, &faults);

    pointer[0] = 0;
    if (faults.n > 0)
        snprintf(pointer, 128, "%s", faults.list[0].pointer ? faults.list[0].pointer : "-");
    for (size_t i = 0; rc == 0 && i < *n; i++)
        job_spec_done(&specs[i]);
    free(specs);
    faults_done(&faults);
    service_rules_unref(rules);
    return rc;
}

static void batches_have_options_and_jobs(void **state)
{
    static const struct {
        const char *text, *pointer;
    } bad[] = {
        { "{}", "/jobs" },
        { "{\"jobs\":[]}", "/jobs" },
        { "{\"jobs\":{}}", "/jobs" },
        { "{\"run\":\"first\",\"jobs\":[{\"kind\":\"delivery\"}]}", "/run" },
        { "{\"run\":\"quorum\",\"jobs\":[{\"kind\":\"delivery\"}]}", "/run" },
        { "{\"need\":1,\"jobs\":[{\"kind\":\"delivery\"}]}", "/need" },
        { "{\"concurrency\":0,\"jobs\":[{\"kind\":\"delivery\"}]}", "/concurrency" },
        { "{\"run\":\"sequence\",\"concurrency\":2,\"jobs\":[{\"kind\":\"delivery\"}]}",
                "/concurrency" },
        { "{\"on_error\":\"stop\",\"jobs\":[{\"kind\":\"delivery\"}]}", "/on_error" },
        { "{\"jobs\":[{\"kind\":\"delivery\"},{\"kind\":\"fetch\"}]}", "/jobs/1/url" },
        { "{\"jobs\":[7]}", "/jobs/0" },
    };
    struct batch options;
    char pointer[128];
    size_t n;

    assert_int_equal(
            read_batch(state, "{\"jobs\":[{\"kind\":\"delivery\"}]}", &options, &n, pointer), 0);
    assert_int_equal(n, 1);
    assert_int_equal(options.run, BATCH_GATHER);
    assert_int_equal(options.on_error, ON_ERROR_CONTINUE);
    assert_int_equal(options.concurrency, 0);
    assert_int_equal(read_batch(state,
                             "{\"run\":\"sequence\",\"on_error\":\"cancel\",\"jobs\":[{\"kind\":"
                             "\"delivery\"},{\"kind\":\"delivery\"}]}",
                             &options, &n, pointer),
            0);
    assert_int_equal(n, 2);
    assert_int_equal(options.run, BATCH_SEQUENCE);
    assert_int_equal(options.concurrency, 1);
    assert_int_equal(options.on_error, ON_ERROR_CANCEL);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(read_batch(state, bad[i].text, &options, &n, pointer), -EINVAL);
        assert_string_equal(pointer, bad[i].pointer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fetch_has_defaults),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(a_delivery_posts_waits_and_collects),
        cmocka_unit_test(bodies_come_in_three_forms),
        cmocka_unit_test(unknown_outcomes_follow_the_method),
        cmocka_unit_test(each_executor_is_read_by_name),
        cmocka_unit_test(single_mistakes_have_their_pointer),
        cmocka_unit_test(all_mistakes_come_together),
        cmocka_unit_test(headers_are_bounded),
        cmocka_unit_test(nul_is_for_bodies_only),
        cmocka_unit_test(what_is_no_json_is_told_by_line_and_column),
        cmocka_unit_test(batches_have_options_and_jobs),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
