/*
 * UUID version 7 (RFC 9562 section 5.7). The 48 bits of milliseconds and the 12 bits of rand_a,
 * used as a counter (section 6.2, method 1), make a 60 bit number that the source never hands out
 * twice and that only grows: it is the key of a job everywhere inside the daemon, and its row in
 * the store. The 62 bits of rand_b are random and belong to the name only.
 */
#pragma once

#include <stdint.h>

#define UUID7_TEXT_SIZE 37

struct uuid7 {
    int64_t key;  /* milliseconds << 12 | counter; > 0 */
    int64_t tail; /* 62 random bits; >= 0 */
};

struct uuid7_source {
    int64_t last_key; /* set it to the greatest key ever used before the first call */
    uint64_t random[32];
    unsigned n_random;
};

/* `now_us` is daemon time. -errno of getrandom(2). */
int uuid7_next(struct uuid7_source *s, int64_t now_us, struct uuid7 *ret);
void uuid7_format(struct uuid7 id, char text[UUID7_TEXT_SIZE]);
/* The smallest key of that millisecond: those made before it are smaller. */
int64_t uuid7_first_key(int64_t at_us);
/* Hexadecimal of either case in the 8-4-4-4-12 form, version 7, RFC variant; else -EINVAL. */
int uuid7_parse(const char *text, struct uuid7 *ret);
