/*
 * Each hand-off goes to one waiter, whose task may be cancelled between being chosen and running.
 * It then returns -ECANCELED, and gives back what it was chosen for.
 */
#include "daemon/co/sync.h"

#include <errno.h>
#include <limits.h>

#include "daemon/co/ready.h"

void co_waiter_choose(struct co_waiter *w)
{
    w->chosen = true;
    list_remove(&w->node);
    fiber_ready(w->fiber);
}

struct co_waiter *co_waiters_choose(struct list *waiters)
{
    struct list *node;

    while ((node = list_pop(waiters))) {
        struct co_waiter *w = list_entry(node, struct co_waiter, node);

        if (w->fiber->state != FIBER_PARKED)
            continue; /* its cancellation was first */
        co_waiter_choose(w);
        return w;
    }
    return NULL;
}

bool co_waiter_wait(struct co_waiter *w, struct fiber *f, struct list *waiters,
        enum co_awaits awaits, const void *object)
{
    w->fiber = f;
    w->chosen = false;
    list_append(waiters, &w->node);
    fiber_park(f, false, awaits, object);
    if (!w->chosen)
        list_remove(&w->node);
    return w->chosen;
}

void co_event_init(struct co_event *e)
{
    list_init(&e->waiters);
    e->set = false;
}

void co_event_set(struct co_event *e)
{
    e->set = true;
    while (co_waiters_choose(&e->waiters))
        ;
}

void co_event_clear(struct co_event *e)
{
    e->set = false;
}

int co_event_wait(struct co_event *e)
{
    struct fiber *f = fiber_self();
    struct co_waiter w;
    int rc = fiber_check(f);

    if (rc < 0 || e->set)
        return rc;
    co_waiter_wait(&w, f, &e->waiters, CO_AWAITS_EVENT, e);
    return f->cancelled ? -ECANCELED : 0;
}

void co_gate_init(struct co_gate *g, unsigned permits)
{
    list_init(&g->waiters);
    g->permits = permits;
}

int co_gate_enter(struct co_gate *g)
{
    struct fiber *f = fiber_self();
    struct co_waiter w;
    int rc = fiber_check(f);

    if (rc < 0)
        return rc;
    if (g->permits > 0) {
        g->permits--;
        return 0;
    }
    if (co_waiter_wait(&w, f, &g->waiters, CO_AWAITS_GATE, g)) {
        if (!f->cancelled)
            return 0;
        co_gate_leave(g);
    }
    return -ECANCELED;
}

void co_gate_leave(struct co_gate *g)
{
    if (!co_waiters_choose(&g->waiters))
        g->permits++;
}

void co_lock_init(struct co_lock *l)
{
    list_init(&l->waiters);
    l->owner = (struct co_task){ 0 };
}

static bool lock_is_of(const struct co_lock *l, struct co_task t)
{
    return l->owner.gen == t.gen && l->owner.slot == t.slot;
}

/* The next owner is the first one that waits, already. */
static void lock_pass(struct co_lock *l)
{
    struct co_waiter *w = co_waiters_choose(&l->waiters);

    l->owner = w ? w->fiber->handle : (struct co_task){ 0 };
}

int co_lock_enter(struct co_lock *l)
{
    struct fiber *f = fiber_self();
    struct co_waiter w;
    int rc = fiber_check(f);

    if (rc < 0)
        return rc;
    if (l->owner.gen == 0) {
        l->owner = f->handle;
        return 0;
    }
    if (lock_is_of(l, f->handle))
        return -EDEADLK;
    if (co_waiter_wait(&w, f, &l->waiters, CO_AWAITS_LOCK, l)) {
        if (!f->cancelled)
            return 0;
        lock_pass(l);
    }
    return -ECANCELED;
}

int co_lock_leave(struct co_lock *l)
{
    struct co_task self = co_self();

    if (self.gen == 0 || !lock_is_of(l, self))
        return -EPERM;
    lock_pass(l);
    return 0;
}

/* Cancelled or not: who waits on a condition is promised the lock. */
static void lock_enter_again(struct co_lock *l, struct fiber *f)
{
    struct co_waiter w = { .fiber = f };

    if (l->owner.gen == 0) {
        l->owner = f->handle;
        return;
    }
    list_append(&l->waiters, &w.node);
    while (!w.chosen)
        fiber_park(f, true, CO_AWAITS_LOCK, l);
}

void co_condition_init(struct co_condition *c)
{
    list_init(&c->waiters);
}

/* Who was chosen and is cancelled leaves the notification to the next one. */
static int condition_wait(struct co_condition *c, struct co_lock *lock, struct fiber *f)
{
    struct co_waiter w;
    bool chosen = co_waiter_wait(&w, f, &c->waiters, CO_AWAITS_CONDITION, c);

    if (lock)
        lock_enter_again(lock, f);
    if (!f->cancelled)
        return 0;
    if (chosen)
        co_condition_notify(c, 1);
    return -ECANCELED;
}

int co_condition_wait(struct co_condition *c)
{
    struct fiber *f = fiber_self();
    int rc = fiber_check(f);

    return rc < 0 ? rc : condition_wait(c, NULL, f);
}

int co_condition_wait_holding(struct co_condition *c, struct co_lock *lock)
{
    struct fiber *f = fiber_self();
    int rc = fiber_check(f);

    if (rc == 0)
        rc = co_lock_leave(lock);
    return rc < 0 ? rc : condition_wait(c, lock, f);
}

void co_condition_notify(struct co_condition *c, unsigned n)
{
    while (n-- > 0 && co_waiters_choose(&c->waiters))
        ;
}

void co_condition_notify_all(struct co_condition *c)
{
    co_condition_notify(c, UINT_MAX);
}
