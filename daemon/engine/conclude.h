/* From the end of a step to where its job goes next: commit, then apply, then on with it. */
#pragma once

#include <stddef.h>

#include "daemon/co/suspends.h"
#include "daemon/engine/record.h"
#include "daemon/engine/step.h"

#define STEP_GROUP_MAX 256 /* steps that one transaction commits */

/* Steps of several busy records that are committed together. */
struct step_group {
    struct record *records[STEP_GROUP_MAX];
    struct step steps[STEP_GROUP_MAX];
    struct checkpoint *checkpoints[STEP_GROUP_MAX];
    size_t n;
};

/* NULL: no memory. */
struct step_group *step_group_new(void);
/* Lets go of what is in it, uncommitted. */
void step_group_free(struct step_group *g);
/* The record is busy; its step begins as its job stands. */
struct step *step_group_add(struct step_group *g, struct record *r);
/* Suspends. Commits and applies the checkpoints, lets the records go, and empties the group. */
CO_SUSPENDS int step_group_conclude(struct step_group *g);

/*
 * Suspends. Commits the checkpoints of busy records, all in one transaction, however long space or
 * memory lack, and applies them. -errno: it never will be committed.
 */
CO_SUSPENDS int conclude(
        struct record *const *records, struct checkpoint *const *checkpoints, size_t n);
/* No longer busy: over, out of memory, or on with it, unless the daemon stops. */
void conclude_release(struct record *r);
/* The job's state as others see it. */
void conclude_show_running(struct record *r, bool running);
