/* What the files of the engine share. Main loop only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/clock.h"
#include "daemon/base/clock_watch.h"
#include "daemon/base/log_limit.h"
#include "daemon/base/uuid7.h"
#include "daemon/co/sync.h"
#include "daemon/engine/backlog.h"
#include "daemon/engine/due.h"
#include "daemon/engine/lane.h"
#include "daemon/engine/local.h"
#include "daemon/engine/postponed.h"
#include "daemon/engine/rate.h"
#include "daemon/engine/record.h"
#include "daemon/engine/retention.h"
#include "daemon/engine/run.h"
#include "daemon/engine/waits.h"

struct co_scope;
struct loop;
struct service;
struct service_rules;
struct store;
struct transfer;

struct engine {
    struct clock clock;
    struct transfer *transfer;
    struct store *store;
    struct service_rules *rules;
    struct lanes lanes;
    struct due due;
    struct records records;
    struct backlog backlog;
    struct local local;
    struct runs runs;
    struct waits waits;
    struct retention retention;
    struct postponed postponed;
    struct clock_watch clock_watch;
    struct co_condition clock_jumped; /* for redate_main() */
    bool redate;
    struct rate ends; /* how fast jobs end */
    struct uuid7_source ids;
    unsigned max_jobs, max_batches, max_lanes;
    size_t n_live;       /* jobs that have not ended, wherever they are */
    size_t n_submitting; /* on their way into the store, not yet in n_live */
    struct list busy;    /* records: the live set */
    unsigned n_busy;
    struct co_condition quiet; /* n_busy has become 0 */
    struct log_limit failures; /* lines of failed jobs */
    struct co_scope *draining; /* of the stop that waits for what runs; NULL: none */
    int64_t drained_by_us;     /* CLOCK_MONOTONIC: when it stops waiting */
    bool started, stopping;
    bool halted; /* stopping, and what has not begun does not begin any more */
};

/* The service that the API knows is the engine. */
static inline struct engine *engine_of(struct service *s)
{
    return (struct engine *)s;
}
