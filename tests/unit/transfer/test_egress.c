#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/buf.h"
#include "daemon/transfer/address.h"
#include "daemon/transfer/egress.h"

static struct egress *rules(const char *const *allow, const char *const *deny)
{
    struct egress_options options = { .allow = allow, .deny = deny };
    struct egress *e;
    struct error why;

    assert_int_equal(egress_new(&options, &e, &why), 0);
    return e;
}

static bool allowed(const struct egress *e, const char *text)
{
    union address a;

    assert_true(address_parse(text, 80, &a));
    return egress_allows(e, &a.any);
}

/* The last address before a special range, its first, its last, and the first behind it. */
struct edge {
    const char *before, *first, *last, *after;
};

static const struct edge v4_edges[] = {
    { NULL, "0.0.0.0", "0.255.255.255", "1.0.0.0" },
    { "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0" },
    { "100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0" },
    { "126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0" },
    { "168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17" },
    { "169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0" },
    { "172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0" },
    { "191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0" },
    { "192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0" },
    { "192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0" },
    { "192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0" },
    { "198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0" },
    { "198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0" },
    { "203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0" },
    { "223.255.255.255", "224.0.0.0", "239.255.255.255", NULL },
    { NULL, "240.0.0.0", "255.255.255.255", NULL },
};

static const struct edge v6_edges[] = {
    { NULL, "::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::" },
    { "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:200::" },
    { "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::" },
    { "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::" },
    { "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
            "3fff:1000::" },
    { "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL },
};

static void check_edge(const struct egress *e, const struct edge *edge)
{
    if (edge->before)
        assert_true(allowed(e, edge->before));
    assert_false(allowed(e, edge->first));
    assert_false(allowed(e, edge->last));
    if (edge->after)
        assert_true(allowed(e, edge->after));
}

static void test_both_edges_of_every_special_range(void **state)
{
    struct egress *e = rules(NULL, NULL);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(v4_edges); i++)
        check_edge(e, &v4_edges[i]);
    for (size_t i = 0; i < ARRAY_LEN(v6_edges); i++)
        check_edge(e, &v6_edges[i]);
    egress_unref(e);
}

static void test_other_notations_are_what_they_mean(void **state)
{
    static const char *const refused[] = { "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808",
        "64:ff9b:1::7f00:1", "100::1", "2002:7f00:1::", "2001:0:7f00:1::", "5f00::1", "fc00::1",
        "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "169.254.169.254", "169.254.170.2",
        "100.100.100.200", "192.0.0.192" };
    struct egress *e = rules(NULL, NULL);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        assert_false(allowed(e, refused[i]));
    assert_true(allowed(e, "::ffff:8.8.8.8"));
    assert_true(allowed(e, "2606:4700::1111"));
    egress_unref(e);
}

static void test_scopes_and_other_families_are_refused(void **state)
{
    struct egress *e = rules(NULL, NULL);
    union address a;
    struct sockaddr local = { .sa_family = AF_UNIX };

    (void)state;
    assert_true(address_parse("2606:4700::1111", 80, &a));
    a.v6.sin6_scope_id = 2;
    assert_false(egress_allows(e, &a.any));
    assert_false(egress_allows(e, &local));
    egress_unref(e);
}

static void test_deny_wins_over_allow_and_both_over_the_table(void **state)
{
    static const char *const allow[] = { "127.0.0.0/8", "10.1.0.0/16", "::1", "fd00::/8", NULL };
    static const char *const deny[] = { "127.0.0.9", "10.1.2.0/23", "8.8.8.8/32", "2606:4700::/32",
        NULL };
    struct egress *e = rules(allow, deny);

    (void)state;
    assert_true(allowed(e, "127.0.0.1"));
    assert_true(allowed(e, "::ffff:127.0.0.1"));
    assert_false(allowed(e, "127.0.0.9"));
    assert_false(allowed(e, "::ffff:127.0.0.9"));
    assert_true(allowed(e, "10.1.1.255"));
    assert_false(allowed(e, "10.1.2.0"));
    assert_false(allowed(e, "10.1.3.255"));
    assert_true(allowed(e, "10.1.4.0"));
    assert_false(allowed(e, "10.2.0.0"));
    assert_false(allowed(e, "8.8.8.8"));
    assert_true(allowed(e, "8.8.8.9"));
    assert_true(allowed(e, "::1"));
    assert_true(allowed(e, "fd12::1"));
    assert_false(allowed(e, "fc12::1"));
    assert_false(allowed(e, "2606:4700::1"));
    egress_unref(e);
}

static void test_the_whole_of_one_family_is_not_the_other(void **state)
{
    static const char *const v4[] = { "0.0.0.0/0", NULL }, *const v6[] = { "::/0", NULL };
    struct egress *e = rules(v4, NULL);

    (void)state;
    assert_true(allowed(e, "10.0.0.1"));
    assert_true(allowed(e, "::ffff:10.0.0.1"));
    assert_false(allowed(e, "::1"));
    egress_unref(e);
    e = rules(v6, NULL);
    assert_true(allowed(e, "::1"));
    assert_false(allowed(e, "10.0.0.1"));
    assert_false(allowed(e, "::ffff:10.0.0.1"));
    egress_unref(e);
}

static void test_bad_entries_are_named(void **state)
{
    static const char *const bad[] = { "10.0.0.0/33", "10.0.0.1/8", "example.com", "::1/129", "",
        "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0/8", "fe80::1%eth0",
        "1234567890123456789012345678901234567890123456789" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *const list[] = { "127.0.0.1", bad[i], NULL };
        struct egress_options options = { .deny = list };
        struct egress *e = NULL;
        struct error why = { "" };

        assert_int_equal(egress_new(&options, &e, &why), -EINVAL);
        assert_non_null(strstr(why.text, bad[i]));
        assert_null(e);
    }
}

static void test_refusals_have_reasons(void **state)
{
    struct egress *e = rules(NULL, NULL);
    union address a;

    (void)state;
    address_parse("192.168.1.7", 80, &a);
    assert_string_equal(egress_refusal(e, &a.any), "private network");
    address_parse("::1", 80, &a);
    assert_string_equal(egress_refusal(e, &a.any), "loopback");
    address_parse("1.1.1.1", 80, &a);
    assert_null(egress_refusal(e, &a.any));
    egress_unref(e);
}

static int vet(const struct egress *e, const char *url)
{
    struct egress_url u = { 0 };
    struct error why = { "" };
    int rc;

    assert_int_equal(egress_url_parse(url, &u, &why), 0);
    rc = egress_url_vet(e, &u, &why);
    assert_true(rc == 0 || (rc == -EACCES && strstr(why.text, u.host)));
    egress_url_done(&u);
    return rc;
}

static void test_urls_are_vetted_as_far_as_it_goes_without_dns(void **state)
{
    static const char *const allow[] = { "::1", NULL };
    static const char *const refused[] = { "http://127.0.0.1/", "http://127.1/", "http://0x7f.1/",
        "http://017700000001/", "http://2130706433/", "http://%31%32%37.0.0.1/",
        "http://[::ffff:127.0.0.1]/", "http://0/", "http://169.254.169.254/latest",
        "https://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/" };
    struct egress *e = rules(NULL, NULL);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        assert_int_equal(vet(e, refused[i]), -EACCES);
    assert_int_equal(vet(e, "http://localhost/"), -EACCES);
    assert_int_equal(vet(e, "http://a.LocalHost./"), -EACCES);
    assert_int_equal(vet(e, "http://notlocalhost/"), 0);
    assert_int_equal(vet(e, "http://example.com/"), 0);
    assert_int_equal(vet(e, "http://1.1.1.1/"), 0);
    egress_unref(e);
    e = rules(allow, NULL);
    assert_int_equal(vet(e, "http://localhost/"), 0);
    assert_int_equal(vet(e, "http://[::1]/"), 0);
    assert_int_equal(vet(e, "http://127.0.0.1/"), -EACCES);
    egress_unref(e);
}

static void test_rules_are_the_same_in_another_process(void **state)
{
    static const char *const allow[] = { "10.0.0.0/8", "::1", NULL };
    static const char *const deny[] = { "10.0.0.7", "1.1.1.0/24", NULL };
    static const char *const asked[] = { "10.0.0.1", "10.0.0.7", "::1", "1.1.1.1", "1.1.2.1",
        "127.0.0.1", "fc00::1", "2a00::1" };
    struct egress *e = rules(allow, deny), *copy;
    struct buf b = { 0 };

    (void)state;
    assert_int_equal(egress_pack(e, &b), 0);
    assert_int_equal(egress_unpack(b.data, b.n, &copy), 0);
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++)
        assert_int_equal(allowed(copy, asked[i]), allowed(e, asked[i]));
    egress_unref(copy);
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(egress_unpack(b.data, n, &copy), -EPROTO);
    buf_done(&b);
    egress_unref(e);
    e = rules(NULL, NULL);
    assert_int_equal(egress_pack(e, &b), 0);
    assert_int_equal(egress_unpack(b.data, b.n, &copy), 0);
    assert_false(allowed(copy, "10.0.0.1"));
    assert_true(allowed(copy, "1.1.1.1"));
    egress_unref(copy);
    buf_done(&b);
    egress_unref(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_edges_of_every_special_range),
        cmocka_unit_test(test_other_notations_are_what_they_mean),
        cmocka_unit_test(test_scopes_and_other_families_are_refused),
        cmocka_unit_test(test_deny_wins_over_allow_and_both_over_the_table),
        cmocka_unit_test(test_the_whole_of_one_family_is_not_the_other),
        cmocka_unit_test(test_bad_entries_are_named),
        cmocka_unit_test(test_refusals_have_reasons),
        cmocka_unit_test(test_rules_are_the_same_in_another_process),
        cmocka_unit_test(test_urls_are_vetted_as_far_as_it_goes_without_dns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
