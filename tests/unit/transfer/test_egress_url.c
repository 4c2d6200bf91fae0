#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/transfer/egress.h"
#include "daemon/transfer/target.h"

static const struct {
    const char *text, *url, *origin, *host;
    bool literal;
} accepted[] = {
    { "http://Example.COM", "http://example.com/", "http://example.com:80", "example.com", false },
    { "HTTP://example.com:80/a/../b?x=1#f", "http://example.com/b?x=1", "http://example.com:80",
            "example.com", false },
    { "https://a:443", "https://a/", "https://a:443", "a", false },
    { "https://a:0443/", "https://a/", "https://a:443", "a", false },
    { "https://a:80/", "https://a:80/", "https://a:80", "a", false },
    { "http://a:/", "http://a/", "http://a:80", "a", false },
    { "http://a:65535/", "http://a:65535/", "http://a:65535", "a", false },
    { "http://a?q", "http://a/?q", "http://a:80", "a", false },
    { "http://a/?u=me@b", "http://a/?u=me@b", "http://a:80", "a", false },
    { "http://a.b./", "http://a.b./", "http://a.b.:80", "a.b.", false },
    { "http://xn--nxasmq6b/%C3%A9", "http://xn--nxasmq6b/%C3%A9", "http://xn--nxasmq6b:80",
            "xn--nxasmq6b", false },
    { "http://_srv.x-y.z/", "http://_srv.x-y.z/", "http://_srv.x-y.z:80", "_srv.x-y.z", false },
    { "http://1.2.3.4/", "http://1.2.3.4/", "http://1.2.3.4:80", "1.2.3.4", true },
    { "http://127.1/", "http://127.0.0.1/", "http://127.0.0.1:80", "127.0.0.1", true },
    { "http://0x7f.1/", "http://127.0.0.1/", "http://127.0.0.1:80", "127.0.0.1", true },
    { "http://2130706433/", "http://127.0.0.1/", "http://127.0.0.1:80", "127.0.0.1", true },
    { "http://017700000001/", "http://127.0.0.1/", "http://127.0.0.1:80", "127.0.0.1", true },
    { "http://%31%32%37.0.0.1/", "http://127.0.0.1/", "http://127.0.0.1:80", "127.0.0.1", true },
    { "http://[::1]:8080/x", "http://[::1]:8080/x", "http://[::1]:8080", "::1", true },
    { "http://[0:0:0:0:0:0:0:1]/", "http://[::1]/", "http://[::1]:80", "::1", true },
    { "http://[::FFFF:1.2.3.4]/", "http://[::ffff:1.2.3.4]/", "http://[::ffff:1.2.3.4]:80",
            "::ffff:1.2.3.4", true },
    { "http://a#f", "http://a/", "http://a:80", "a", false },
    { "http://a/#", "http://a/", "http://a:80", "a", false },
    { "http://a?#f", "http://a/", "http://a:80", "a", false },
    { "http://a/?", "http://a/", "http://a:80", "a", false },
    { "http://a?q#f?g", "http://a/?q", "http://a:80", "a", false },
    { "http://a/b?c?d=/../e", "http://a/b?c?d=/../e", "http://a:80", "a", false },
    { "http://a/..", "http://a/", "http://a:80", "a", false },
    { "http://a/b/./c/..", "http://a/b/", "http://a:80", "a", false },
    { "http://a//b;c@d", "http://a//b;c@d", "http://a:80", "a", false },
    { "HTTPS://A.B.:8443?Q#F", "https://a.b.:8443/?Q", "https://a.b.:8443", "a.b.", false },
    { "https://a:000443#f", "https://a/", "https://a:443", "a", false },
    { "https://a:00444/", "https://a:444/", "https://a:444", "a", false },
    { "http://%41.b/%41", "http://a.b/%41", "http://a.b:80", "a.b", false },
    { "http://01.2.3.4/", "http://1.2.3.4/", "http://1.2.3.4:80", "1.2.3.4", true },
    { "https://[2001:DB8::0:1]:443/a#f", "https://[2001:db8::1]/a", "https://[2001:db8::1]:443",
            "2001:db8::1", true },
    { "http://[::]:8080#f", "http://[::]:8080/", "http://[::]:8080", "::", true },
    { "http://[::1]?q", "http://[::1]/?q", "http://[::1]:80", "::1", true },
};

static const char *const refused[] = {
    "",
    "/",
    "example.com",
    "127.0.0.1",
    "//example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "http:example.com",
    "http:/127.0.0.1/",
    "http://",
    "http:///x",
    "http://?x",
    "http://#x",
    "http://:80/",
    "http://a@b/",
    "http://a:b@c/",
    "http://@b/",
    "http://a b/",
    "http://a/b c",
    "http://a/\t",
    "http://a/\r\nHost: b",
    "http://a\\b/",
    "http://a/\\b",
    "http://a/\x7f",
    "http://\xc3\xa9/",
    "http://a/\xc3\xa9",
    "http://a:0/",
    "http://a:65536/",
    "http://a:99999999999999999999/",
    "http://a:80a/",
    "http://a:-1/",
    "http://127.0.0.1./",
    "http://1.2.3.4.5/",
    "http://256.1.1.1/",
    "http://1.2.3.256/",
    "http://4294967296/",
    "http://0x/",
    "http://a.0x1/",
    "http://a.1/",
    "http://a..b/",
    "http://.a/",
    "http://a,b/",
    "http://a%2fb/",
    "http://a%00b/",
    "http://a\"b/",
    "http://[1.2.3.4]/",
    "http://[::1/",
    "http://[::1]x/",
    "http://[::g]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
};

static void test_accepted_urls_have_one_spelling(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(accepted); i++) {
        struct egress_url u = { 0 }, again = { 0 };
        struct error why = { "" };

        assert_int_equal(egress_url_parse(accepted[i].text, &u, &why), 0);
        assert_string_equal(u.url, accepted[i].url);
        assert_string_equal(u.origin, accepted[i].origin);
        assert_string_equal(u.host, accepted[i].host);
        assert_int_equal(u.literal, accepted[i].literal);
        assert_int_equal(egress_url_parse(u.url, &again, &why), 0);
        assert_string_equal(again.url, u.url);
        egress_url_done(&u);
        egress_url_done(&again);
    }
}

static void test_what_is_accepted_is_a_target(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(accepted); i++) {
        struct egress_url u = { 0 };
        struct error why = { "" };
        struct target t;

        assert_int_equal(egress_url_parse(accepted[i].text, &u, &why), 0);
        assert_int_equal(target_parse(u.url, &t), 0);
        assert_string_equal(t.host, u.host);
        assert_int_equal(t.port, u.port);
        assert_int_equal(t.https, u.https);
        assert_int_equal(t.literal, u.literal);
        egress_url_done(&u);
    }
}

static void test_refused_urls_have_a_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct egress_url u = { 0 };
        struct error why = { "" };

        if (egress_url_parse(refused[i], &u, &why) != -EINVAL)
            fail_msg("accepted: %s", refused[i]);
        assert_true(strlen(why.text) > 0);
        assert_null(u.url);
    }
}

static void test_reasons_say_what_is_wrong(void **state)
{
    static const struct {
        const char *text, *why;
    } reasons[] = {
        { "ftp://a/", "the URL does not begin with http:// or https://" },
        { "http:///x", "the URL has no host" },
        { "http://:80/", "the URL has no host" },
        { "http://a@b/", "the URL has user information: send an Authorization header instead" },
        { "http://a b/", "the URL has a space, a control character or a backslash in it" },
        { "http://a/\xc3\xa9", "the URL has a byte that is not ASCII: encode it (%C3%A9, xn--…)" },
        { "http://A..b/", "\"a..b\" is not a host name" },
        { "http://.A/", "\".a\" is not a host name" },
        { "http://A~b/", "\"a~b\" is not a host name" },
        { "http://A.1/", "\"a.1\" is neither a host name nor an address" },
        { "http://a:0/", "port 0 is not between 1 and 65535" },
        { "http://[fe80::1%25eth0]/", "the address in the URL has a zone" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        struct egress_url u = { 0 };
        struct error why = { "" };

        assert_int_equal(egress_url_parse(reasons[i].text, &u, &why), -EINVAL);
        assert_string_equal(why.text, reasons[i].why);
    }
}

static void test_length_is_limited(void **state)
{
    static char text[9000];
    struct egress_url u = { 0 };
    struct error why = { "" };

    (void)state;
    memset(text, 'a', sizeof(text));
    memcpy(text, "http://example.com/", 19);
    text[8193] = '\0';
    assert_int_equal(egress_url_parse(text, &u, &why), -EINVAL);
    text[8192] = '\0';
    assert_int_equal(egress_url_parse(text, &u, &why), 0);
    egress_url_done(&u);
    memset(text, 'a', sizeof(text));
    memcpy(text, "http://", 7);
    text[7 + 254] = '\0';
    assert_int_equal(egress_url_parse(text, &u, &why), -EINVAL);
}

static void test_targets_are_strict(void **state)
{
    static const char *const bad[] = { "", "http://", "http:///", "http://a", "HTTP://a/",
        "http://A/", "http://a@b/", "http://a:0/", "http://a:99999/", "http://a:/", "http://[::1/",
        "http://[a]/", "http://::1/", "http://a b/", "ftp://a/", "http://[1.2.3.4]/" };
    struct target t;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (target_parse(bad[i], &t) == 0)
            fail_msg("accepted: %s", bad[i]);
}

static void test_local_names(void **state)
{
    (void)state;
    assert_true(egress_host_is_local("localhost"));
    assert_true(egress_host_is_local("localhost."));
    assert_true(egress_host_is_local("a.b.localhost"));
    assert_true(egress_host_is_local("LOCALHOST"));
    assert_false(egress_host_is_local("notlocalhost"));
    assert_false(egress_host_is_local("localhost.example.com"));
    assert_false(egress_host_is_local(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted_urls_have_one_spelling),
        cmocka_unit_test(test_what_is_accepted_is_a_target),
        cmocka_unit_test(test_refused_urls_have_a_reason),
        cmocka_unit_test(test_reasons_say_what_is_wrong),
        cmocka_unit_test(test_length_is_limited),
        cmocka_unit_test(test_targets_are_strict),
        cmocka_unit_test(test_local_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
