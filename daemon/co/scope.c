/*
 * Scopes are a chain per task, innermost first. Whether a task is cancelled is decided here, in one
 * place, each time that something in its chain changes: a cancelled or expired scope that no shield
 * hides from the task's code, or co_cancel() of the whole task, which is outside of all.
 */
#include "daemon/co/scope.h"

#include <assert.h>
#include <errno.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/co/ready.h"

/* Whether a cancellation at `s`, or further out, reaches what runs inside of it. */
static bool scope_reached(const struct fiber *f, const struct co_scope *s)
{
    for (; s; s = s->outer) {
        if (s->cancelled || s->expired)
            return true;
        if (s->flags & CO_SHIELD)
            return false;
    }
    return f->cancels > 0;
}

void fiber_judge(struct fiber *f)
{
    f->cancelled = scope_reached(f, f->scope);
    if (f->cancelled && !f->deaf)
        fiber_ready(f);
}

bool fiber_cancelled_outside(const struct fiber *f, const struct co_scope *inner)
{
    return scope_reached(f, inner->outer);
}

bool fiber_shielded(const struct fiber *f)
{
    const struct co_scope *s = f->scope;

    while (s && !(s->flags & CO_SHIELD))
        s = s->outer;
    return s;
}

static struct fiber *scope_fiber(const struct co_scope *s)
{
    return s->loop ? fiber_find(s->loop, s->task) : NULL;
}

int co_scope_enter(struct co_scope *s, struct fiber *f, int64_t deadline_ns, unsigned flags)
{
    struct co_loop *l = f->loop;
    int rc = 0;

    *s = (struct co_scope){ .outer = f->scope,
        .loop = l,
        .task = f->handle,
        .deadline_ns = deadline_ns,
        .flags = flags,
        .open = true };
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
    if (f->loop->debug && (flags & CO_SHIELD) && deadline_ns == CO_NEVER)
        log_warning("task %s is shielded from cancellation without a deadline", f->name);
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

int co_scope_rearm(struct co_scope *s, int64_t deadline_ns)
{
    struct fiber *f = scope_fiber(s);

    if (!s->open || s->expired)
        return -ETIMEDOUT;
    s->deadline_ns = deadline_ns;
    if (!f || s->cancelled)
        return 0;
    heap_remove(&f->loop->timers, &s->timer);
    if (deadline_ns <= f->loop->now_ns)
        co_scope_expire(s);
    else if (deadline_ns != CO_NEVER)
        return heap_add(&f->loop->timers, &s->timer, deadline_ns);
    return 0;
}

int co_scope_close(struct co_scope *s, int rc)
{
    struct fiber *f = scope_fiber(s);

    s->open = false;
    if (!f)
        return rc;
    assert(f->scope == s);
    heap_remove(&f->loop->timers, &s->timer);
    f->scope = s->outer;
    fiber_judge(f);
    return rc == -ECANCELED && s->expired && !f->cancelled ? -ETIMEDOUT : rc;
}

void co_scope_leave(struct co_scope *s)
{
    if (s->open)
        co_scope_close(s, 0);
}

int64_t co_deadline(int64_t ns)
{
    int64_t deadline_ns;

    return __builtin_add_overflow(clock_mono_ns(), ns, &deadline_ns) ? CO_NEVER : deadline_ns;
}

bool co_cancelled(void)
{
    const struct fiber *f = fiber_self();

    return f && f->cancelled;
}
