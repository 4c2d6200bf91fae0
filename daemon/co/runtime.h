/* What the files of the runtime share; nothing outside of this folder includes it. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/heap.h"
#include "daemon/base/list.h"
#include "daemon/base/loop.h"
#include "daemon/base/mailbox.h"
#include "daemon/co/info.h"
#include "daemon/co/pool.h"
#include "daemon/co/sanitizer.h"
#include "daemon/co/scope.h"
#include "daemon/co/stack.h"
#include "daemon/co/task.h"
#include "daemon/co/wait.h"

/* Which of the frames on a stack: they are aligned to 16 bytes, and a stack is at most 1 MiB. */
#define FRAME_MARK(address) ((uint16_t)((uintptr_t)(address) / 16))

enum fiber_state {
    FIBER_READY,   /* in the ready ring, once */
    FIBER_RUNNING, /* or inside co_on_loop() */
    FIBER_PARKED,  /* something will call fiber_ready() */
    FIBER_ENDED,
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
    uint8_t state;  /* of enum fiber_state */
    uint8_t awaits; /* of enum co_awaits; of use while it is parked */
    bool cancelled; /* each suspending call says so: see fiber_judge() */
    bool deaf; /* parked where a cancellation does not wake, but each co_cancel() does if `rouse` */
    bool rouse;       /* see there */
    bool warned;      /* about refusals */
    bool first;       /* co_run()'s */
    uint16_t refused; /* suspending calls refused since it last waited */
    uint16_t inner;   /* FRAME_MARK() of the suspending call's frame */
    unsigned cancels; /* that were not taken back; the outermost reason for `cancelled` */
    const void *object;
    int64_t since_ns;
    const char *name;
    uint16_t outer;          /* FRAME_MARK() of the frame below the program's */
    struct list hooks;       /* of struct co_hook: who wants to know of its end */
    struct co_join *join;    /* of the tasks that it waits for, or NULL */
    struct co_group *joined; /* the one whose children it waits for, or NULL */
    struct co_group *group;  /* whose child it is, or NULL */
    struct list sibling;     /* there */
    co_fn fn;
    void *arg;
    uint64_t walk; /* the last search that came by */
    struct fiber *walk_next;
    struct sanitizer sanitizer;
    void *variables[CO_VARIABLES];
    char label[CO_NAME_SIZE]; /* `name`, when it was set by co_name_set() */
};

/* One that waits in a list; on the stack of the waiting task. */
struct co_waiter {
    struct list node;
    struct fiber *fiber;
    bool chosen; /* and no longer in the list */
};

/* One task of several that are awaited. */
struct co_member {
    struct co_hook hook;
    struct co_task task;
    bool pending; /* it has not ended; the hook is in place */
    int result;
    union {
        struct co_join *join;
        struct co_completed *completed;
    };
};

/* One that awaits tasks; on the stack of the waiting task. */
struct co_join {
    struct fiber *fiber;
    struct co_member *members;
    size_t n;
    size_t left;       /* that have not ended */
    enum co_when when; /* it is over */
    bool keeps;        /* co_wait(): uses no handles up, and a cancelled task is no error */
    bool firm;         /* nothing but the tasks' end ends it: a cycle of these is a deadlock */
    bool met;          /* it was over before the waiter was cancelled */
    bool broken;       /* one of the tasks turned out to wait for the waiter */
    int error;         /* the first one */
};

enum slot_kind {
    SLOT_FREE,
    SLOT_TASK,
    SLOT_ENDED, /* a task that has, and whose result was not asked for yet */
    SLOT_FUTURE,
};

/* What a handle leads to while its generation is the slot's. */
struct co_slot {
    union {
        struct fiber *fiber;        /* SLOT_TASK */
        struct co_promise *promise; /* SLOT_FUTURE */
    };
    uint32_t gen;  /* never 0 */
    uint32_t owed; /* awaits, or drops, of the handle that are to come */
    union {
        int result;         /* SLOT_ENDED */
        uint32_t next_free; /* SLOT_FREE, whose generation no handle has */
    };
    uint8_t kind;
    bool telling; /* SLOT_ENDED, and its hooks are being called: it stays until that is over */
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
    unsigned budget; /* resumes left before home has its turn */
    bool debug;
    bool closing;   /* the first task has ended: everything is cancelled, nothing new starts */
    int64_t now_ns; /* of this turn */
    int result;     /* of the first task */
    unsigned n_tasks, max_tasks;
    struct co_slot *slots;
    uint32_t n_slots, free_slot;
    struct co_stacks stacks;
    struct heap timers;      /* of struct co_scope */
    uint64_t walk;           /* searches so far */
    void (*call)(void *arg); /* of co_on_loop(): the current task waits for it */
    void *call_arg;
    struct fiber *caller;
    struct loop *loop;
    bool own_loop;
    struct mailbox mailbox;
    struct loop_watch mail;
    struct co_pool pool;
    int64_t slice_ns;  /* when the running task began to run; in debug mode */
    void *fault_stack; /* of the signal handler, when it is ours */
    bool fault_handler;
    struct fiber home; /* the stack that co_run() was called on */
};

/* run.c: the scheduler; see also ready.h. */

/* -ENOMEM. */
int co_ready_grow(struct co_ready *r);

/* slot.c: handles. */

/* A free slot is taken; -ENOMEM. */
int co_slot_new(struct co_loop *l, enum slot_kind kind, uint32_t *ret_slot);
void co_slot_free(struct co_loop *l, uint32_t i);
/* NULL for a stale handle. Valid until a slot is taken. */
static inline struct co_slot *co_slot_find(const struct co_loop *l, uint32_t i, uint32_t gen)
{
    return i < l->n_slots && l->slots[i].gen == gen ? &l->slots[i] : NULL;
}

/* A future's handle was given for a task's. */
void co_slot_misused(const struct co_loop *l);

/* The slot of a task. -ESRCH, -EINVAL. */
static inline int co_slot_of_task(const struct co_loop *l, struct co_task t, struct co_slot **ret)
{
    struct co_slot *slot = l ? co_slot_find(l, t.slot, t.gen) : NULL;

    if (!slot)
        return -ESRCH;
    if (__builtin_expect(slot->kind == SLOT_FUTURE, 0)) {
        co_slot_misused(l);
        return -EINVAL;
    }
    *ret = slot;
    return 0;
}

/* One await less is owed to a task that has ended; the last one frees the slot. */
static inline void co_slot_used(struct co_loop *l, uint32_t i)
{
    struct co_slot *slot = &l->slots[i];

    if (slot->owed > 0)
        slot->owed--;
    if (slot->owed == 0 && !slot->telling)
        co_slot_free(l, i);
}

/* task.c */

int fiber_start(struct co_loop *l, const char *name, co_fn fn, void *arg, struct fiber **ret);
/* co_cancel(). */
void fiber_cancel(struct fiber *f);
/* The task of a handle while it has not ended, else NULL. */
struct fiber *fiber_find(const struct co_loop *l, struct co_task t);

/* scope.c */

/* Sees whether `f` is cancelled now, and wakes it if it became so. */
void fiber_judge(struct fiber *f);
/* co_scope_open() of the running task `f`. -ENOMEM: the scope is open, its deadline is not set. */
int co_scope_enter(struct co_scope *s, struct fiber *f, int64_t deadline_ns, unsigned flags);
/* Whether it is by something outside of `inner`, its innermost scope. */
bool fiber_cancelled_outside(const struct fiber *f, const struct co_scope *inner);
/* Whether a scope hides co_cancel() from what it does now. */
bool fiber_shielded(const struct fiber *f);
/* Its deadline has come; it is out of the heap. */
void co_scope_expire(struct co_scope *s);

/* group.c */

/* A task of the group has ended. */
void co_group_ended(struct co_group *g, struct fiber *f, int rc);

/* join.c */

/*
 * The member learns of the task's end: m->hook.ended() is called then; or it has ended already, and
 * m->result is in. m->pending tells which. -ESRCH, -EINVAL; -EDEADLK if `f` is the task, or the
 * task waits for it.
 */
int co_member_watch(struct co_member *m, struct co_task t, const struct fiber *f);
/* Never mind. `used`: and the handle is used up. */
void co_member_leave(struct co_member *m, struct co_loop *l, bool used);

/* Those whose wait for `f` keeps `child` from its end, for which `f` is to wait, get -EDEADLK. */
void co_join_break(struct fiber *child, struct fiber *f);

/* sync.c */

/* Takes the waiter out of its list, if it is in one, and wakes its task. */
void co_waiter_choose(struct co_waiter *w);
/* The first waiter is chosen; NULL: there was none. Its co_waiter is valid until its task runs. */
struct co_waiter *co_waiters_choose(struct list *waiters);
/* Suspends. Whether it was chosen; it may have been cancelled as well. */
bool co_waiter_wait(struct co_waiter *w, struct fiber *f, struct list *waiters,
        enum co_awaits awaits, const void *object);

/* info.c */

/* The tasks that `f` waits for: how many there are, of which at most `max` are written. */
size_t fiber_awaited(const struct fiber *f, struct co_task *ret, size_t max);
/* co_info(). */
void fiber_describe(const struct fiber *f, struct co_info *ret);

/* debug.c: when co_options.debug is set. */

/* The running task gives way. */
void co_debug_leave(struct fiber *from);
/* A call was made that can't be: says so, and ends the process. */
void co_debug_misuse(const char *what, int rc);

/* fault.c */

/* A task that overflows its stack is named on stderr before the process ends. Only if nobody else handles SIGSEGV. */
void co_fault_init(struct co_loop *l);
void co_fault_done(struct co_loop *l);
