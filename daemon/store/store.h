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
#include <stdio.h>

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
    int64_t ballast_bytes;  /* kept in a file of its own, given up when running work needs space */
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

/* What became of one insertion that has an Idempotency-Key; without one it is always STORE_INSERTED. */
enum store_insertion {
    STORE_INSERTED,
    STORE_REPLAYED,   /* the key is known with this fingerprint: nothing was inserted */
    STORE_MISMATCHED, /* the key is known with another one: nothing was inserted */
};
struct store_outcome {
    enum store_insertion insertion;
    struct uuid7 id; /* STORE_REPLAYED: of the job or batch that the key stands for */
};

/*
 * Suspends. Inserts the jobs (ids, states, due times, held and paged_out flags set), each with its
 * idempotency key, if it has one, in the same transaction. *ret_outcomes: n of them, in order.
 * A key that is being inserted by somebody else counts as known, and is committed when this returns.
 */
CO_SUSPENDS int store_insert(
        struct store *s, struct job *const *jobs, size_t n, struct store_outcome *ret_outcomes);
/*
 * Suspends. Inserts a batch and its jobs, in slices, so that others wait for a slice at most; it
 * becomes visible with the last one. `idempotency` (NULL: none) is the batch's; its jobs have none.
 * Whoever repeats a key whose batch is still being inserted waits for that.
 */
CO_SUSPENDS int store_insert_batch(struct store *s, const struct batch *b, struct job *const *jobs,
        size_t n, const struct idempotency *idempotency, struct store_outcome *ret);
/* Suspends. Forgets keys of jobs and batches created before `before_us`, a slice at a time. 1: there are more. */
CO_SUSPENDS int store_forget_keys(struct store *s, int64_t before_us);
/*
 * Suspends. Commits what activations did, all of it in one transaction; `batch` (may be NULL) is
 * written along. A body that is inline goes into the store.
 */
CO_SUSPENDS int store_checkpoint(struct store *s, struct checkpoint *const *checkpoints, size_t n,
        const struct batch *batch);
/* Does not suspend: marks the jobs in_flight with the next group. The keys are copied. -ENOMEM. */
int store_mark_in_flight(struct store *s, const int64_t *keys, size_t n);
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
#define STORE_FINISHED_BYTES 65536 /* of jobs, after which a page of ends is short */

/*
 * Suspends. A batch's ended jobs in finishing order, those with finished_seq > after; full. A page
 * may be short: whoever reads it may hold it for as long as a client takes to read.
 */
CO_SUSPENDS int store_list_finished(
        struct store *s, int64_t batch_key, int64_t after, size_t limit, struct store_page *ret);

/*
 * --- paging ---
 * A job that has not ended is in memory, or it is paged out: then the store finds it by its lane
 * and priority in the order of its due time (unless it is held), by its deadline, by its batch,
 * or by its id. Paging in gives the whole job (request bodies, labels, attempts) and says in the
 * same transaction that it is in memory. What is paged out and held is in no lane.
 */

/* Jobs of one lane and priority that are paged out and not held. */
struct store_class {
    int64_t lane; /* lane_key() */
    int priority;
    int64_t due_us; /* the earliest due time */
};
struct store_census {
    struct store_class *classes; /* owned */
    size_t n_classes;
    size_t n_live;        /* jobs that have not ended */
    int64_t ends_us;      /* the earliest deadline of them; 0: none has one */
    struct uuid7 *flying; /* owned: those that were in flight */
    size_t n_flying;
};
void store_census_done(struct store_census *c);
/*
 * Suspends. For the start, before anything else: nothing is in memory, so everything that has not
 * ended is paged out from now on. Due times and deadlines that were written while daemon time was
 * not the wall clock (store_set_clock_offset()) become wall clock times, in the same transaction; so
 * does the creation of a job with a deadline, which counts from it.
 */
CO_SUSPENDS int store_take_census(struct store *s, struct store_census *ret);
/*
 * Suspends. Pages in jobs of a class, due by `due_us`, earliest first: up to `limit`, and no more
 * once they have `max_bytes` (job_bytes()), but one in any case. ret->next: the due time of the first
 * one that stays out, whenever it is; 0: none is left.
 */
CO_SUSPENDS int store_page_class(struct store *s, int64_t lane, int priority, int64_t due_us,
        size_t limit, int64_t max_bytes, struct store_page *ret);
/* Suspends. Pages in jobs whose deadline is up by `ends_us`. ret->next: the next deadline; 0: none. */
CO_SUSPENDS int store_page_ends(
        struct store *s, int64_t ends_us, size_t limit, struct store_page *ret);
/*
 * Suspends. Pages in members of a batch with index >= from, by index: all that are out, or those of
 * them that are held. ret->next: the index to go on from; 0: none is left.
 */
CO_SUSPENDS int store_page_batch(struct store *s, int64_t batch_key, int64_t from, bool held_only,
        size_t limit, struct store_page *ret);
/* Suspends. Pages in one job. -ENOENT no such job, -EALREADY it has ended or is in memory. */
CO_SUSPENDS int store_page_job(struct store *s, struct uuid7 id, struct job **ret);
/*
 * Suspends. After a step of the wall clock: the due times of paged out jobs that have an `at` and
 * have not begun become at_us - `offset_us`. A slice at a time from key `*after` on, which begins at 0.
 * 1: there are more.
 */
CO_SUSPENDS int store_redate(struct store *s, int64_t offset_us, int64_t *after);
/* Suspends. After a step of the wall clock: how far it is ahead of daemon time now, for the next start. */
CO_SUSPENDS int store_set_clock_offset(struct store *s, int64_t offset_us);

/*
 * --- retention, backup, space ---
 */

struct store_limits {
    int64_t finished_before_us; /* ended jobs that finished earlier go */
    int64_t max_ended;          /* more ended jobs than that: those that ended first go */
    int64_t max_bytes;          /* of the database and the body files in use; the same */
};
struct store_purge {
    struct uuid7 *ids; /* owned: jobs that were removed */
    size_t n;
    bool more;         /* another slice is due at once */
    int64_t oldest_us; /* finish of the first one left; 0: none */
};
void store_purge_done(struct store_purge *p);
/*
 * Suspends. Removes a slice (a few milliseconds) of the ended jobs that are beyond the limits, with
 * their bodies, labels and attempts; a batch goes with the last of its jobs. They go in the order in
 * which they ended, which is that of their finish but for steps of the clock: then one that finished
 * earlier may have to wait for one that ended before it.
 */
CO_SUSPENDS int store_purge(
        struct store *s, const struct store_limits *limits, struct store_purge *ret);

struct store_backup {
    char *path;    /* owned: the directory that holds it */
    int64_t bytes; /* of the database and the body files */
};
void store_backup_done(struct store_backup *b);
/*
 * Suspends. A consistent copy in a new directory backups/<time> below the state directory, synced
 * before it gets its name, while others go on. -EBUSY one is being made, -ENOSPC.
 */
CO_SUSPENDS int store_backup(struct store *s, struct store_backup *ret);
/*
 * Any thread, at any time: gives the ballast up if there is still some. true: there is more space
 * than before.
 */
bool store_more_space(struct store *s);

/*
 * Checks a state directory or a backup, which nobody may have open, and changes nothing. Says on
 * `out` what is wrong, a line for each fault. 0: it is sound; -EBADMSG: it is not; or as store_open().
 */
int store_check(const char *directory, FILE *out, struct error *ret_why);

/* Suspends. -ENOENT. Its counts are those of the stored states. */
CO_SUSPENDS int store_get_batch(struct store *s, struct uuid7 id, struct batch *ret);
/* Suspends. The ids of a batch's jobs by index; those that retention removed are missing. Owned array. */
CO_SUSPENDS int store_batch_ids(
        struct store *s, int64_t batch_key, struct uuid7 **ret_ids, size_t *ret_n);
struct store_batches {
    struct batch *batches; /* owned */
    size_t n;
    int64_t next;
};
void store_batches_done(struct store_batches *b);
/* Suspends. Newest first; `running_only` for the start: those not ended, with counts and sums made from their rows. */
CO_SUSPENDS int store_list_batches(
        struct store *s, bool running_only, int64_t from, size_t limit, struct store_batches *ret);
