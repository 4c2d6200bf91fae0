#include "daemon/base/log_limit.h"

#include <inttypes.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"

static void log_limit_tell(struct log_limit *l)
{
    if (l->n_held > 0)
        log_line(l->level, "%" PRIu64 " more %s in the last second", l->n_held, l->what);
    l->n_held = 0;
}

static void log_limit_expired(struct loop_timer *t)
{
    log_limit_tell(CONTAINER_OF(t, struct log_limit, timer));
}

void log_limit_init(struct log_limit *l, struct loop *loop, enum log_level level, const char *what)
{
    *l = (struct log_limit){ .level = level, .what = what, .begin_us = INT64_MIN / 2 };
    loop_timer_init(&l->timer, loop, log_limit_expired);
}

void log_limit_done(struct log_limit *l)
{
    loop_timer_stop(&l->timer);
    log_limit_tell(l);
}

bool log_limit_pass(struct log_limit *l)
{
    int64_t now_us = clock_mono_us(), left_us = l->begin_us + CLOCK_US_PER_S - now_us;

    if (left_us <= 0 && l->n_held == 0) {
        l->begin_us = now_us;
        l->n_passed = 0;
    }
    if (l->n_passed < LOG_LIMIT_LINES) {
        l->n_passed++;
        return true;
    }
    if (l->n_held++ == 0)
        loop_timer_set(&l->timer, left_us);
    return false;
}
