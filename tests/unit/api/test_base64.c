#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/base64.h"
#include "daemon/base/cleanup.h"

/* RFC 4648 section 10. */
static const struct {
    const char *bytes, *text;
} vectors[] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
    { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" } };

static void vectors_of_the_rfc(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        struct buf text = { 0 }, bytes = { 0 };

        assert_int_equal(base64_encode(vectors[i].bytes, strlen(vectors[i].bytes), &text), 0);
        assert_int_equal(text.n, strlen(vectors[i].text));
        assert_memory_equal(text.data ? text.data : "", vectors[i].text, text.n);
        assert_int_equal(base64_decode(vectors[i].text, text.n, &bytes), 0);
        assert_int_equal(bytes.n, strlen(vectors[i].bytes));
        assert_memory_equal(bytes.data ? bytes.data : "", vectors[i].bytes, bytes.n);
        buf_done(&text);
        buf_done(&bytes);
    }
}

static void every_byte_survives(void **state)
{
    struct buf text = { 0 }, back = { 0 };
    unsigned char all[256];

    (void)state;
    for (int i = 0; i < 256; i++)
        all[i] = (unsigned char)i;
    assert_int_equal(base64_encode(all, sizeof(all), &text), 0);
    assert_int_equal(base64_decode(text.data, text.n, &back), 0);
    assert_int_equal(back.n, sizeof(all));
    assert_memory_equal(back.data, all, sizeof(all));
    buf_done(&text);
    buf_done(&back);
}

static void what_is_not_strict_is_refused(void **state)
{
    static const char *const bad[] = { "Zg", "Zg=", "Zg===", "Z===", "====", "=", "Zm9v\n", "Zm9v ",
        "Zm 9", "Zm-_", "Zh==", "Zm9=", "Zg==Zg==", "Zm=v" };
    struct buf out = { 0 };

    (void)state;
    assert_int_equal(buf_append_str(&out, "before"), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(base64_decode(bad[i], strlen(bad[i]), &out), -EINVAL);
        assert_int_equal(out.n, 6);
    }
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_the_rfc),
        cmocka_unit_test(every_byte_survives),
        cmocka_unit_test(what_is_not_strict_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
