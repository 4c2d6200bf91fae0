/*
 * Space on the store's disk: whether there is enough for new work, and the ballast, a file that is
 * given up so that running work can be finished when there is none. Its loss and return are logged
 * here, since nobody above hears of them.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct space_options {
    int directory_fd;
    int64_t min_free_bytes;
    int64_t ballast_bytes; /* 0: none */
};

/* Fields are the module's. */
struct space {
    struct space_options options;
    pthread_mutex_t giving;   /* the ballast's file comes and goes under it */
    atomic_bool ballast;      /* it is there */
    atomic_llong given_up_us; /* when; 0: never */
    /* The rest is the store thread's. */
    int64_t checked_us, probed_us;
    int64_t tight_until_us;
    bool is_short;
};

/* Makes the ballast when there is room for it. The directory is borrowed. Nothing is to be undone. */
void space_init(struct space *s, const struct space_options *options);
/* Any thread. True: the ballast has just been given up, by this call or a moment before it. */
bool space_give_up(struct space *s);

/* --- the store thread's --- */

/*
 * Less than min_free_bytes are left for others than root, or what is left is the ballast's that was
 * given up; looked at ten times a second at most.
 */
bool space_short(struct space *s);
/* Less than `bytes` and min_free_bytes. */
bool space_short_of(const struct space *s, int64_t bytes);
/* The ballast is missing because it was given up. */
bool space_gave_up(const struct space *s);
/* A write found no room, whatever the disk says. */
void space_full(struct space *s);
/* Files should be kept small: the disk is short of space or was full a moment ago. */
bool space_tight(struct space *s);
/* How long the thread may sleep before it calls space_probe(); -1: for ever. */
int space_wait_ms(const struct space *s);
/* Makes the ballast again when there is room for it; looks twice a second. */
void space_probe(struct space *s);
