#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/listen_address.h"
#include "api/query.h"
#include "api/route.h"
#include "daemon/base/clock.h"

static const struct api_options options = { .max_wait_us = 60 * CLOCK_US_PER_S };

static struct request parsed(const char *target)
{
    struct request r = { .options = &options };
    const char *why;

    assert_int_equal(request_parse_target(&r, target, &why), 0);
    return r;
}

static void targets_are_split_and_decoded(void **state)
{
    struct request r = parsed("/v1/j%6fbs?a=1&b=x%20y+z&&c&d=%3D=");
    const char *why;

    (void)state;
    assert_string_equal(r.path, "/v1/jobs");
    assert_string_equal(query_parameter(&r, "a"), "1");
    assert_string_equal(query_parameter(&r, "b"), "x y z");
    assert_string_equal(query_parameter(&r, "c"), "");
    assert_string_equal(query_parameter(&r, "d"), "==");
    assert_null(query_parameter(&r, "e"));
    request_done(&r);
    for (size_t i = 0; i < 5; i++) {
        static const char *const bad[] = { "/%", "/%4", "/%zz", "/a%00", "/?%0=a" };
        struct request b = { 0 };

        assert_int_equal(request_parse_target(&b, bad[i], &why), -EINVAL);
        request_done(&b);
    }
}

static void broken_values_are_faults_of_their_parameters(void **state)
{
    struct request r = parsed("/?a=%00&b=1&c=%4");

    (void)state;
    assert_int_equal(r.faults.n, 2);
    assert_string_equal(r.faults.list[0].parameter, "a");
    assert_string_equal(r.faults.list[1].parameter, "c");
    assert_string_equal(query_parameter(&r, "b"), "1");
    request_done(&r);
}

static void unknown_and_repeated_parameters_are_faults(void **state)
{
    static const char *const allowed[] = { "limit", "full", NULL };
    struct request r = parsed("/?limit=1&x=2&limit=3&full=true");
    struct reply reply = REPLY_INIT;

    (void)state;
    query_check(&r, allowed);
    assert_int_equal(r.faults.n, 2);
    assert_string_equal(r.faults.list[0].parameter, "x");
    assert_string_equal(r.faults.list[1].parameter, "limit");
    assert_true(query_is_bad(&r, &reply));
    assert_int_equal(reply.status, 400);
    reply_done(&reply);
    request_done(&r);
}

static void assert_wait(const char *target, const char *prefer, int64_t us, bool preferred)
{
    struct request r = parsed(target);
    int64_t got_us;
    bool got;

    r.prefer = prefer ? strdup(prefer) : NULL;
    query_wait_time(&r, &got_us, &got);
    assert_int_equal(got_us, us);
    assert_int_equal(got, preferred);
    request_done(&r);
}

static void waits_are_asked_for_in_two_ways(void **state)
{
    (void)state;
    assert_wait("/", NULL, 0, false);
    assert_wait("/?wait=10s", NULL, 10000000, false);
    assert_wait("/?wait=0.5", NULL, 500000, false);
    assert_wait("/?wait=1h", NULL, 60000000, false);
    assert_wait("/", "wait=10", 10000000, true);
    assert_wait("/", "respond-async, wait=10; x=1", 10000000, true);
    assert_wait("/", "Wait=100 , foo", 60000000, true);
    assert_wait("/", "wait=soon", 0, false);
    assert_wait("/", "wait=-1", 0, false);
    assert_wait("/", ",,;;", 0, false);
    assert_wait("/?wait=2s", "wait=10", 2000000, false);
}

static void cursors_survive_and_forgeries_do_not(void **state)
{
    static const char *const bad[] = { "/?cursor=", "/?cursor=c", "/?cursor=0", "/?cursor=cxyz",
        "/?cursor=c0", "/?cursor=cffffffffffffffff", "/?cursor=c9223372036854775808" };
    char text[QUERY_CURSOR_SIZE], target[64] = "/?cursor=";
    struct request r;

    (void)state;
    query_format_cursor(INT64_MAX, text);
    strcat(target, text);
    r = parsed(target);
    assert_int_equal(query_cursor(&r), INT64_MAX);
    assert_false(faults_any(&r.faults));
    request_done(&r);
    for (size_t i = 0; i < 7; i++) {
        r = parsed(bad[i]);
        assert_int_equal(query_cursor(&r), 0);
        assert_true(faults_any(&r.faults));
        request_done(&r);
    }
}

static void limits_and_flags(void **state)
{
    struct request r = parsed("/?limit=1000&full=1");

    (void)state;
    assert_int_equal(query_limit(&r, 50, 1000), 1000);
    assert_true(query_flag(&r, "full"));
    assert_false(faults_any(&r.faults));
    query_limit(&r, 50, 999);
    assert_true(faults_any(&r.faults));
    request_done(&r);
    r = parsed("/?limit=0&full=maybe");
    query_limit(&r, 50, 1000);
    query_flag(&r, "full");
    assert_int_equal(r.faults.n, 2);
    request_done(&r);
}

static void the_next_page_keeps_the_query(void **state)
{
    struct request r = parsed("/v1/jobs?state=failed&cursor=c1&limit=2&label=a:%3e>");
    struct reply reply = REPLY_INIT;

    (void)state;
    assert_int_equal(query_link_next(&r, "c7", &reply), 0);
    assert_string_equal(reply.headers[0].value,
            "</v1/jobs?state=failed&limit=2&label=a:%3e%3E&cursor=c7>; rel=\"next\"");
    reply_done(&reply);
    request_done(&r);
}

static void routes_are_found(void **state)
{
    const struct route *route;
    char allow[ROUTE_ALLOW_SIZE];
    const char *id;
    size_t n;

    (void)state;
    assert_int_equal(route_find("POST", "/v1/jobs", &route, &id, &n, allow), 0);
    assert_null(id);
    assert_non_null(route->handle_lines);
    assert_int_equal(route_find("HEAD", "/v1/jobs/abc/body", &route, &id, &n, allow), 0);
    assert_int_equal(n, 3);
    assert_memory_equal(id, "abc", 3);
    assert_int_equal(route_find("PUT", "/v1/jobs", &route, &id, &n, allow), -EPERM);
    assert_string_equal(allow, "POST, GET, HEAD");
    assert_int_equal(route_find("GET", "/v1/jobs/x/cancel", &route, &id, &n, allow), -EPERM);
    assert_string_equal(allow, "POST");
    for (size_t i = 0; i < 9; i++) {
        static const char *const none[] = { "/", "/v1", "/v1/jobs/", "/v1/jobs//body",
            "/v1/jobs/a/retry", "/v1/jobs/a/b/c", "/v1/task", "/metrics", "/openapi.json" };

        assert_int_equal(route_find("GET", none[i], &route, &id, &n, allow), -ENOENT);
    }
    assert_int_equal(route_find("DELETE", "/v1/jobs/a", &route, &id, &n, allow), -EPERM);
    assert_string_equal(allow, "GET, HEAD");
}

static void only_local_addresses_are_listened_on(void **state)
{
    static const struct {
        const char *text;
        int rc;
    } cases[] = { { "127.0.0.1:8470", 0 }, { "127.1.2.3:0", 0 }, { "[::1]:8470", 0 },
        { "unix:/run/baedald/api.sock", 0 }, { "0.0.0.0:8470", -EPERM }, { "[::]:8470", -EPERM },
        { "192.168.1.1:80", -EPERM }, { "localhost:8470", -EINVAL }, { "127.0.0.1", -EINVAL },
        { "127.0.0.1:", -EINVAL }, { "127.0.0.1:65536", -EINVAL }, { "::1:8470", -EINVAL },
        { "[::1]", -EINVAL }, { "unix:relative", -EINVAL }, { ":8470", -EINVAL }, { "", -EINVAL } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        union listen_address a;
        struct error why = { "" };
        socklen_t n;

        assert_int_equal(listen_address_parse(cases[i].text, &a, &n, &why), cases[i].rc);
        if (cases[i].rc == 0) {
            char text[LISTEN_ADDRESS_SIZE];

            listen_address_format(&a, text);
            assert_string_equal(text, cases[i].text);
        } else {
            assert_non_null(strstr(why.text, cases[i].text));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_split_and_decoded),
        cmocka_unit_test(broken_values_are_faults_of_their_parameters),
        cmocka_unit_test(unknown_and_repeated_parameters_are_faults),
        cmocka_unit_test(waits_are_asked_for_in_two_ways),
        cmocka_unit_test(cursors_survive_and_forgeries_do_not),
        cmocka_unit_test(limits_and_flags),
        cmocka_unit_test(the_next_page_keeps_the_query),
        cmocka_unit_test(routes_are_found),
        cmocka_unit_test(only_local_addresses_are_listened_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
