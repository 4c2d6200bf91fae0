/*
 * Scopes are a chain per task, innermost first. Whether a task is cancelled is decided here, in one
 * place, each time that something in its chain changes: a cancelled or expired scope that no shield
 * hides from the task's code, or the end of the whole task (`killed`), which is outside of all.
 */
#include "daemon/co/scope.h"

#include <assert.h>
#include <errno.h>

#include "daemon/co/ready.h"

static bool scope_reaches(const struct fiber *f)
{
    for (const struct co_scope *s = f->scope; s; s = s->outer) {
        if (s->cancelled || s->expired)
            return true;
        if (s->flags & CO_SHIELD)
            return false;
    }
    return f->killed;
}

void fiber_judge(struct fiber *f)
{
    f->cancelled = scope_reaches(f);
    if (f->cancelled && !f->deaf)
        fiber_ready(f);
}

static struct fiber *scope_fiber(const struct co_scope *s)
{
    const struct co_slot *slot = s->loop ? co_slot_find(s->loop, s->task) : NULL;

    return slot ? slot->fiber : NULL;
}

int co_scope_enter(struct co_scope *s, struct fiber *f, int64_t deadline_ns, unsigned flags)
{
    struct co_loop *l = f->loop;
    int rc = 0;

    *s = (struct co_scope){
        .outer = f->scope, .loop = l, .task = f->handle, .deadline_ns = deadline_ns, .flags = flags
    };
    heap_item_init(&s->timer);
    f->scope = s;
    if (deadline_ns <= l->now_ns)
        s->expired = true;
    else if (deadline_ns != CO_NEVER)
        rc = heap_add(&l->timers, &s->timer, deadline_ns);
    if (s->expired || (flags & CO_SHIELD))
        fiber_judge(f);
    return rc;
}

void co_scope_open(struct co_scope *s, int64_t deadline_ns, unsigned flags)
{
    struct fiber *f = fiber_self();

    if (!f) {
        *s = (struct co_scope){ .deadline_ns = deadline_ns, .flags = flags };
        heap_item_init(&s->timer);
        return;
    }
    /* What can't be bounded must not begin. */
    if (co_scope_enter(s, f, deadline_ns, flags) < 0)
        co_scope_expire(s);
}

void co_scope_expire(struct co_scope *s)
{
    s->expired = true;
    fiber_judge(scope_fiber(s));
}

void co_scope_cancel(struct co_scope *s)
{
    struct fiber *f = scope_fiber(s);

    if (s->cancelled || s->expired)
        return;
    s->cancelled = true;
    if (!f)
        return;
    heap_remove(&f->loop->timers, &s->timer);
    fiber_judge(f);
}

int co_scope_close(struct co_scope *s, int rc)
{
    struct fiber *f = scope_fiber(s);

    if (!f)
        return rc;
    assert(f->scope == s);
    heap_remove(&f->loop->timers, &s->timer);
    f->scope = s->outer;
    fiber_judge(f);
    return rc == -ECANCELED && s->expired && !f->cancelled ? -ETIMEDOUT : rc;
}

bool co_cancelled(void)
{
    const struct fiber *f = fiber_self();

    return f && f->cancelled;
}

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
        return -EPERM;
    if (g->scope.cancelled)
        return -ECANCELED;
    rc = fiber_start(l, name, fn, arg, FIBER_GROUP, &f);
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
    co_scope_cancel(&g->scope);
    list_for_each (node, &g->children)
        fiber_kill(list_entry(node, struct fiber, sibling));
}

void co_group_ended(struct co_group *g, struct fiber *f, int rc)
{
    list_remove(&f->sibling);
    g->n_children--;
    if (rc < 0 && rc != -ECANCELED && !g->first_error) {
        g->first_error = rc;
        co_group_cancel(g);
    }
    if (g->n_children == 0 && g->joiner)
        co_waiter_choose(g->joiner);
}

/* Whether the wait for the children was cut short, by whatever. */
static bool group_join(struct co_group *g, struct fiber *f)
{
    struct co_waiter w = { .fiber = f };
    bool cut = f->cancelled;

    list_init(&w.node);
    g->joiner = &w;
    if (!cut) {
        fiber_park(f, false);
        cut = !w.chosen;
    }
    if (cut)
        co_group_cancel(g);
    while (!w.chosen)
        fiber_park(f, true);
    g->joiner = NULL;
    return cut;
}

int co_group_close(struct co_group *g, int rc)
{
    struct fiber *f = fiber_self();
    bool cut = false;

    if (!f)
        return -EPERM;
    if (g->n_children > 0)
        cut = group_join(g, f);
    rc = co_scope_close(&g->scope, rc);
    if (g->first_error)
        return g->first_error;
    return rc == 0 && cut && f->cancelled ? -ECANCELED : rc;
}
