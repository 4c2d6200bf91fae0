/* What has ended is kept for a while (config: retention): a task removes it, a slice at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/co/sync.h"
#include "daemon/engine/service.h"

struct engine;
struct job;

struct retention {
    struct retention_options options;
    struct co_condition changed; /* the options, or enough has ended */
    unsigned n_ended;            /* since the last look, and their bodies' bytes */
    int64_t ended_bytes;
    int64_t first_ended_us; /* when the first one of them ended */
    bool look;
};

void retention_init(struct retention *r, const struct retention_options *options);
/* New limits take effect at once. */
void retention_set(struct retention *r, const struct retention_options *options);
/* A job has ended. */
void retention_count(struct engine *e, const struct job *j);
/* Suspends. The task; until it is cancelled. */
CO_SUSPENDS int retention_main(void *engine);
