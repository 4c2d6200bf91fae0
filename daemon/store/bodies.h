/* The files of large bodies, in bodies/ below the state directory, each named by a row. */
#pragma once

#include "daemon/base/buf.h"
#include "daemon/base/error.h"

struct sqlite;

/* Opens the directory, which is created when it is missing. */
int bodies_open(int directory_fd, int *ret_fd, struct error *ret_why);
/* Removes the files that no row names; tells the driver what the others take. */
int bodies_sweep(int fd, struct sqlite *db, struct error *ret_why);
/* Removes a slice (a few milliseconds) of the first `n` bytes of a list of names, each with its NUL.
 * What it has removed, it takes off the list; returns the bytes of that. */
size_t bodies_remove(int fd, struct buf *names, size_t n);
