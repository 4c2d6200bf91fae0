#include "config/address.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/cleanup.h"

/* One byte more than a socket's address holds. */
#define LONG_PATH                                                        \
    "unix:/123456789012345678901234567890123456789012345678901234567890" \
    "12345678901234567890123456789012345678901234567"

static void test_listen(void **state)
{
    static const char *const good[] = { "127.0.0.1:8470", "127.9.8.7:1", "[::1]:8470",
        "127.0.0.1:0", "unix:/run/baedald/api.sock" };
    static const char *const bad[] = { "", "8470", ":8470", "127.0.0.1",
        "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:080", "localhost:8470",
        "::1:8470", "[::1:8470", "[::1]8470", "0.0.0.0:8470", "[::]:8470", "192.168.1.1:8470",
        "unix:", "unix:api.sock", "[]:80", LONG_PATH };
    struct error why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(address_check_listen(good[i], &why), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(address_check_listen(bad[i], &why), -EINVAL);
}

static void test_network(void **state)
{
    static const char *const good[] = { "10.0.0.0/8", "0.0.0.0/0", "127.0.0.1", "127.0.0.1/32",
        "::1", "::/0", "fe80::/10", "fd00:1::/32", "::ffff:10.0.0.1" };
    static const char *const bad[] = { "", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/-1",
        "10.0.0.1/8", "10.0.0/8", "10", "fe80::/129", "fe80::1/10", "[::1]", "localhost",
        "10.0.0.0/8 ", "010.0.0.1", "1111:2222:3333:4444:5555:6666:7777:8888:9999:0000:1111/64" };
    struct error why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(address_check_network(good[i], &why), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(address_check_network(bad[i], &why), -EINVAL);
}

static void test_origin(void **state)
{
    static const struct {
        const char *text, *origin;
    } good[] = {
        { "https://api.example.com", "https://api.example.com:443" },
        { "http://api.example.com", "http://api.example.com:80" },
        { "https://api.example.com:8443", "https://api.example.com:8443" },
        { "http://127.0.0.1:8080", "http://127.0.0.1:8080" },
        { "http://[::1]", "http://[::1]:80" },
        { "http://[2001:db8::1]:81", "http://[2001:db8::1]:81" },
        { "http://localhost:3000", "http://localhost:3000" },
        { "http://a_b.local", "http://a_b.local:80" },
    };
    static const char *const bad[] = { "", "api.example.com", "ftp://a", "HTTPS://a", "https://",
        "https://A.example", "https://a/", "https://a/b", "https://u@a", "https://a?b",
        "https://a#b", "https://a:0", "https://a:65536", "https://a:", "https://a:08",
        "https://a:80x", "http://[::1", "http://[::0001]", "http://[::1]x", "http://127.1",
        "http://0x7f.1", "http://127.0.0.01", "http://1.2.3.4.5", "http://a b",
        "http://\xc3\xbc.example", "http://.a" };
    char origin[ADDRESS_ORIGIN_SIZE];
    struct error why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(address_parse_origin(good[i].text, origin, &why), 0);
        assert_string_equal(origin, good[i].origin);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(address_parse_origin(bad[i], origin, &why), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_network),
        cmocka_unit_test(test_origin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
