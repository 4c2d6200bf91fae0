/* What the files of the runtime share; nothing outside of this folder includes it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/heap.h"
#include "daemon/base/list.h"
#include "daemon/base/loop.h"
#include "daemon/base/mailbox.h"
#include "daemon/co/pool.h"
#include "daemon/co/sanitizer.h"
#include "daemon/co/scope.h"
#include "daemon/co/stack.h"
#include "daemon/co/task.h"

enum fiber_state {
    FIBER_READY,   /* in the ready ring, once */
    FIBER_RUNNING, /* or inside co_on_loop() */
    FIBER_PARKED,  /* something will call fiber_ready() */
    FIBER_ENDED,
};

/* Who gets the result. */
enum fiber_owner {
    FIBER_HANDLE, /* whoever awaits the handle */
    FIBER_JOIN,   /* the task that does so now */
    FIBER_GROUP,
    FIBER_NOBODY,
    FIBER_RUN, /* co_run() */
};

/*
 * A task while it has not ended: the top of its own stack, so that a parked one is one page of
 * memory. What a switch touches comes first.
 */
struct fiber {
    void *sp; /* where it is parked */
    struct co_loop *loop;
    struct co_scope *scope; /* the innermost open one, or NULL */
    struct co_task handle;
    uint8_t state, owner;
    bool cancelled;   /* each suspending call says so: see fiber_judge() */
    bool killed;      /* by fiber_kill(); the outermost reason for `cancelled` */
    bool deaf;        /* parked where a cancellation does not wake */
    bool warned;      /* about refusals */
    uint16_t refused; /* suspending calls refused since it last waited */
    const char *name;
    struct co_join *join; /* of FIBER_JOIN */
    size_t join_index;
    struct co_group *group; /* of FIBER_GROUP */
    struct list sibling;    /* in the group's children */
    co_fn fn;
    void *arg;
    struct sanitizer sanitizer;
};

/* One that waits in a list; on the stack of the waiting task. */
struct co_waiter {
    struct list node;
    struct fiber *fiber;
    bool chosen; /* and no longer in the list */
};

/* One that awaits tasks; on the stack of the waiting task. */
struct co_join {
    struct fiber *fiber;
    int *results; /* by join_index; or NULL */
    size_t left;  /* that have not ended */
    bool hasty;   /* the first error ends it */
    int error;    /* the first one */
};

/* What a handle's slot leads to while its generation is the handle's. */
struct co_slot {
    struct fiber *fiber; /* NULL: the task has ended */
    uint32_t gen;        /* never 0 */
    union {
        int result;         /* of the ended task */
        uint32_t next_free; /* of a free slot, whose generation no handle has */
    };
};

/* Tasks that can run, in order; a power of two, and room for all tasks there are. */
struct co_ready {
    struct fiber **slots;
    size_t capacity, mask; /* capacity - 1 */
    size_t head, tail;
};

struct co_loop {
    struct fiber *current; /* &home: plain code on the loop's own stack */
    struct co_ready ready;
    unsigned budget; /* resumes left in this turn */
    bool closing;    /* the first task has ended: everything is cancelled, nothing new starts */
    int result;      /* of the first task */
    unsigned n_tasks, max_tasks;
    struct co_slot *slots;
    uint32_t n_slots, free_slot;
    struct co_stacks stacks;
    struct heap timers;      /* of struct co_scope */
    int64_t now_ns;          /* when timers were last looked at */
    void (*call)(void *arg); /* of co_on_loop(): the current task waits for it */
    void *call_arg;
    struct fiber *caller;
    struct loop *loop;
    struct mailbox mailbox;
    struct loop_watch mail;
    struct co_pool pool;
    void *fault_stack; /* of the signal handler, when it is ours */
    bool fault_handler;
    struct fiber home; /* the stack that co_run() was called on */
};

/* run.c: the scheduler; see also ready.h. */

/* -ENOMEM. */
int co_ready_grow(struct co_ready *r);

/* task.c */

int fiber_start(struct co_loop *l, const char *name, co_fn fn, void *arg, enum fiber_owner owner,
        struct fiber **ret);
/* NULL for a stale handle. Valid until a task is started. */
static inline struct co_slot *co_slot_find(const struct co_loop *l, struct co_task t)
{
    struct co_slot *slot = &l->slots[t.slot];

    return t.slot < l->n_slots && slot->gen == t.gen ? slot : NULL;
}

void co_slot_free(struct co_loop *l, uint32_t i);
/* Cancels all that it does, its own shields excepted. */
void fiber_kill(struct fiber *f);

/* join.c */

/* A task that the join awaits has ended. */
void co_join_ended(struct co_join *j, size_t index, int rc);

/* scope.c */

/* Sees whether `f` is cancelled now, and wakes it if it became so. */
void fiber_judge(struct fiber *f);
/* co_scope_open() of the running task `f`. -ENOMEM: the scope is open, its deadline is not set. */
int co_scope_enter(struct co_scope *s, struct fiber *f, int64_t deadline_ns, unsigned flags);
/* Its deadline has come; it is out of the heap. */
void co_scope_expire(struct co_scope *s);
/* A task of the group has ended. */
void co_group_ended(struct co_group *g, struct fiber *f, int rc);

/* sync.c */

/* Takes the waiter out of its list, if it is in one, and wakes its task. */
void co_waiter_choose(struct co_waiter *w);

/* fault.c */

/* A task that overflows its stack is named on stderr before the process ends. Only if nobody else handles SIGSEGV. */
void co_fault_init(struct co_loop *l);
void co_fault_done(struct co_loop *l);
