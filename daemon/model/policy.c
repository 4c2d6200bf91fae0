#include "daemon/model/policy.h"

/* After which a repetition can help; everything else ends the job at once. */
static bool policy_is_transient(const struct job_spec *spec, const struct attempt *a)
{
    switch (a->error.failure) {
    case FAILURE_DNS_NOT_FOUND:
    case FAILURE_DNS_FAILED:
    case FAILURE_CONNECTION_REFUSED:
    case FAILURE_CONNECTION_FAILED:
    case FAILURE_TLS_FAILED:
        return true;
    case FAILURE_CONNECTION_RESET:
    case FAILURE_TIMEOUT:
    case FAILURE_INTERNAL:
    case FAILURE_STORAGE_FULL:
        return a->error.retry_safe || spec->on_unknown == UNKNOWN_RETRY;
    case FAILURE_OUTCOME_UNKNOWN:
        return spec->on_unknown == UNKNOWN_RETRY;
    case FAILURE_UNEXPECTED_STATUS:
        switch (a->status) {
        case 408:
        case 425:
        case 429:
        case 500:
        case 502:
        case 503:
        case 504:
            return true;
        }
        return false;
    case FAILURE_NONE:
    case FAILURE_BLOCKED_ADDRESS:
    case FAILURE_CERTIFICATE_INVALID:
    case FAILURE_BAD_RESPONSE:
    case FAILURE_BODY_TOO_LARGE:
    case FAILURE_TOO_MANY_REDIRECTS:
    case FAILURE_BAD_REDIRECT:
    case FAILURE_DEADLINE_EXCEEDED:
    case FAILURE_CANCELLED:
    case FAILURE_DAEMON_CRASHED:
    case FAILURE_MAX:
        return false;
    }
    return false;
}

int64_t policy_backoff_us(const struct job_spec *spec, unsigned tries, uint64_t random)
{
    int64_t most = spec->backoff_us;

    for (unsigned i = 1; i < tries && most < spec->max_backoff_us; i++)
        most *= 2;
    if (most > spec->max_backoff_us)
        most = spec->max_backoff_us;
    return most > 0 ? (int64_t)(random % (uint64_t)(most + 1)) : 0;
}

struct verdict policy_next(const struct job_spec *spec, const struct attempt *last, unsigned tries,
        int64_t now_us, int64_t retry_after_us, uint64_t random)
{
    int64_t wait_us;

    if (last->error.failure == FAILURE_NONE)
        return (struct verdict){ .action = VERDICT_DONE };
    if (tries >= spec->attempts || !policy_is_transient(spec, last))
        return (struct verdict){ .action = VERDICT_GIVE_UP };

    wait_us = policy_backoff_us(spec, tries, random);
    if (retry_after_us > RETRY_AFTER_MAX_US)
        retry_after_us = RETRY_AFTER_MAX_US;
    if (wait_us < retry_after_us)
        wait_us = retry_after_us;
    return (struct verdict){ .action = VERDICT_RETRY, .due_us = now_us + wait_us };
}
