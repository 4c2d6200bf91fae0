/* What carries one exchange at a time, as blocking code on a thread of a crew. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct carrier;
struct flight;

struct carrier_options {
    int64_t connect_timeout_us;   /* TCP and TLS together */
    atomic_bool *landlock_missed; /* said once; shared */
};

struct carrier_type {
    const char *name; /* of its threads, before a number */
    /* -errno. */
    int (*open)(const struct carrier_options *options, struct carrier **ret);
    /* Until the exchange is over: the flight's answer is filled in. */
    void (*carry)(struct carrier *c, struct flight *f);
    /* From any thread: `stop` has been set, and carry() is to look. */
    void (*wake)(struct carrier *c);
    /* There is nothing to do for a while: lets go of what can be had again. */
    void (*rest)(struct carrier *c);
    void (*close)(struct carrier *c);
};

struct carrier {
    const struct carrier_type *type;
    atomic_bool stop; /* the exchange that is carried */
    bool spoilt;      /* rest() is due before the next exchange, which else fails. Its thread's */
};
