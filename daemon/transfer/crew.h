/*
 * A pool of threads, each of which carries one exchange at a time from its beginning to its end.
 * They are started when they are needed; exchanges beyond their number wait for their turn.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/transfer/carrier.h"

struct crew;

struct crew_options {
    const struct carrier_type *type;
    struct carrier_options carrier;
    unsigned max_threads;
};

/* -ENOMEM. */
int crew_new(const struct crew_options *options, struct crew **ret);
/* No flight may be out. Joins the threads. */
struct crew *crew_free(struct crew *c);

/*
 * Lends it the flight until its `landed` is set. `origin`: a number that stands for it; one thread
 * after another is better for its connections. -errno: there is no thread, and none can be started.
 */
int crew_start(struct crew *c, struct flight *f, uint64_t origin);
/* Takes a flight back whose turn has not come; false: it is on its way, or over. */
bool crew_revoke(struct crew *c, struct flight *f);
/* Ends one early that is on its way. */
void crew_stop(struct crew *c, struct flight *f);
