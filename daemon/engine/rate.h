/* How often something happens: a mean over the last seconds, kept without a timer. */
#pragma once

#include <stdint.h>

struct rate {
    int64_t second;    /* of CLOCK_MONOTONIC: the one that `n` counts */
    unsigned n;        /* in this second so far */
    double per_second; /* of those before it; newer ones weigh more */
};

void rate_count(struct rate *r, int64_t mono_us);
/* As of now: it falls while nothing happens. */
double rate_now(const struct rate *r, int64_t mono_us);
