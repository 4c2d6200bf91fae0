#include "daemon/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t clock_read_ns(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000LL + t.tv_nsec;
}

struct clock clock_start(void)
{
    return (struct clock){ .offset_us = clock_wall_us() - clock_read_ns(CLOCK_BOOTTIME) / 1000 };
}

int64_t clock_now_us(const struct clock *c)
{
    return clock_read_ns(CLOCK_BOOTTIME) / 1000 + c->offset_us;
}

int64_t clock_wall_ahead_us(const struct clock *c)
{
    return clock_wall_us() - clock_now_us(c);
}

int64_t clock_to_mono_ns(const struct clock *c, int64_t due_us)
{
    int64_t in_us = due_us - clock_now_us(c);

    if (due_us == CLOCK_NEVER || in_us > INT64_MAX / 4 / CLOCK_NS_PER_US)
        return CLOCK_NEVER;
    return clock_mono_ns() + in_us * CLOCK_NS_PER_US;
}

int64_t clock_mono_us(void)
{
    return clock_read_ns(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_mono_ns(void)
{
    return clock_read_ns(CLOCK_MONOTONIC);
}

int64_t clock_wall_us(void)
{
    return clock_read_ns(CLOCK_REALTIME) / 1000;
}

void clock_format(int64_t us, char text[CLOCK_TEXT_SIZE])
{
    time_t seconds = (time_t)(us / CLOCK_US_PER_S);
    unsigned fraction = (unsigned)(us % CLOCK_US_PER_S);
    struct tm tm;
    size_t n;

    gmtime_r(&seconds, &tm);
    n = strftime(text, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, CLOCK_TEXT_SIZE - n, ".%06uZ", fraction % 1000000U);
}

static int clock_parse_digits(const char **p, int n, int least, int most, int *ret)
{
    int value = 0;

    for (; n > 0; n--, (*p)++) {
        if (**p < '0' || **p > '9')
            return -EINVAL;
        value = value * 10 + (**p - '0');
    }
    if (value < least || value > most)
        return -EINVAL;
    *ret = value;
    return 0;
}

static int clock_parse_char(const char **p, const char *one_of)
{
    if (**p == 0 || !strchr(one_of, **p))
        return -EINVAL;
    return *(*p)++;
}

int clock_parse(const char *text, int64_t *ret_us)
{
    struct tm tm = { 0 }, check;
    int64_t us = 0, unit = 100000, seconds;
    int sign, hours, minutes;
    const char *p = text;

    if (clock_parse_digits(&p, 4, 1970, 9999, &tm.tm_year) < 0 || clock_parse_char(&p, "-") < 0 ||
            clock_parse_digits(&p, 2, 1, 12, &tm.tm_mon) < 0 || clock_parse_char(&p, "-") < 0 ||
            clock_parse_digits(&p, 2, 1, 31, &tm.tm_mday) < 0 || clock_parse_char(&p, "Tt ") < 0 ||
            clock_parse_digits(&p, 2, 0, 23, &tm.tm_hour) < 0 || clock_parse_char(&p, ":") < 0 ||
            clock_parse_digits(&p, 2, 0, 59, &tm.tm_min) < 0 || clock_parse_char(&p, ":") < 0 ||
            clock_parse_digits(&p, 2, 0, 60, &tm.tm_sec) < 0)
        return -EINVAL;
    if (*p == '.') {
        if (p[1] < '0' || p[1] > '9')
            return -EINVAL;
        for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10)
            us += (*p - '0') * unit;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    check = tm;
    seconds = timegm(&check);
    if (check.tm_mon != tm.tm_mon)
        return -EINVAL; /* a day that the month has not */

    sign = clock_parse_char(&p, "Zz+-");
    if (sign < 0)
        return -EINVAL;
    if (sign == '+' || sign == '-') {
        if (clock_parse_digits(&p, 2, 0, 23, &hours) < 0 || clock_parse_char(&p, ":") < 0 ||
                clock_parse_digits(&p, 2, 0, 59, &minutes) < 0)
            return -EINVAL;
        seconds -= (sign == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
    }
    if (*p || seconds < 0)
        return -EINVAL;
    *ret_us = seconds * CLOCK_US_PER_S + us;
    return 0;
}
