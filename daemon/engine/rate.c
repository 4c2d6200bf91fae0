#include "daemon/engine/rate.h"

#include "daemon/base/clock.h"

#define RATE_SHARE   0.3 /* of the newest second in the mean */
#define RATE_SECONDS 60  /* after so many without an event it is 0 */

static double rate_fold(double mean, unsigned n, int64_t seconds)
{
    mean += RATE_SHARE * (n - mean);
    if (seconds > RATE_SECONDS)
        return 0;
    for (int64_t i = 1; i < seconds; i++)
        mean -= RATE_SHARE * mean;
    return mean;
}

void rate_count(struct rate *r, int64_t mono_us)
{
    int64_t second = mono_us / CLOCK_US_PER_S;

    if (second != r->second) {
        r->per_second = r->second ? rate_fold(r->per_second, r->n, second - r->second) : 0;
        r->second = second;
        r->n = 0;
    }
    r->n++;
}

double rate_now(const struct rate *r, int64_t mono_us)
{
    int64_t second = mono_us / CLOCK_US_PER_S;
    double before = r->per_second;

    if (second != r->second)
        return rate_fold(before, r->n, second - r->second);
    return r->n > before ? r->n : before;
}
