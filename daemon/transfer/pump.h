/*
 * A thread that carries exchanges: its own event loop and one libcurl multi. What it is told comes
 * through its mailbox; what it has done goes home by co_post().
 */
#pragma once

#include <stdint.h>

struct flight;
struct list;
struct pump;

struct pump_options {
    unsigned number; /* for the thread's name */
    int64_t connect_timeout_us;
    unsigned idle_connections; /* kept; more than 0 */
};

/* Starts the thread. -errno. */
int pump_new(const struct pump_options *options, struct pump **ret);
/* Joins it; no flight may be out. */
struct pump *pump_free(struct pump *p);

/* Lends it these flights, each until its `landed` is set. The list is empty then. */
void pump_start(struct pump *p, struct list *flights);
/* Ends it early; one that is over stays as it is. `landed` waits for both then. */
void pump_stop(struct flight *f);
