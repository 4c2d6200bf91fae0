/* Groups: a scope, and children that end before it closes. */
#include <errno.h>

#include "daemon/co/ready.h"

void co_group_open(struct co_group *g)
{
    *g = (struct co_group){ 0 };
    list_init(&g->children);
    co_scope_open(&g->scope, CO_NEVER, 0);
}

int co_group_spawn(struct co_group *g, const char *name, co_fn fn, void *arg, struct co_task *ret)
{
    struct co_loop *l = co_current();
    struct fiber *f;
    int rc;

    if (!l)
        return fiber_absent();
    if (!g->scope.open)
        return -EINVAL;
    if (g->scope.cancelled)
        return -ECANCELED;
    rc = fiber_start(l, name, fn, arg, &f);
    if (rc < 0)
        return rc;
    f->group = g;
    list_append(&g->children, &f->sibling);
    g->n_children++;
    if (ret)
        *ret = f->handle;
    return 0;
}

void co_group_cancel(struct co_group *g)
{
    if (g->scope.cancelled)
        return;
    co_scope_cancel(&g->scope);
    list_for_each (node, &g->children)
        fiber_cancel(list_entry(node, struct fiber, sibling));
}

void co_group_ended(struct co_group *g, struct fiber *f, int rc)
{
    list_remove(&f->sibling);
    g->n_children--;
    if (rc < 0 && rc != -ECANCELED) {
        if (g->n_errors < CO_GROUP_ERRORS)
            g->errors[g->n_errors] = rc;
        if (g->n_errors++ == 0)
            co_group_cancel(g);
    }
    if (g->n_children == 0 && g->joiner && g->joiner->fiber->state == FIBER_PARKED)
        co_waiter_choose(g->joiner);
}

/* Whether the wait for the children was cut short, by whatever. */
static bool group_join(struct co_group *g, struct fiber *f)
{
    struct co_waiter w = { .fiber = f };
    bool cut = f->cancelled;

    list_init(&w.node);
    g->joiner = &w;
    f->joined = g;
    list_for_each (node, &g->children)
        co_join_break(list_entry(node, struct fiber, sibling), f);
    while (g->n_children > 0) {
        if (cut)
            co_group_cancel(g);
        w.chosen = false;
        fiber_park(f, cut, CO_AWAITS_GROUP, g);
        cut = cut || !w.chosen;
    }
    if (cut)
        co_group_cancel(g);
    f->joined = NULL;
    g->joiner = NULL;
    return cut;
}

int co_group_close(struct co_group *g, int rc)
{
    struct fiber *f = fiber_self();
    bool cut = false;

    if (!f)
        return fiber_absent();
    if (rc < 0)
        co_group_cancel(g);
    if (g->n_children > 0)
        cut = group_join(g, f);
    rc = co_scope_close(&g->scope, rc);
    if (g->n_errors > 0)
        return g->errors[0];
    return rc == 0 && cut && f->cancelled ? -ECANCELED : rc;
}

void co_group_leave(struct co_group *g)
{
    if (!g->scope.open)
        return;
    co_group_cancel(g);
    (void)co_group_close(g, -ECANCELED);
}
