/* The state directory, and the lock that says that one process has it. */
#pragma once

#include "daemon/base/error.h"

struct lock {
    int directory_fd;
    int file_fd; /* locked while it is open; holds our process id */
};

/* Creates the directory (0700) when only its last part is missing. -EBUSY with the holder's id in *ret_why. */
int lock_take(const char *directory, struct lock *ret, struct error *ret_why);
/*
 * For whoever only looks: creates and writes nothing. Without a lock file nobody has the directory,
 * and then file_fd is -1. -EBUSY as above.
 */
int lock_take_as_it_is(const char *directory, struct lock *ret, struct error *ret_why);
/* Idempotent. */
void lock_release(struct lock *l);
