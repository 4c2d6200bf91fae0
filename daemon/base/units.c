#include "config/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/cleanup.h"

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

/* Digits, perhaps a point and more of them, one of the units; nothing else. */
static int unit_parse(const struct unit *units, size_t n, const char *text, int64_t *ret)
{
    const char *at = text, *fraction = NULL, *end;
    const struct unit *unit;
    int64_t value = 0, scale;

    while (unit_is_digit(*at))
        if (__builtin_mul_overflow(value, 10, &value) ||
                __builtin_add_overflow(value, *at++ - '0', &value))
            return -ERANGE;
    if (at == text)
        return -EINVAL;
    if (*at == '.') {
        fraction = ++at;
        while (unit_is_digit(*at))
            at++;
        if (at == fraction)
            return -EINVAL;
    }
    end = at;
    unit = unit_find(units, n, at);
    if (!unit)
        return -EINVAL;
    if (__builtin_mul_overflow(value, unit->worth, &value))
        return -ERANGE;
    scale = unit->worth;
    for (at = fraction; at && at < end; at++) {
        /* A digit that is worth less than the smallest unit would be lost. */
        if (*at != '0' && (scale < 10 || scale % 10))
            return -EINVAL;
        scale /= 10;
        if (__builtin_add_overflow(value, scale * (*at - '0'), &value))
            return -ERANGE;
    }
    *ret = value;
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
