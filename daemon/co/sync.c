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

/* The first waiter is chosen; whether there was one. */
static bool sync_choose(struct list *waiters)
{
    if (list_empty(waiters))
        return false;
    co_waiter_choose(list_entry(waiters->next, struct co_waiter, node));
    return true;
}

/* Whether it was chosen; it may have been cancelled as well. */
static bool sync_wait(struct fiber *f, struct list *waiters)
{
    struct co_waiter w = { .fiber = f };

    list_append(waiters, &w.node);
    fiber_park(f, false);
    if (!w.chosen)
        list_remove(&w.node);
    return w.chosen;
}

void co_event_init(struct co_event *e)
{
    list_init(&e->waiters);
    e->set = false;
}

void co_event_set(struct co_event *e)
{
    e->set = true;
    while (sync_choose(&e->waiters))
        ;
}

int co_event_wait(struct co_event *e)
{
    struct fiber *f = fiber_self();
    int rc = fiber_check(f);

    if (rc < 0 || e->set)
        return rc;
    sync_wait(f, &e->waiters);
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
    int rc = fiber_check(f);

    if (rc < 0)
        return rc;
    if (g->permits > 0) {
        g->permits--;
        return 0;
    }
    if (sync_wait(f, &g->waiters)) {
        if (!f->cancelled)
            return 0;
        co_gate_leave(g);
    }
    return -ECANCELED;
}

void co_gate_leave(struct co_gate *g)
{
    if (!sync_choose(&g->waiters))
        g->permits++;
}

void co_condition_init(struct co_condition *c)
{
    list_init(&c->waiters);
}

int co_condition_wait(struct co_condition *c)
{
    struct fiber *f = fiber_self();
    int rc = fiber_check(f);

    if (rc < 0)
        return rc;
    if (sync_wait(f, &c->waiters)) {
        if (!f->cancelled)
            return 0;
        co_condition_notify(c, 1);
    }
    return -ECANCELED;
}

void co_condition_notify(struct co_condition *c, unsigned n)
{
    while (n-- > 0 && sync_choose(&c->waiters))
        ;
}

void co_condition_notify_all(struct co_condition *c)
{
    co_condition_notify(c, UINT_MAX);
}
