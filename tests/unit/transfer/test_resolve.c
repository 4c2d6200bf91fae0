#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/loop.h"
#include "daemon/co/co.h"
#include "daemon/transfer/resolve.h"
#include "dns_server.h"

#define MS       1000000LL
#define MANY     3000
#define TOGETHER 50

static const struct dns_record script[] = {
    { "one.test", "192.0.2.1", 60, 0, 0 },
    { "both.test", "192.0.2.1 2001:db8::1 192.0.2.2", 60, 0, 0 },
    { "brief.test", "192.0.2.1", 0, 0, 0 },
    { "nodata.test", "", 60, 0, 0 },
    { "servfail.test", "", 60, 2, 0 },
    { "refused.test", "", 60, 5, 0 },
    { "silent.test", "", 60, 0, 1 },
    { "crowd.test",
            "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5 192.0.2.6 192.0.2.7 192.0.2.8 "
            "192.0.2.9 192.0.2.10 192.0.2.11 192.0.2.12 192.0.2.13 192.0.2.14 192.0.2.15 "
            "192.0.2.16 192.0.2.17 192.0.2.18",
            60, 0, 0 },
    { NULL, NULL, 0, 0, 0 },
};

struct test {
    struct loop *loop;
    struct dns_server *server;
    struct resolver *resolver;
    char resolv_conf[64];
    int (*body)(struct test *t);
    unsigned n_done, n_asked;
};

static int resolver_body(void *arg)
{
    struct test *t = arg;
    struct resolver_options options = {
        .servers = dns_server_address(t->server),
        .resolv_conf = t->resolv_conf[0] ? t->resolv_conf : NULL,
    };
    int rc;

    assert_int_equal(resolver_new(t->loop, &options, &t->resolver), 0);
    rc = t->body(t);
    resolver_free(t->resolver);
    return rc;
}

static void with_resolver(int (*body)(struct test *t), const char *resolv_conf)
{
    struct test t = { .body = body };
    struct co_options options = { .max_tasks = MANY + 100, .max_threads = 1 };

    if (resolv_conf)
        snprintf(t.resolv_conf, sizeof(t.resolv_conf), "%s", resolv_conf);
    t.server = dns_server_start(script);
    assert_int_equal(loop_new(&t.loop), 0);
    assert_int_equal(co_run(t.loop, &options, resolver_body, &t), 0);
    loop_free(t.loop);
    dns_server_stop(t.server);
}

static int lookup(struct test *t, const char *name, struct resolved *ret, const char **ret_why)
{
    *ret_why = NULL;
    return resolver_lookup(t->resolver, name, ret, ret_why);
}

static int answers_body(struct test *t)
{
    struct resolved r;
    const char *why;
    char text[ADDRESS_TEXT_SIZE];
    bool v6 = false;

    assert_int_equal(lookup(t, "one.test", &r, &why), 0);
    assert_int_equal(r.n, 1);
    address_format_host(&r.addresses[0], text);
    assert_string_equal(text, "192.0.2.1");
    assert_int_equal(lookup(t, "both.test", &r, &why), 0);
    assert_int_equal(r.n, 3);
    for (unsigned i = 0; i < r.n; i++)
        v6 = v6 || r.addresses[i].any.sa_family == AF_INET6;
    assert_true(v6);
    assert_int_equal(lookup(t, "crowd.test", &r, &why), 0);
    assert_int_equal(r.n, RESOLVED_MAX);
    assert_int_equal(lookup(t, "nx.test", &r, &why), -ENOENT);
    assert_string_equal(why, "the name does not exist");
    assert_int_equal(lookup(t, "nodata.test", &r, &why), -ENOENT);
    assert_string_equal(why, "the name has no address");
    assert_int_equal(lookup(t, "servfail.test", &r, &why), -EIO);
    assert_non_null(strstr(why, "all of them failed"));
    assert_int_equal(lookup(t, "refused.test", &r, &why), -EIO);
    assert_non_null(strstr(why, "all of them failed"));
    return 0;
}

static void test_answers_and_failures(void **state)
{
    (void)state;
    with_resolver(answers_body, NULL);
}

static int cache_body(struct test *t)
{
    struct resolved r;
    const char *why;

    for (int i = 0; i < 3; i++) {
        assert_int_equal(lookup(t, "one.test", &r, &why), 0);
        assert_int_equal(lookup(t, "nodata.test", &r, &why), -ENOENT);
        assert_int_equal(lookup(t, "brief.test", &r, &why), 0);
    }
    assert_int_equal(dns_server_questions(t->server, "one.test"), 2);
    assert_int_equal(dns_server_questions(t->server, "nodata.test"), 2);
    assert_int_equal(dns_server_questions(t->server, "brief.test"), 2);
    assert_int_equal(co_sleep(1100 * MS), 0);
    assert_int_equal(lookup(t, "one.test", &r, &why), 0);
    assert_int_equal(lookup(t, "brief.test", &r, &why), 0);
    assert_int_equal(dns_server_questions(t->server, "one.test"), 2);
    assert_int_equal(dns_server_questions(t->server, "brief.test"), 4);
    return 0;
}

static void test_answers_are_kept_for_their_ttl_but_a_second_at_least(void **state)
{
    (void)state;
    with_resolver(cache_body, NULL);
}

static int lookup_one(void *arg)
{
    struct test *t = arg;
    struct resolved r;
    const char *why;
    int rc = lookup(t, "one.test", &r, &why);

    assert_int_equal(rc, 0);
    t->n_done++;
    return rc;
}

static int joined_body(struct test *t)
{
    struct co_group group;

    co_group_open(&group);
    for (int i = 0; i < TOGETHER; i++)
        assert_int_equal(co_group_spawn(&group, "lookup", lookup_one, t, NULL), 0);
    assert_int_equal(co_group_close(&group, 0), 0);
    assert_int_equal(t->n_done, TOGETHER);
    assert_int_equal(dns_server_questions(t->server, "one.test"), 2);
    return 0;
}

static void test_lookups_of_one_name_are_joined(void **state)
{
    (void)state;
    with_resolver(joined_body, NULL);
}

static int lookup_many(void *arg)
{
    struct test *t = arg;
    struct resolved r;
    const char *why;
    char name[32];
    int rc;

    snprintf(name, sizeof(name), "n%u.many", t->n_asked++);
    rc = lookup(t, name, &r, &why);
    assert_int_equal(rc, 0);
    t->n_done++;
    return rc;
}

static int many_body(struct test *t)
{
    struct co_group group;

    co_group_open(&group);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(co_group_spawn(&group, "lookup", lookup_many, t, NULL), 0);
    assert_int_equal(co_group_close(&group, 0), 0);
    assert_int_equal(t->n_done, MANY);
    return 0;
}

static void test_thousands_of_names_at_once(void **state)
{
    (void)state;
    with_resolver(many_body, NULL);
}

static int lookup_silent(void *arg)
{
    struct test *t = arg;
    struct resolved r;
    const char *why;
    int rc = lookup(t, "silent.test", &r, &why);

    if (rc == -ECANCELED)
        return rc;
    assert_true(rc == -ETIMEDOUT || rc == -EIO);
    assert_non_null(strstr(why, "did not answer"));
    t->n_done++;
    return 0;
}

static int silent_body(struct test *t)
{
    struct co_scope scope;
    struct co_group group;
    struct resolved r;
    const char *why;
    int64_t begun = clock_mono_ns();

    co_group_open(&group);
    assert_int_equal(co_group_spawn(&group, "lookup", lookup_silent, t, NULL), 0);
    /* Others are served meanwhile, and a waiter has its own deadline. */
    assert_int_equal(lookup(t, "one.test", &r, &why), 0);
    co_scope_open(&scope, clock_mono_ns() + 50 * MS, 0);
    assert_int_equal(co_scope_close(&scope, lookup(t, "silent.test", &r, &why)), -ETIMEDOUT);
    assert_true(clock_mono_ns() - begun < 2000 * MS);
    assert_int_equal(t->n_done, 0);
    assert_int_equal(co_group_close(&group, 0), 0);
    assert_int_equal(t->n_done, 1);
    assert_true(clock_mono_ns() - begun < 6000 * MS);
    return 0;
}

static void test_silence_ends_within_five_seconds(void **state)
{
    (void)state;
    with_resolver(silent_body, NULL);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* The answer is known for 30 s, unless the files that it rests on have changed. */
static int wait_for_question(struct test *t, unsigned more_than)
{
    int64_t until = clock_mono_ns() + 5000 * MS;
    struct resolved r;
    const char *why;

    while (dns_server_questions(t->server, "one.test") <= more_than && clock_mono_ns() < until) {
        assert_int_equal(co_sleep(10 * MS), 0);
        assert_int_equal(lookup(t, "one.test", &r, &why), 0);
    }
    assert_true(dns_server_questions(t->server, "one.test") > more_than);
    return 0;
}

static int changed_body(struct test *t)
{
    struct co_group group;
    struct resolved r;
    const char *why;
    char other[80];

    co_group_open(&group);
    assert_int_equal(co_group_spawn(&group, "lookup", lookup_silent, t, NULL), 0);
    assert_int_equal(lookup(t, "one.test", &r, &why), 0);
    assert_int_equal(lookup(t, "one.test", &r, &why), 0);
    assert_int_equal(dns_server_questions(t->server, "one.test"), 2);
    write_file(t->resolv_conf, "nameserver 127.0.0.1\n");
    wait_for_question(t, 2);
    /* As editors and resolvconf do it. */
    snprintf(other, sizeof(other), "%s.new", t->resolv_conf);
    write_file(other, "nameserver 127.0.0.2\n");
    assert_int_equal(rename(other, t->resolv_conf), 0);
    wait_for_question(t, 4);
    /* What was running has started again on the new channel. */
    assert_true(dns_server_questions(t->server, "silent.test") >= 6);
    co_group_cancel(&group);
    (void)co_group_close(&group, 0);
    return 0;
}

static int lookup_cancelled_body(struct test *t)
{
    struct co_scope scope;
    struct resolved r;
    const char *why;

    co_scope_open(&scope, CO_NEVER, 0);
    co_scope_cancel(&scope);
    assert_int_equal(lookup(t, "silent.test", &r, &why), -ECANCELED);
    assert_int_equal(co_scope_close(&scope, -ECANCELED), -ECANCELED);
    return 0;
}

static void test_a_cancelled_lookup_returns_and_its_query_is_left_behind(void **state)
{
    (void)state;
    with_resolver(lookup_cancelled_body, NULL);
}

static void test_changed_files_are_read_again(void **state)
{
    char path[] = "/tmp/test-resolve-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    write_file(path, "nameserver 127.0.0.1\n");
    with_resolver(changed_body, path);
    unlink(path);
}

static int hosts_body(struct test *t)
{
    struct resolved r;
    const char *why;

    /* What the machine's own file says of it is not asked of anybody. */
    assert_int_equal(lookup(t, "localhost", &r, &why), 0);
    assert_true(r.n > 0);
    assert_int_equal(dns_server_questions(t->server, "localhost"), 0);
    return 0;
}

static void test_hosts_file_is_honoured(void **state)
{
    (void)state;
    with_resolver(hosts_body, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_and_failures),
        cmocka_unit_test(test_answers_are_kept_for_their_ttl_but_a_second_at_least),
        cmocka_unit_test(test_lookups_of_one_name_are_joined),
        cmocka_unit_test(test_thousands_of_names_at_once),
        cmocka_unit_test(test_a_cancelled_lookup_returns_and_its_query_is_left_behind),
        cmocka_unit_test(test_changed_files_are_read_again),
        cmocka_unit_test(test_hosts_file_is_honoured),
        cmocka_unit_test(test_silence_ends_within_five_seconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
