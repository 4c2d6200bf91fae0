/* The store's inside, for store*.c only. */
#pragma once

#include <stdbool.h>

#include "daemon/store/lock.h"
#include "daemon/store/space.h"
#include "daemon/store/worker.h"

struct store {
    char *directory;
    struct lock lock;
    struct space space;
    int bodies_fd;
    struct sqlite *db; /* the worker's, once it is started */
    struct worker worker;
    bool started;
    bool backing_up; /* the loop's */
};
