#include "daemon/base/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/cleanup.h"

#define UNIT_DECIMALS_MAX 18

struct unit {
    const char *name;
    int64_t worth;
};

/* Ascending, and the first is the smallest thing that can be said. */
static const struct unit unit_durations[] = {
    { "us", 1 },
    { "ms", 1000 },
    { "s", 1000000 },
    { "min", 60 * 1000000LL },
    { "h", 3600 * 1000000LL },
    { "d", 86400 * 1000000LL },
};

static const struct unit unit_sizes[] = {
    { "B", 1 },
    { "KiB", 1LL << 10 },
    { "MiB", 1LL << 20 },
    { "GiB", 1LL << 30 },
    { "TiB", 1LL << 40 },
};

static bool unit_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const struct unit *unit_find(const struct unit *units, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(units[i].name, name) == 0)
            return &units[i];
    return NULL;
}

/* Reads digits behind *value; *ret_end is what follows them. -ERANGE past 64 bits. */
static int unit_digits(const char *text, int64_t *value, const char **ret_end)
{
    for (; unit_is_digit(*text); text++)
        if (__builtin_mul_overflow(*value, 10, value) ||
                __builtin_add_overflow(*value, *text - '0', value))
            return -ERANGE;
    *ret_end = text;
    return 0;
}

/* Digits, perhaps a point and more of them, one of the units; nothing else, and nothing is lost. */
static int unit_parse(const struct unit *units, size_t n, const char *text, int64_t *ret)
{
    int64_t whole = 0, fraction = 0, tenths = 1;
    const struct unit *unit;
    const char *at, *point;
    __int128 value;

    if (unit_digits(text, &whole, &at) < 0)
        return -ERANGE;
    if (at == text)
        return -EINVAL;
    if (*at == '.') {
        point = at + 1;
        if (unit_digits(point, &fraction, &at) < 0 || at - point > UNIT_DECIMALS_MAX || at == point)
            return -EINVAL;
        for (; point < at; point++)
            tenths *= 10;
    }
    unit = unit_find(units, n, at);
    if (!unit || (__int128)fraction * unit->worth % tenths != 0)
        return -EINVAL;
    value = (__int128)whole * unit->worth + (__int128)fraction * unit->worth / tenths;
    if (value > INT64_MAX)
        return -ERANGE;
    *ret = (int64_t)value;
    return 0;
}

static void unit_format(
        const struct unit *units, size_t n, int64_t value, char text[UNITS_TEXT_SIZE])
{
    size_t i = n - 1;

    while (i > 0 && (value == 0 || value % units[i].worth))
        i--;
    snprintf(text, UNITS_TEXT_SIZE, "%" PRId64 "%s", value / units[i].worth, units[i].name);
}

int units_parse_duration(const char *text, int64_t *ret_us)
{
    return unit_parse(unit_durations, ARRAY_LEN(unit_durations), text, ret_us);
}

int units_parse_bytes(const char *text, int64_t *ret_bytes)
{
    return unit_parse(unit_sizes, ARRAY_LEN(unit_sizes), text, ret_bytes);
}

void units_format_duration(int64_t us, char text[UNITS_TEXT_SIZE])
{
    if (us == 0)
        snprintf(text, UNITS_TEXT_SIZE, "0s");
    else
        unit_format(unit_durations, ARRAY_LEN(unit_durations), us, text);
}

void units_format_bytes(int64_t bytes, char text[UNITS_TEXT_SIZE])
{
    unit_format(unit_sizes, ARRAY_LEN(unit_sizes), bytes, text);
}
