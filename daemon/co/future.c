/* Futures: a slot, the list of those who wait, and the result once it is set. */
#include <errno.h>
#include <stdlib.h>

#include "daemon/co/ready.h"

struct co_promise {
    struct list waiters;
    bool set;
    int result;
};

struct future_waiter {
    struct co_waiter waiter;
    int result;
};

static int future_find(struct co_future f, struct co_promise **ret)
{
    struct co_loop *l = co_current();
    struct co_slot *slot = l ? co_slot_find(l, f.slot, f.gen) : NULL;

    if (!slot)
        return -ESRCH;
    if (slot->kind != SLOT_FUTURE) {
        if (l->debug)
            co_debug_misuse("a task's handle was given for a future's", -EINVAL);
        return -EINVAL;
    }
    *ret = slot->promise;
    return 0;
}

int co_future_new(struct co_future *ret)
{
    struct co_loop *l = co_current();
    struct co_promise *p;
    uint32_t i;

    if (!l)
        return fiber_absent();
    p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    if (co_slot_new(l, SLOT_FUTURE, &i) < 0) {
        free(p);
        return -ENOMEM;
    }
    list_init(&p->waiters);
    l->slots[i].promise = p;
    *ret = (struct co_future){ .slot = i, .gen = l->slots[i].gen };
    return 0;
}

/* The waiters get the result with them: the promise may be gone when they run. */
static void promise_tell(struct co_promise *p, int result)
{
    struct co_waiter *w;

    while ((w = co_waiters_choose(&p->waiters)))
        CONTAINER_OF(w, struct future_waiter, waiter)->result = result;
}

int co_future_set(struct co_future f, int result)
{
    struct co_promise *p;
    int rc = future_find(f, &p);

    if (rc < 0)
        return rc;
    if (p->set)
        return -EALREADY;
    p->set = true;
    p->result = result;
    promise_tell(p, result);
    return 0;
}

int co_future_drop(struct co_future f)
{
    struct co_promise *p;
    int rc = future_find(f, &p);

    if (rc < 0)
        return rc;
    promise_tell(p, -ECANCELED);
    free(p);
    co_slot_free(co_current(), f.slot);
    return 0;
}

int co_await_future(struct co_future f, int *ret_result)
{
    struct fiber *self = fiber_self();
    struct future_waiter w = { 0 };
    struct co_promise *p;
    int rc;

    if (!self)
        return fiber_absent();
    rc = future_find(f, &p);
    if (rc == 0)
        rc = fiber_check(self);
    if (rc < 0)
        return rc;
    if (p->set)
        w.result = p->result;
    else if (!co_waiter_wait(&w.waiter, self, &p->waiters, CO_AWAITS_FUTURE, p))
        return -ECANCELED;
    if (self->cancelled)
        return -ECANCELED;
    if (ret_result)
        *ret_result = w.result;
    return 0;
}
