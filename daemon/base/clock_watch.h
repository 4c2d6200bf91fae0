/* Tells of each jump between the wall clock and the monotonic one; costs nothing until there is one. */
#pragma once

#include "daemon/base/loop.h"

struct clock_watch {
    struct loop_watch watch;
    void (*jumped)(struct clock_watch *w);
};

/*
 * `jumped` is called on the loop after somebody has set the wall clock, and after the machine has
 * slept: CLOCK_MONOTONIC, and with it each timer, stood still meanwhile. Once for several jumps in
 * one turn. clock_wall_ahead_us() says how far it is now. -errno.
 */
int clock_watch_init(struct clock_watch *w, struct loop *l, void (*jumped)(struct clock_watch *w));
/* Idempotent, also on one that is all zeros. */
void clock_watch_done(struct clock_watch *w);
