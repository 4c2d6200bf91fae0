/* The store's inside, for store*.c only. */
#pragma once

#include <stdbool.h>

#include "daemon/store/lock.h"
#include "daemon/store/worker.h"

struct store {
    struct lock lock;
    int bodies_fd;
    struct sqlite *db; /* the worker's, once it is started */
    struct worker worker;
    bool started;
};
