/* Tasks: their start, their end, and what is done to them from outside. */
#include "daemon/co/task.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/co/ready.h"

void fiber_cancel(struct fiber *f)
{
    f->cancels++;
    fiber_judge(f);
    if (f->rouse)
        fiber_ready(f);
}

/* The first task has ended: so shall all others. */
static void loop_close(struct co_loop *l, int rc)
{
    l->result = rc;
    l->closing = true;
    for (uint32_t i = 0; i < l->n_slots; i++)
        if (l->slots[i].kind == SLOT_TASK)
            fiber_cancel(l->slots[i].fiber);
}

/* Whoever waits for the end learns of it; all of that is plain code. */
static void fiber_tell(struct fiber *f, int rc)
{
    struct list *node;

    while ((node = list_pop(&f->hooks))) {
        struct co_hook *hook = list_entry(node, struct co_hook, node);

        hook->ended(hook, rc);
    }
}

static void fiber_end(struct fiber *f, int rc)
{
    struct co_loop *l = f->loop;
    uint32_t i = f->handle.slot;
    struct co_slot *slot = &l->slots[i];

    assert(!f->scope);
    f->state = FIBER_ENDED;
    l->current = &l->home;
    l->n_tasks--;
    if (rc < 0 && rc != -ECANCELED && slot->owed == 0 && list_empty(&f->hooks) && !f->group &&
            !f->first)
        log_debug("task %s ended unobserved: %s", f->name, strerrordesc_np(-rc));
    slot->kind = SLOT_ENDED;
    slot->result = rc;
    slot->telling = true;
    fiber_tell(f, rc);
    slot = &l->slots[i]; /* they may have moved */
    slot->telling = false;
    if (slot->owed == 0)
        co_slot_free(l, i);
    if (f->group)
        co_group_ended(f->group, f, rc);
    if (f->first)
        loop_close(l, rc);
}

static void fiber_main(void *arg)
{
    struct fiber *f = arg;

    f->outer = FRAME_MARK(__builtin_frame_address(0));
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
    f->awaits = CO_AWAITS_NOTHING;
    f->cancelled = f->deaf = f->rouse = f->warned = f->first = false;
    f->refused = f->inner = f->outer = 0;
    f->cancels = 0;
    f->join = NULL;
    f->joined = f->group = NULL;
    f->walk = 0;
    list_init(&f->hooks);
    memcpy(f->variables, l->current->variables, sizeof(f->variables));
    sanitizer_born(&f->sanitizer, low, (size_t)(base + CO_STACK_SIZE - low));
    return f;
}

static int fiber_new(struct co_loop *l, const char *name, co_fn fn, void *arg, struct fiber **ret)
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
    base = co_stack_get(&l->stacks);
    if (!base)
        return -ENOMEM;
    if (co_slot_new(l, SLOT_TASK, &i) < 0) {
        co_stack_put(&l->stacks, base);
        return -ENOMEM;
    }
    f = fiber_make(l, base);
    f->name = name;
    f->fn = fn;
    f->arg = arg;
    l->slots[i].fiber = f;
    f->handle = (struct co_task){ .slot = i, .gen = l->slots[i].gen };
    l->n_tasks++;
    *ret = f;
    return 0;
}

int fiber_start(struct co_loop *l, const char *name, co_fn fn, void *arg, struct fiber **ret)
{
    int rc = fiber_new(l, name, fn, arg, ret);

    if (rc == 0)
        ready_push(&l->ready, *ret);
    return rc;
}

int co_spawn(const char *name, co_fn fn, void *arg, struct co_task *ret)
{
    struct co_loop *l = co_thread_loop;
    struct fiber *f;
    int rc;

    if (!l)
        return fiber_absent();
    rc = fiber_start(l, name, fn, arg, &f);
    if (rc < 0)
        return rc;
    l->slots[f->handle.slot].owed = 1;
    *ret = f->handle;
    return 0;
}

int co_spawn_detached(const char *name, co_fn fn, void *arg)
{
    struct co_loop *l = co_thread_loop;
    struct fiber *f;

    return l ? fiber_start(l, name, fn, arg, &f) : fiber_absent();
}

int co_spawn_eager(const char *name, co_fn fn, void *arg, struct co_task *ret)
{
    struct fiber *self = fiber_self(), *f;
    struct co_loop *l;
    int rc;

    if (!self)
        return fiber_absent();
    l = self->loop;
    rc = fiber_new(l, name, fn, arg, &f);
    if (rc < 0)
        return rc;
    l->slots[f->handle.slot].owed = 1;
    *ret = f->handle;
    /* The caller is next, whatever the new task wakes. */
    ready_push_front(&l->ready, self);
    l->budget++;
    fiber_switch(self, f, false);
    return 0;
}

int co_keep(struct co_task t)
{
    struct co_slot *slot;
    int rc = co_slot_of_task(co_thread_loop, t, &slot);

    if (rc == 0)
        slot->owed++;
    return rc;
}

int co_detach(struct co_task t)
{
    struct co_slot *slot;
    int rc = co_slot_of_task(co_thread_loop, t, &slot);

    if (rc < 0)
        return rc;
    if (slot->owed == 0)
        return -ESRCH;
    if (slot->kind == SLOT_ENDED)
        co_slot_used(co_thread_loop, t.slot);
    else
        slot->owed--;
    return 0;
}

int co_cancel(struct co_task t)
{
    struct co_slot *slot;
    int rc = co_slot_of_task(co_thread_loop, t, &slot);

    if (rc == 0 && slot->kind == SLOT_TASK)
        fiber_cancel(slot->fiber);
    return rc;
}

unsigned co_uncancel(void)
{
    struct fiber *f = fiber_self();

    if (!f || f->cancels == 0)
        return 0;
    f->cancels--;
    fiber_judge(f);
    return f->cancels;
}

struct fiber *fiber_find(const struct co_loop *l, struct co_task t)
{
    const struct co_slot *slot = co_slot_find(l, t.slot, t.gen);

    return slot && slot->kind == SLOT_TASK ? slot->fiber : NULL;
}

unsigned co_cancelling(struct co_task t)
{
    struct co_loop *l = co_thread_loop;
    const struct fiber *f = l ? fiber_find(l, t) : NULL;

    return f ? f->cancels : 0;
}

int co_done(struct co_task t)
{
    struct co_slot *slot;
    int rc = co_slot_of_task(co_thread_loop, t, &slot);

    return rc < 0 ? rc : slot->kind == SLOT_ENDED;
}

int co_on_done(struct co_task t, struct co_hook *h)
{
    struct co_loop *l = co_thread_loop;
    struct fiber *self;
    struct co_slot *slot;
    int rc = co_slot_of_task(co_thread_loop, t, &slot);

    list_init(&h->node);
    if (rc < 0)
        return rc;
    if (slot->kind == SLOT_TASK) {
        list_append(&slot->fiber->hooks, &h->node);
        return 0;
    }
    self = l->current;
    l->current = &l->home; /* plain code, now as later */
    h->ended(h, slot->result);
    l->current = self;
    return 0;
}

void co_hook_remove(struct co_hook *h)
{
    list_remove(&h->node);
}
