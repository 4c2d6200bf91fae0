/* Threads for co_to_thread(). Started when there is more to do than threads wait, ended with the pool. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "daemon/base/list.h"

struct co_pool {
    pthread_mutex_t mutex;
    pthread_cond_t wanted;
    struct list jobs; /* not begun */
    unsigned n_jobs, n_idle, n_threads, max_threads;
    pthread_t *threads;
    bool stopping;
};

void co_pool_init(struct co_pool *p, unsigned max_threads);
/* No job is left. Joins the threads. */
void co_pool_done(struct co_pool *p);
