/*
 * Tasks and their handles. A handle's slot outlives the task until somebody has asked for the
 * result; the stack goes back to the pool when the task ends.
 */
#include "daemon/co/task.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/co/ready.h"

#define SLOTS_MIN 64

static int slots_grow(struct co_loop *l)
{
    uint32_t n = l->n_slots ? l->n_slots * 2 : SLOTS_MIN;
    struct co_slot *slots = reallocarray(l->slots, n, sizeof(*slots));

    if (!slots)
        return -ENOMEM;
    for (uint32_t i = n; i-- > l->n_slots;) {
        slots[i] = (struct co_slot){ .gen = 1, .next_free = l->free_slot };
        l->free_slot = i;
    }
    l->slots = slots;
    l->n_slots = n;
    return 0;
}

void co_slot_free(struct co_loop *l, uint32_t i)
{
    struct co_slot *slot = &l->slots[i];

    slot->fiber = NULL;
    if (++slot->gen == 0)
        slot->gen = 1;
    slot->next_free = l->free_slot;
    l->free_slot = i;
}

void fiber_kill(struct fiber *f)
{
    f->killed = true;
    fiber_judge(f);
}

/* The first task has ended: so shall all others. */
static void loop_close(struct co_loop *l, int rc)
{
    l->result = rc;
    l->closing = true;
    for (uint32_t i = 0; i < l->n_slots; i++)
        if (l->slots[i].fiber)
            fiber_kill(l->slots[i].fiber);
}

static void fiber_end(struct fiber *f, int rc)
{
    struct co_loop *l = f->loop;
    struct co_slot *slot = &l->slots[f->handle.slot];

    assert(!f->scope);
    f->state = FIBER_ENDED;
    l->n_tasks--;
    slot->fiber = NULL;
    if (f->owner == FIBER_HANDLE)
        slot->result = rc;
    else
        co_slot_free(l, f->handle.slot);

    switch ((enum fiber_owner)f->owner) {
    case FIBER_JOIN:
        co_join_ended(f->join, f->join_index, rc);
        break;
    case FIBER_GROUP:
        co_group_ended(f->group, f, rc);
        break;
    case FIBER_RUN:
        loop_close(l, rc);
        break;
    case FIBER_NOBODY:
        if (rc < 0 && rc != -ECANCELED)
            log_debug("task %s ended unobserved: %s", f->name, strerror(-rc));
        break;
    case FIBER_HANDLE:
        break;
    }
}

static void fiber_main(void *arg)
{
    struct fiber *f = arg;

    sanitizer_arrive(&f->sanitizer, &f->loop->home.sanitizer);
    fiber_end(f, f->cancelled ? -ECANCELED : f->fn(f->arg));
    co_stack_put(&f->loop->stacks, co_stack_of(f));
    fiber_switch(f, ready_next(f->loop), true);
}

/* The task is at the top of its stack: block above, frames below. Field by field: it is hot. */
static struct fiber *fiber_make(struct co_loop *l, char *base)
{
    uintptr_t top = (uintptr_t)co_stack_top(base) - sizeof(struct fiber);
    struct fiber *f = (struct fiber *)(top & ~(uintptr_t)63); /* a cache line begins */
    char *low = base + l->stacks.guard_size;

    f->sp = co_switch_make(low, f, fiber_main, f);
    f->loop = l;
    f->scope = NULL;
    f->cancelled = f->killed = f->deaf = f->warned = false;
    f->refused = 0;
    sanitizer_born(&f->sanitizer, low, (size_t)(base + CO_STACK_SIZE - low));
    return f;
}

int fiber_start(struct co_loop *l, const char *name, co_fn fn, void *arg, enum fiber_owner owner,
        struct fiber **ret)
{
    struct fiber *f;
    uint32_t i;
    char *base;

    if (l->closing)
        return -ECANCELED;
    if (l->n_tasks >= l->max_tasks)
        return -EAGAIN;
    if (l->n_tasks >= l->ready.capacity && co_ready_grow(&l->ready) < 0)
        return -ENOMEM;
    if (l->free_slot == UINT32_MAX && slots_grow(l) < 0)
        return -ENOMEM;
    base = co_stack_get(&l->stacks);
    if (!base)
        return -ENOMEM;

    f = fiber_make(l, base);
    f->name = name;
    f->fn = fn;
    f->arg = arg;
    f->owner = owner;
    i = l->free_slot;
    l->free_slot = l->slots[i].next_free;
    l->slots[i].fiber = f;
    f->handle = (struct co_task){ .slot = i, .gen = l->slots[i].gen };
    ready_push(&l->ready, f);
    l->n_tasks++;
    *ret = f;
    return 0;
}

static int task_spawn(
        const char *name, co_fn fn, void *arg, enum fiber_owner owner, struct co_task *ret)
{
    struct co_loop *l = co_current();
    struct fiber *f;
    int rc;

    if (!l)
        return -EPERM;
    rc = fiber_start(l, name, fn, arg, owner, &f);
    if (rc < 0)
        return rc;
    if (ret)
        *ret = f->handle;
    return 0;
}

int co_spawn(const char *name, co_fn fn, void *arg, struct co_task *ret)
{
    return task_spawn(name, fn, arg, FIBER_HANDLE, ret);
}

int co_spawn_detached(const char *name, co_fn fn, void *arg)
{
    return task_spawn(name, fn, arg, FIBER_NOBODY, NULL);
}

int co_detach(struct co_task t)
{
    struct co_loop *l = co_current();
    struct co_slot *slot = l ? co_slot_find(l, t) : NULL;

    if (!slot)
        return -ESRCH;
    if (!slot->fiber) {
        co_slot_free(l, t.slot);
        return 0;
    }
    if (slot->fiber->owner != FIBER_HANDLE)
        return -ESRCH;
    slot->fiber->owner = FIBER_NOBODY;
    return 0;
}

int co_cancel(struct co_task t)
{
    struct co_loop *l = co_current();
    struct co_slot *slot = l ? co_slot_find(l, t) : NULL;

    if (!slot)
        return -ESRCH;
    if (slot->fiber)
        fiber_kill(slot->fiber);
    return 0;
}

struct co_task co_self(void)
{
    struct fiber *f = fiber_self();

    return f ? f->handle : (struct co_task){ 0 };
}

unsigned co_count(void)
{
    struct co_loop *l = co_current();

    return l ? l->n_tasks : 0;
}
