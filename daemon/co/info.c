#include "daemon/co/info.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "daemon/co/backtrace.h"
#include "daemon/co/ready.h"

static const char *const state_names[CO_STATE_MAX] = {
    [CO_READY] = "ready",
    [CO_RUNNING] = "running",
    [CO_WAITING] = "waiting",
};

static const char *const awaits_names[CO_AWAITS_MAX] = {
    [CO_AWAITS_NOTHING] = "nothing",
    [CO_AWAITS_TASK] = "task",
    [CO_AWAITS_GATHER] = "gather",
    [CO_AWAITS_TASKS] = "tasks",
    [CO_AWAITS_GROUP] = "group",
    [CO_AWAITS_FUTURE] = "future",
    [CO_AWAITS_TIME] = "time",
    [CO_AWAITS_FD] = "fd",
    [CO_AWAITS_EVENT] = "event",
    [CO_AWAITS_GATE] = "gate",
    [CO_AWAITS_LOCK] = "lock",
    [CO_AWAITS_CONDITION] = "condition",
    [CO_AWAITS_SEND] = "send",
    [CO_AWAITS_RECEIVE] = "receive",
    [CO_AWAITS_THREAD] = "thread",
};

/* What the states of a task are called outside. */
static const enum co_state states[] = {
    [FIBER_READY] = CO_READY,
    [FIBER_RUNNING] = CO_RUNNING,
    [FIBER_PARKED] = CO_WAITING,
};

const char *co_state_name(enum co_state s)
{
    return s < CO_STATE_MAX ? state_names[s] : "?";
}

const char *co_awaits_name(enum co_awaits a)
{
    return a < CO_AWAITS_MAX ? awaits_names[a] : "?";
}

struct co_task co_self(void)
{
    struct fiber *f = fiber_here();

    return f ? f->handle : (struct co_task){ 0 };
}

unsigned co_count(void)
{
    struct co_loop *l = co_current();

    return l ? l->n_tasks : 0;
}

unsigned co_guarded_max(void)
{
    size_t n = co_stacks_max_guarded();

    return n < UINT_MAX ? (unsigned)n : UINT_MAX;
}

/* Names go to terminals and logs. */
void co_name_set(const char *name)
{
    struct fiber *f = fiber_here();
    size_t n = 0;

    if (!f)
        return;
    for (; name[n] && n < sizeof(f->label) - 1; n++)
        f->label[n] = name[n] >= ' ' && name[n] <= '~' ? name[n] : '?';
    f->label[n] = 0;
    f->name = f->label;
}

void *co_variable(unsigned key)
{
    const struct fiber *f = fiber_here();

    return f && key < CO_VARIABLES ? f->variables[key] : NULL;
}

void co_variable_set(unsigned key, void *value)
{
    struct fiber *f = fiber_here();

    if (f && key < CO_VARIABLES)
        f->variables[key] = value;
}

static void awaited_add(struct co_task t, struct co_task *ret, size_t max, size_t *n)
{
    if (*n < max)
        ret[*n] = t;
    ++*n;
}

size_t fiber_awaited(const struct fiber *f, struct co_task *ret, size_t max)
{
    const struct co_completed *completed;
    const struct co_member *members = NULL;
    size_t n_members = 0, n = 0;

    if (f->state != FIBER_PARKED)
        return 0;
    if (f->join) {
        members = f->join->members;
        n_members = f->join->n;
    } else if (f->awaits == CO_AWAITS_TASKS) {
        completed = f->object;
        members = completed->members;
        n_members = completed->n;
    }
    for (size_t i = 0; i < n_members; i++)
        if (members[i].pending && fiber_find(f->loop, members[i].task))
            awaited_add(members[i].task, ret, max, &n);
    if (f->joined)
        list_for_each (node, &f->joined->children)
            if (list_entry(node, struct fiber, sibling)->state != FIBER_ENDED)
                awaited_add(list_entry(node, struct fiber, sibling)->handle, ret, max, &n);
    return n;
}

void fiber_describe(const struct fiber *f, struct co_info *ret)
{
    size_t n = strnlen(f->name, CO_NAME_SIZE - 1);
    bool waits = f->state == FIBER_PARKED;

    ret->task = f->handle;
    memcpy(ret->name, f->name, n);
    ret->name[n] = 0;
    ret->state = states[f->state];
    ret->awaits = waits ? f->awaits : CO_AWAITS_NOTHING;
    ret->object = waits ? f->object : NULL;
    ret->since_ns = waits ? f->since_ns : 0;
    ret->cancels = f->cancels;
    ret->cancelled = f->cancelled;
    ret->n_awaited = (unsigned)fiber_awaited(f, NULL, 0);
    ret->stack_bytes = 0;
    ret->n_frames = 0;
    if (f == f->loop->current)
        return;
    ret->stack_bytes = (size_t)((char *)co_stack_top(co_stack_of(f)) - (char *)f->sp);
    ret->n_frames = co_backtrace(f, ret->frames, CO_FRAMES_MAX);
}

/* -ESRCH, -EINVAL. */
static int info_find(struct co_task t, const struct fiber **ret)
{
    struct co_slot *slot;
    int rc = co_slot_of_task(co_thread_loop, t, &slot);

    if (rc < 0)
        return rc;
    if (slot->kind != SLOT_TASK)
        return -ESRCH;
    *ret = slot->fiber;
    return 0;
}

int co_info(struct co_task t, struct co_info *ret)
{
    const struct fiber *f;
    int rc = info_find(t, &f);

    if (rc == 0)
        fiber_describe(f, ret);
    return rc;
}

size_t co_awaited(struct co_task t, struct co_task *ret, size_t max)
{
    const struct fiber *f;
    size_t n = info_find(t, &f) == 0 ? fiber_awaited(f, ret, max) : 0;

    return n < max ? n : max;
}
