/*
 * What the engine may ask of the store (DESIGN section 7). One thread owns the one database
 * connection; operations that wait together share one transaction (group commit). Every
 * suspending call returns after the commit that made it durable, or with -errno and nothing done:
 * -ENOSPC no space (heals by itself), -EIO the store is broken and takes nothing more.
 * Arguments are borrowed until the call returns and must not change meanwhile. These calls are
 * short and not cut short by cancellation: it shows at the caller's next suspending call.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/base/uuid7.h"
#include "daemon/co/suspends.h"
#include "daemon/model/batch.h"
#include "daemon/model/job.h"

struct loop;
struct store;

struct store_options {
    const char *directory;  /* exists, or its parent does: created with mode 0700 */
    bool relaxed;           /* synchronous=NORMAL: a power cut may take the last commits */
    int64_t min_free_bytes; /* inserts are refused with -ENOSPC while the disk has less */
};

/*
 * Takes the directory's lock, opens or creates the database, migrates it, drops what a crash left
 * half-made (batches still loading, files in bodies/ that no row names), starts the thread.
 * -EBUSY another daemon holds it, -EACCES, -EBADMSG damaged, -ENOTSUP written by a newer version,
 * each with one clear line in *ret_why. Call it before co_run().
 * `failed` is called once on the store's thread when an fsync or commit fails for another reason
 * than space: nothing may be acknowledged any more.
 */
int store_open(const struct store_options *options, void (*failed)(void *arg), void *arg,
        struct store **ret, struct error *ret_why);
/* Finishes what waits, closes the database, releases the lock. No call may be suspended in it. */
struct store *store_close(struct store *s);
/* The directory of body files, whose names begin with the job's id as text; the store's, stays open. */
int store_bodies_fd(const struct store *s);
/* The greatest job or batch key that is in use; 0: none. */
int64_t store_last_key(const struct store *s);

/* Suspends. Inserts the jobs (ids, due times and held flags set). */
CO_SUSPENDS int store_insert(struct store *s, struct job *const *jobs, size_t n);
/*
 * Suspends. Inserts a batch and its jobs, in slices, so that others wait for a slice at most; it
 * becomes visible with the last one.
 */
CO_SUSPENDS int store_insert_batch(
        struct store *s, const struct batch *b, struct job *const *jobs, size_t n);
/*
 * Suspends. Commits what activations did, all of it in one transaction; `batch` (may be NULL) is
 * written along. A body that is inline goes into the store.
 */
CO_SUSPENDS int store_checkpoint(struct store *s, struct checkpoint *const *checkpoints, size_t n,
        const struct batch *batch);
/* Does not suspend: marks the job in_flight with the next group. Its key is copied. -ENOMEM. */
int store_mark_in_flight(struct store *s, int64_t key);
/* Suspends. Writes state, finished and sums of a batch. */
CO_SUSPENDS int store_update_batch(struct store *s, const struct batch *b);

/* Suspends. -ENOENT. With attempts, events, headers and labels, without request bodies when the job has ended. */
CO_SUSPENDS int store_get(struct store *s, struct uuid7 id, struct job **ret);

struct store_body {
    struct body body; /* inline data or a file name */
    char *type;       /* Content-Type; owned, may be NULL */
};
void store_body_done(struct store_body *b);
/* Suspends. The body of a job's step; `step` STEP_MAX: that of its result. -ENOENT. */
CO_SUSPENDS int store_get_body(
        struct store *s, struct uuid7 id, enum job_step step, struct store_body *ret);

struct store_filter {
    unsigned states;                     /* bits 1 << enum job_state, as stored; 0: all */
    int kind;                            /* enum job_kind, or -1: all */
    struct uuid7 batch;                  /* key 0: all */
    const char *lane;                    /* origin of one of its requests; NULL: all */
    const char *label_key, *label_value; /* NULL: all */
};

struct store_page {
    struct job **jobs; /* owned references */
    size_t n;
    int64_t next; /* where the next page starts; 0: there is none */
};
void store_page_done(struct store_page *p);

#define STORE_EXAMINED_MAX 20000 /* rows that one list call looks at */

/*
 * Suspends. Newest first; with a batch in the order of its index. `from` is 0 or a page's `next`
 * (a key; in a batch an index + 1). A page may be short, even empty, and still have a `next`.
 * `full`: attempts, events, result headers too.
 */
CO_SUSPENDS int store_list(struct store *s, const struct store_filter *filter, int64_t from,
        size_t limit, bool full, struct store_page *ret);
/* Suspends. A batch's ended jobs in finishing order, those with finished_seq > after; full. */
CO_SUSPENDS int store_list_finished(
        struct store *s, int64_t batch_key, int64_t after, size_t limit, struct store_page *ret);
/* Suspends. Jobs that have not ended with key > after, by key, with request bodies, labels, attempts. For the start. */
CO_SUSPENDS int store_list_live(
        struct store *s, int64_t after, size_t limit, struct store_page *ret);

/* Suspends. -ENOENT. Its counts are those of the stored states. */
CO_SUSPENDS int store_get_batch(struct store *s, struct uuid7 id, struct batch *ret);
struct store_batches {
    struct batch *batches; /* owned */
    size_t n;
    int64_t next;
};
void store_batches_done(struct store_batches *b);
/* Suspends. Newest first; `running_only` for the start: those not ended, with counts and sums made from their rows. */
CO_SUSPENDS int store_list_batches(
        struct store *s, bool running_only, int64_t from, size_t limit, struct store_batches *ret);
