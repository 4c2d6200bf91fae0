/*
 * The store thread. Operations come by mailbox and go home the same way; those that write and wait
 * together share a transaction. What reads runs between the groups and sees what is committed.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/buf.h"
#include "daemon/base/mailbox.h"
#include "daemon/co/sync.h"
#include "daemon/co/task.h"

struct op;
struct space;
struct sqlite;

/* All of them run on the store thread. */
struct op_class {
    /* Does its work in the running transaction; may be repeated after a rollback. */
    int (*run)(struct op *op, struct sqlite *db);
    /*
     * May be NULL. After the commit (of one that reads: after its run), or with the error: true puts
     * it at the end of its queue again.
     */
    bool (*settle)(struct op *op, struct sqlite *db, int rc);
    bool reads;   /* writes nothing */
    bool inserts; /* new work: what is given up first when space is short */
};

/*
 * An operation with a place is not carried out while one before it in its series is missing: one that
 * failed for lack of space or memory, which its caller tries again.
 */
struct op_place {
    int64_t series; /* 0: none */
    int64_t n;      /* grows */
};

/* Part of its caller's frame, or on the heap with no `home`: then it is freed when it is done. */
struct op {
    struct mail mail;
    const struct op_class *class;
    struct co_loop *home;
    struct co_event done;
    struct op *also; /* goes home with it */
    unsigned rows;   /* row operations that it stands for */
    struct op_place place;
    int rc;
};

/* A chain of operations, linked through their mail. */
struct op_queue {
    struct mail *first, **last;
};

struct worker_options {
    struct sqlite *db;
    struct space *space;
    int bodies_fd;
    bool relaxed; /* a commit is durable once the log was folded */
    void (*failed)(void *arg);
    void *arg;
};

/* All fields are the worker's. */
struct worker {
    struct worker_options options;
    pthread_t thread;
    struct mailbox mailbox;
    struct mail stop;
    struct op_queue writes, reads;
    struct op *homeward, *homeward_last; /* done, to be sent home together: one wake-up for all */
    struct buf owed;    /* struct op_place, of operations that failed and will come again */
    struct buf unnamed; /* body files, each name with its NUL, that no row has any more */
    size_t sure;        /* bytes of it: the first ones, whose rows no power cut brings back */
    bool keep_files;    /* a backup links them: none goes */
    bool stopping;
    bool broken; /* nothing is written or read any more */
    bool untidy; /* there may be more to fold, to remove or to drop */
};

/* Starts the thread. The worker must not move. */
int worker_start(struct worker *w, const struct worker_options *options);
/* Finishes what waits and ends the thread. */
void worker_stop(struct worker *w);
/* Suspends. The operation's result. -EPERM outside of a coroutine: nothing was done. */
CO_SUSPENDS int worker_run(struct worker *w, struct op *op);
/* On the store thread. While `keep`, no body file is removed; those of that time go, by and by, when it ends. */
void worker_keep_files(struct worker *w, bool keep);
/* For one that is on the heap. */
void worker_post(struct worker *w, struct op *op);
