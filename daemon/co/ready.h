/*
 * How one task gives way to the next: the ready ring and the switch. Inline, because returns after
 * a switch are mispredicted: the fewer levels of calls below a suspending call, the better.
 */
#pragma once

#include <assert.h>
#include <errno.h>

#include "daemon/co/runtime.h"
#include "daemon/co/switch.h"

/* Far enough ahead for memory to arrive: a task's block, and then what it saved on its stack. */
#define READY_PREFETCH_FIBER 12
#define READY_PREFETCH_STACK 6

/* Set for as long as co_run() runs. A thread runs one loop for ever, so no switch changes it. */
extern _Thread_local struct co_loop *co_thread_loop
        __attribute__((tls_model("initial-exec"), visibility("hidden")));

static inline void ready_push(struct co_ready *r, struct fiber *f)
{
    f->state = FIBER_READY;
    r->slots[r->tail++ & r->mask] = f;
}

/* In front of all others. */
static inline void ready_push_front(struct co_ready *r, struct fiber *f)
{
    f->state = FIBER_READY;
    r->slots[--r->head & r->mask] = f;
}

/* Who runs next: home when nothing is ready or the budget is used up. */
static inline struct fiber *ready_next(struct co_loop *l)
{
    struct co_ready *r = &l->ready;
    size_t n = r->tail - r->head;

    if (n == 0 || l->budget == 0)
        return &l->home;
    l->budget--;
    if (n > READY_PREFETCH_FIBER) {
        const char *sp = r->slots[(r->head + READY_PREFETCH_STACK) & r->mask]->sp;

        __builtin_prefetch(r->slots[(r->head + READY_PREFETCH_FIBER) & r->mask]);
        __builtin_prefetch(sp);
        __builtin_prefetch(sp + 64);
    }
    return r->slots[r->head++ & r->mask];
}

/* 0, or -ECANCELED if `from` is cancelled when it goes on. `last`: it does not. */
static inline int fiber_switch(struct fiber *from, struct fiber *to, bool last)
{
    int rc;

    to->state = FIBER_RUNNING;
    if (__builtin_expect(from->loop->debug, 0))
        co_debug_leave(from);
    from->loop->current = to;
    sanitizer_leave(&from->sanitizer, &to->sanitizer, last);
    rc = co_switch(&from->sp, to->sp, to->cancelled ? -ECANCELED : 0);
    sanitizer_arrive(&from->sanitizer, &from->loop->home.sanitizer);
    return rc;
}

static inline int fiber_leave(struct fiber *f)
{
    struct fiber *next = ready_next(f->loop);

    if (next != f)
        return fiber_switch(f, next, false);
    f->state = FIBER_RUNNING;
    return f->cancelled ? -ECANCELED : 0;
}

/*
 * Until fiber_ready(); that is also what a cancellation does, unless `deaf`. `f` is the running
 * task, `awaits` and `object` are for people who look.
 */
static inline int fiber_park(struct fiber *f, bool deaf, enum co_awaits awaits, const void *object)
{
    assert(f == f->loop->current);
    f->state = FIBER_PARKED;
    f->deaf = deaf;
    f->refused = 0;
    f->awaits = (uint8_t)awaits;
    f->object = object;
    f->since_ns = f->loop->now_ns;
    return fiber_leave(f);
}

/* Lets everything that is ready run first. `f` is the running task. */
static inline int fiber_yield(struct fiber *f)
{
    assert(f == f->loop->current);
    ready_push(&f->loop->ready, f);
    return fiber_leave(f);
}

/* Queues a parked task; one that is not parked has been woken already. */
static inline void fiber_ready(struct fiber *f)
{
    if (f->state == FIBER_PARKED)
        ready_push(&f->loop->ready, f);
}

/* The running task, or NULL. */
static inline struct fiber *fiber_here(void)
{
    struct co_loop *l = co_thread_loop;

    return l && l->current != &l->home ? l->current : NULL;
}

/* The same, in a function that the program calls and that may suspend: its frame is noted for co_info(). */
static inline __attribute__((always_inline)) struct fiber *fiber_self(void)
{
    struct fiber *f = fiber_here();

    if (f)
        f->inner = FRAME_MARK(__builtin_frame_address(0));
    return f;
}

/* The -ECANCELED of a call that did not wait. A task that ignores too many of them lets others run first. */
int fiber_refuse(struct fiber *f);

/* The -EPERM of a suspending call from where none can be made. */
int fiber_absent(void);

/* Whether the running task may suspend now: 0, -ECANCELED; -EPERM for NULL. */
static inline int fiber_check(struct fiber *f)
{
    if (__builtin_expect(!f, 0))
        return fiber_absent();
    return __builtin_expect(f->cancelled, 0) ? fiber_refuse(f) : 0;
}
