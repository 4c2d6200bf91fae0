#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/accept.h"
#include "daemon/base/cleanup.h"

static bool text(const char *accept)
{
    return accept_prefers(accept, "text/plain", "application/json");
}

static void text_is_sent_to_those_who_want_it_more(void **state)
{
    static const char *const wanted[] = {
        "text/plain",
        "text/*",
        "TEXT/Plain;charset=utf-8",
        "text/html, text/plain",
        "text/plain, */*;q=0.1",
        "application/json;q=0.5 , text/plain;q=0.501",
        "application/json;v=1;q=0, */*",
        "*/*;q=0.2, text/*;q=0.1, text/plain",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        assert_true(text(wanted[i]));
}

static void all_others_get_the_usual(void **state)
{
    static const char *const unwanted[] = {
        "",
        "*/*",
        "application/json",
        "text/html",
        "text/plainer",
        "text",
        "text/plain, application/json",
        "text/plain;q=0.5, application/json",
        "text/plain;q=0",
        "text/plain;q=0.2, */*;q=0.2",
        "text/*, text/plain;q=0",
        ",;,=;q",
        "text/plain;q=",
    };

    (void)state;
    assert_false(text(NULL));
    for (size_t i = 0; i < ARRAY_LEN(unwanted); i++)
        assert_false(text(unwanted[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_sent_to_those_who_want_it_more),
        cmocka_unit_test(all_others_get_the_usual),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
