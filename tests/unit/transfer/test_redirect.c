/* Against RFC 3986 section 5.4, and what servers make of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/base/cleanup.h"
#include "daemon/transfer/redirect.h"

struct sample {
    const char *reference, *target;
};

static void check(const char *base, const struct sample *samples, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *target = redirect_resolve(base, samples[i].reference);

        assert_string_equal(target, samples[i].target);
        free(target);
    }
}

static void references_are_resolved(void **state)
{
    static const struct sample samples[] = {
        { "http://other/x?y", "http://other/x?y" },
        { "https://other", "https://other/" },
        { "g", "http://a:81/b/c/g" },
        { "./g", "http://a:81/b/c/g" },
        { "g/", "http://a:81/b/c/g/" },
        { "/g", "http://a:81/g" },
        { "//g", "http://g/" },
        { "//host:82/x?z", "http://host:82/x?z" },
        { "?y", "http://a:81/b/c/d;p?y" },
        { "?y=/../x", "http://a:81/b/c/d;p?y=/../x" },
        { "g?y", "http://a:81/b/c/g?y" },
        { "#s", "http://a:81/b/c/d;p?q=/e/f" },
        { "", "http://a:81/b/c/d;p?q=/e/f" },
        { ".", "http://a:81/b/c/" },
        { "..", "http://a:81/b/" },
        { "../", "http://a:81/b/" },
        { "../g", "http://a:81/b/g" },
        { "../..", "http://a:81/" },
        { "../../g", "http://a:81/g" },
        { "../../../g", "http://a:81/g" },
        { "/../g", "http://a:81/g" },
        { "g/../h", "http://a:81/b/c/h" },
    };

    (void)state;
    check("http://a:81/b/c/d;p?q=/e/f", samples, ARRAY_LEN(samples));
}

static void a_base_may_be_bare(void **state)
{
    static const struct sample samples[] = {
        { "?y", "https://a/?y" },
        { "g", "https://a/g" },
        { "..", "https://a/" },
        { "#s", "https://a/" },
        { "//g/h", "https://g/h" },
    };

    (void)state;
    check("https://a/", samples, ARRAY_LEN(samples));
}

/* Who follows it says what is wrong with it. */
static void what_is_no_reference_stays_as_it_is(void **state)
{
    static const struct sample samples[] = {
        { "http://", "http://" },
        { "http://a b/", "http://a b/" },
        { "ftp://a/b", "ftp://a/b" },
    };

    (void)state;
    check("http://a/b", samples, ARRAY_LEN(samples));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_are_resolved),
        cmocka_unit_test(a_base_may_be_bare),
        cmocka_unit_test(what_is_no_reference_stays_as_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
