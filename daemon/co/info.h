/*
 * Looking at tasks: which there are, what each waits for, since when, and where in the code.
 * Nothing here suspends. See co.h for the rules.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "daemon/co/task.h"

#define CO_NAME_SIZE  64 /* with the 0; longer names are cut */
#define CO_FRAMES_MAX 16
#define CO_VARIABLES  8

/* The running task; `{0}` outside of one. */
struct co_task co_self(void);
/* How many tasks have not ended. */
unsigned co_count(void);
/*
 * How many can have a guard below their stack at the same time on this kernel; UINT_MAX: all of them,
 * or, where a page is too large for a guard, none. Also outside of co_run().
 */
unsigned co_guarded_max(void);
/* Names the running task anew; copied. What is not printable ASCII becomes a question mark. */
void co_name_set(const char *name);

/*
 * Context variables: each task has CO_VARIABLES pointers, copies of those of the task that spawned
 * it; NULL at first. Which is which is the program's to say, in an enum.
 */
void *co_variable(unsigned key);
void co_variable_set(unsigned key, void *value);

enum co_state {
    CO_READY, /* will run as soon as it is its turn */
    CO_RUNNING,
    CO_WAITING,
    CO_STATE_MAX,
};

/* What a waiting task waits for. */
enum co_awaits {
    CO_AWAITS_NOTHING,
    CO_AWAITS_TASK,
    CO_AWAITS_GATHER,
    CO_AWAITS_TASKS, /* co_wait(), co_completed_next() */
    CO_AWAITS_GROUP,
    CO_AWAITS_FUTURE,
    CO_AWAITS_TIME,
    CO_AWAITS_FD,
    CO_AWAITS_EVENT,
    CO_AWAITS_GATE,
    CO_AWAITS_LOCK,
    CO_AWAITS_CONDITION,
    CO_AWAITS_SEND,
    CO_AWAITS_RECEIVE,
    CO_AWAITS_THREAD,
    CO_AWAITS_MAX,
};

/* Short words, for people and for JSON. */
const char *co_state_name(enum co_state s);
const char *co_awaits_name(enum co_awaits a);

struct co_info {
    struct co_task task;
    char name[CO_NAME_SIZE];
    enum co_state state;
    enum co_awaits awaits; /* CO_AWAITS_NOTHING unless it waits */
    const void *object;    /* the event, gate, …; to tell apart, not to look into */
    int64_t since_ns; /* CLOCK_MONOTONIC, when it began to wait, exact to one turn of the loop; else 0 */
    unsigned cancels;   /* as co_cancelling() */
    bool cancelled;     /* its next wait gives -ECANCELED: see co_cancelled() */
    size_t stack_bytes; /* in use where it is parked; 0 for the caller */
    unsigned n_awaited; /* tasks that it waits for */
    unsigned n_frames;  /* 0 for the caller */
    /*
     * Return addresses in the program, innermost first; the runtime's own frames are left out. Of a
     * task that has no frame, as before it has begun: its body.
     */
    uintptr_t frames[CO_FRAMES_MAX];
};

/* -ESRCH for one that has ended, -EINVAL. */
int co_info(struct co_task t, struct co_info *ret);
/* The tasks that `t` waits for, at most `max`; how many were written. */
size_t co_awaited(struct co_task t, struct co_task *ret, size_t max);

/* All tasks at one moment. Made on the loop; any thread may read it then. */
struct co_snapshot {
    int64_t taken_ns; /* CLOCK_MONOTONIC */
    size_t n;
    struct co_info *tasks;   /* in the order of task.slot */
    struct co_task *awaited; /* tasks[0].n_awaited of the first, then those of the second, … */
};

/* About 1 µs for each task. -ENOMEM, -EPERM outside of co_run(). */
int co_snapshot(struct co_snapshot *ret);
void co_snapshot_done(struct co_snapshot *s);
/* How long that task of a snapshot had been waiting; -1: it was not. */
int64_t co_snapshot_waited_ns(const struct co_snapshot *s, const struct co_info *info);
/*
 * A tree as text: below each task those that it waits for, with their ages and the places in the
 * code. What several wait for is shown below the first, and named below the others. Reads debug
 * information, which takes milliseconds and a large stack: off the main loop, please. -ENOMEM.
 */
int co_snapshot_write(const struct co_snapshot *s, FILE *f);
