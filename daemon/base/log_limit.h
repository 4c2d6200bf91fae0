/* Keeps one kind of line from flooding the log: the first ones of a second, then a count of the rest. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/log.h"
#include "daemon/base/loop.h"

#define LOG_LIMIT_LINES 10 /* in a second */

struct log_limit {
    struct loop_timer timer; /* set while lines are held back, to the end of their second */
    enum log_level level;
    const char *what;  /* behind the number: "… more jobs failed in the last second" */
    int64_t begin_us;  /* of the second */
    unsigned n_passed; /* in it */
    uint64_t n_held;
};

/* `what` is borrowed. */
void log_limit_init(struct log_limit *l, struct loop *loop, enum log_level level, const char *what);
/* Says how many are held back. Idempotent, also on one that is all zeros. */
void log_limit_done(struct log_limit *l);
/* Whether the next line may be written; if not, it is counted. */
bool log_limit_pass(struct log_limit *l);
