#include "api/fields.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/units.h"

#define NUMBER_MAX_BYTES 32

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Where the text is a number only, `unit` is behind it. */
static int parse_with_unit(const char *text, const char *unit,
        int (*parse)(const char *text, int64_t *ret), int64_t max, int64_t *ret)
{
    char number[NUMBER_MAX_BYTES + 2];
    size_t n = strlen(text);
    int64_t value;
    int rc;

    if (n > NUMBER_MAX_BYTES)
        return -EINVAL;
    snprintf(number, sizeof(number), "%s%s", text,
            n > 0 && strspn(text, "0123456789.") == n ? unit : "");
    rc = parse(number, &value);
    if (rc == 0 && value > max)
        rc = -ERANGE;
    if (rc == 0)
        *ret = value;
    return rc;
}

int field_duration(const char *text, int64_t *ret_us)
{
    return parse_with_unit(text, "s", units_parse_duration, FIELD_DURATION_MAX_US, ret_us);
}

int field_duration_seconds(double seconds, int64_t *ret_us)
{
    if (!isfinite(seconds) || seconds < 0)
        return -EINVAL;
    if (seconds > (double)FIELD_DURATION_MAX_US / 1e6)
        return -ERANGE;
    *ret_us = (int64_t)(seconds * 1e6 + 0.5);
    return 0;
}

int field_size(const char *text, int64_t *ret_bytes)
{
    return parse_with_unit(text, "B", units_parse_bytes, FIELD_SIZE_MAX, ret_bytes);
}

int field_unsigned(const char *text, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;

    if (!is_digit(*text))
        return -EINVAL;
    for (; is_digit(*text); text++)
        if (__builtin_mul_overflow(value, 10, &value) ||
                __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return -ERANGE;
    if (*text)
        return -EINVAL;
    if (value > max)
        return -ERANGE;
    *ret = value;
    return 0;
}

static int parse_status(const char *text, uint16_t *ret)
{
    for (int i = 0; i < 3; i++)
        if (!is_digit(text[i]))
            return -EINVAL;
    if (text[0] < '1' || text[0] > '5')
        return -EINVAL;
    *ret = (uint16_t)((text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0'));
    return 0;
}

int field_status_range(const char *text, uint16_t *ret_first, uint16_t *ret_last)
{
    size_t n = strlen(text);
    uint16_t first, last;

    if (n == 3 && text[0] >= '1' && text[0] <= '5' && strcmp(text + 1, "xx") == 0) {
        first = (uint16_t)((text[0] - '0') * 100);
        last = first + 99;
    } else if (n == 3 && parse_status(text, &first) == 0) {
        last = first;
    } else if (n != 7 || text[3] != '-' || parse_status(text, &first) < 0 ||
               parse_status(text + 4, &last) < 0 || last < first) {
        return -EINVAL;
    }
    *ret_first = first;
    *ret_last = last;
    return 0;
}

bool field_is_token(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];

        if (!is_digit(text[i]) && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') &&
                (c == 0 || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return n > 0;
}

bool field_is_header_value(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

bool field_is_plain(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            return false;
    return true;
}

static bool is_continuation(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

size_t field_utf8_length(const unsigned char *text, size_t n)
{
    unsigned char a = text[0], b = n > 1 ? text[1] : 0;

    if (a < 0x80)
        return 1;
    if (a < 0xc2 || a > 0xf4 || !is_continuation(b))
        return 0;
    if (a < 0xe0)
        return 2;
    if (n < 3 || !is_continuation(text[2]))
        return 0;
    if (a < 0xf0) /* neither overlong nor a surrogate */
        return (a == 0xe0 && b < 0xa0) || (a == 0xed && b > 0x9f) ? 0 : 3;
    if (n < 4 || !is_continuation(text[3]))
        return 0;
    return (a == 0xf0 && b < 0x90) || (a == 0xf4 && b > 0x8f) ? 0 : 4;
}

bool field_is_utf8_text(const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text;

    for (size_t i = 0, length; i < n; i += length) {
        length = field_utf8_length(p + i, n - i);
        if (length == 0 || p[i] == 0)
            return false;
    }
    return true;
}

bool field_header_is_owned(const char *name)
{
    static const char *const owned[] = { "host", "content-length", "transfer-encoding",
        "connection", "te", "upgrade", "expect", "keep-alive", "trailer" };

    for (size_t i = 0; i < ARRAY_LEN(owned); i++)
        if (strcmp(owned[i], name) == 0)
            return true;
    return strncmp(name, "proxy-", 6) == 0;
}

bool field_header_is_secret(const char *name)
{
    static const char *const names[] = { "authorization", "cookie", "proxy-authorization" };
    static const char *const parts[] = { "key", "token", "secret" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (strstr(name, parts[i]))
            return true;
    return false;
}
