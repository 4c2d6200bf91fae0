/*
 * Times are int64_t, in microseconds where the name ends in _us and nanoseconds in _ns.
 *
 * Daemon time is the wall clock at start plus CLOCK_BOOTTIME since: it is a date that can be shown
 * and stored, and no jump of the wall clock touches it while the daemon runs (DESIGN section 4).
 */
#pragma once

#include <stdint.h>

#define CLOCK_US_PER_S  1000000LL
#define CLOCK_NS_PER_US 1000LL
#define CLOCK_NEVER     INT64_MAX

struct clock {
    int64_t offset_us; /* daemon time minus CLOCK_BOOTTIME */
};

struct clock clock_start(void);
int64_t clock_now_us(const struct clock *c);
/* The wall clock minus daemon time, now: what the wall clock has jumped since the start. */
int64_t clock_wall_ahead_us(const struct clock *c);
/* The monotonic nanosecond at which daemon time will be `due_us`, as co_sleep_until() takes it. */
int64_t clock_to_mono_ns(const struct clock *c, int64_t due_us);

int64_t clock_mono_us(void);
int64_t clock_mono_ns(void);
int64_t clock_wall_us(void);

#define CLOCK_TEXT_SIZE 32
/* RFC 3339 in UTC with microseconds and Z, for 0 <= us < year 10000. */
void clock_format(int64_t us, char text[CLOCK_TEXT_SIZE]);
/* RFC 3339 with an offset or Z, fraction optional; -EINVAL. */
int clock_parse(const char *text, int64_t *ret_us);
