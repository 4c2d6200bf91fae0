/* What the files of the engine share. Main loop only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/clock.h"
#include "daemon/base/log_limit.h"
#include "daemon/base/uuid7.h"
#include "daemon/co/sync.h"
#include "daemon/engine/due.h"
#include "daemon/engine/lane.h"
#include "daemon/engine/record.h"
#include "daemon/engine/run.h"

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
    struct runs runs;
    struct uuid7_source ids;
    unsigned max_jobs; /* not ended, with those on their way into the store */
    unsigned n_submitting;
    struct list busy; /* records: the live set */
    unsigned n_busy;
    struct co_condition quiet; /* n_busy has become 0 */
    struct log_limit failures; /* lines of failed jobs */
    struct due_item reopen;    /* opens the lanes that a lack of memory closed */
    bool started, stopping;
    bool halted; /* stopping, and what has not begun does not begin any more */
};

/* The service that the API knows is the engine. */
static inline struct engine *engine_of(struct service *s)
{
    return (struct engine *)s;
}
