/* The files of large bodies, in bodies/ below the state directory, each named by a row. */
#pragma once

#include "daemon/base/buf.h"
#include "daemon/base/error.h"

struct sqlite;

/* Opens the directory, which is created when it is missing. */
int bodies_open(int directory_fd, int *ret_fd, struct error *ret_why);
/* Removes the files that no row names; tells the driver what the others take. */
int bodies_sweep(int fd, struct sqlite *db, struct error *ret_why);
/* Removes those of a list of names, each with its NUL, and empties the list. */
void bodies_remove(int fd, struct buf *names);
