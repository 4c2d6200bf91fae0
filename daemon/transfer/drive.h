/* An exchange as blocking code: a libcurl multi of its own, and curl_multi_poll() to wait in. */
#pragma once

#include <stddef.h>

#include "daemon/transfer/carrier.h"

struct drive;
struct flight;

/* A descriptor that is looked after while an exchange runs; fd -1: none. */
struct drive_control {
    int fd;
    /* There is something to be read. It may set `stopped` of the flight's record. */
    void (*ready)(struct drive_control *c);
};

struct drive_options {
    int64_t connect_timeout_us;
    const void *authorities; /* PEM, for easy_set_authorities(); NULL: those that libcurl knows */
    size_t authorities_bytes;
    struct drive_control *control; /* NULL: none */
};

/* As a thread's; wake() is curl_multi_wakeup(). */
extern const struct carrier_type drive_carrier;

/* What it is given outlives it. -ENOMEM. */
int drive_new(const struct drive_options *options, struct drive **ret);
struct drive *drive_free(struct drive *d);
/* Until the exchange is over: its answer is filled in. Who is no crew calls drive_mend() before. */
void drive_run(struct drive *d, struct flight *f);
/* When the last exchange found no memory: forgets its connections, and is fit for one again if it can. */
void drive_mend(struct drive *d);
