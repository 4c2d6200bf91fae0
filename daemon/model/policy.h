/* What follows from an attempt: the rules of retrying (DESIGN section 8, Defaults). Pure. */
#pragma once

#include <stdint.h>

#include "daemon/model/attempt.h"
#include "daemon/model/job.h"

enum verdict_action { VERDICT_DONE, VERDICT_RETRY, VERDICT_GIVE_UP };

struct verdict {
    enum verdict_action action;
    int64_t due_us; /* VERDICT_RETRY: daemon time */
};

/*
 * `last` is the try's last exchange; its error has FAILURE_NONE when the step succeeded. `tries`
 * counts this one. `retry_after_us` is what the answer asked for (0: nothing), honoured up to
 * RETRY_AFTER_MAX_US. `random` is any number: the jitter.
 */
#define RETRY_AFTER_MAX_US (24LL * 3600 * 1000000)
struct verdict policy_next(const struct job_spec *spec, const struct attempt *last, unsigned tries,
        int64_t now_us, int64_t retry_after_us, uint64_t random);
/* Full jitter: a random time up to backoff × 2^(tries-1), at most max_backoff. */
int64_t policy_backoff_us(const struct job_spec *spec, unsigned tries, uint64_t random);
