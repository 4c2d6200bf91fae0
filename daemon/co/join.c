/*
 * Awaiting tasks. Each (waiter, task) pair is a member, whose hook the task calls at its end; a
 * join counts its members. co_await() is a gather of one.
 *
 * - A member is in its task's list of hooks exactly as long as it is pending.
 * - A waiter that goes on early takes its hooks back, and the handles as used up.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/co/ready.h"

#define MEMBERS_ON_STACK 8

static void walk_push(struct fiber **list, struct fiber *f, uint64_t walk)
{
    if (f->walk == walk)
        return;
    f->walk = walk;
    f->walk_next = *list;
    *list = f;
}

/* Those that `f` can't go on without. */
static void walk_awaited(struct fiber **list, const struct fiber *f, uint64_t walk)
{
    struct fiber *other;

    if (f->join && f->join->firm)
        for (size_t i = 0; i < f->join->n; i++)
            if (f->join->members[i].pending &&
                    (other = fiber_find(f->loop, f->join->members[i].task)))
                walk_push(list, other, walk);
    if (f->joined)
        list_for_each (node, &f->joined->children)
            walk_push(list, list_entry(node, struct fiber, sibling), walk);
}

/* Most tasks are not, when they begin to wait: then there is no cycle, and nothing to search. */
static bool fiber_is_awaited(const struct fiber *f)
{
    return !list_empty(&f->hooks) || (f->group && f->group->joiner);
}

/* Whether `f` waits, over however many tasks, for `other`. */
static bool fiber_waits_for(struct fiber *f, const struct fiber *other)
{
    struct fiber *list = NULL;
    uint64_t walk;

    if (f == other)
        return true;
    if ((!f->join && !f->joined) || !fiber_is_awaited(other))
        return false;
    walk = ++f->loop->walk;
    walk_push(&list, f, walk);
    while (list && list != other) {
        f = list;
        list = f->walk_next;
        walk_awaited(&list, f, walk);
    }
    return list;
}

int co_member_watch(struct co_member *m, struct co_task t, const struct fiber *f)
{
    struct co_slot *slot;
    int rc = co_slot_of_task(co_thread_loop, t, &slot);

    m->task = t;
    m->pending = false;
    if (rc < 0)
        return rc;
    if (slot->kind == SLOT_ENDED) {
        m->result = slot->result;
        return 0;
    }
    if (f && fiber_waits_for(slot->fiber, f))
        return -EDEADLK;
    m->pending = true;
    list_append(&slot->fiber->hooks, &m->hook.node);
    return 0;
}

void co_member_leave(struct co_member *m, struct co_loop *l, bool used)
{
    struct co_slot *slot = &l->slots[m->task.slot];

    list_remove(&m->hook.node);
    m->pending = false;
    if (used && slot->owed > 0)
        slot->owed--;
}

static bool join_over(const struct co_join *j)
{
    return j->left == 0 || (j->when == CO_FIRST_DONE && j->left < j->n) ||
           (j->when == CO_FIRST_ERROR && j->error);
}

static void join_count(struct co_join *j, struct co_member *m, int rc)
{
    m->result = rc;
    if (rc < 0 && !j->error && !(j->keeps && rc == -ECANCELED))
        j->error = rc;
    j->left--;
}

static void join_wake(struct co_join *j)
{
    if (!join_over(j) || j->fiber->state != FIBER_PARKED)
        return; /* or the waiter's cancellation was first */
    j->met = true;
    fiber_ready(j->fiber);
}

static void join_ended(struct co_hook *hook, int rc)
{
    struct co_member *m = CONTAINER_OF(hook, struct co_member, hook);
    struct co_join *j = m->join;
    struct co_slot *slot = &j->fiber->loop->slots[m->task.slot];

    m->pending = false;
    if (!j->keeps && slot->owed > 0)
        slot->owed--;
    join_count(j, m, rc);
    join_wake(j);
}

static int join_add(struct co_join *j, struct co_member *m, struct co_task t)
{
    int rc;

    m->hook.ended = join_ended;
    m->join = j;
    rc = co_member_watch(m, t, j->fiber);
    if (rc < 0 || m->pending)
        return rc;
    if (!j->keeps)
        co_slot_used(j->fiber->loop, t.slot);
    join_count(j, m, m->result);
    return 0;
}

/* The tasks that have not ended go on without the waiter. */
static void join_leave(struct co_join *j)
{
    if (j->left == 0)
        return;
    for (size_t i = 0; i < j->n; i++)
        if (j->members[i].pending)
            co_member_leave(&j->members[i], j->fiber->loop, !j->keeps);
}

/* Cancels all tasks, once more each time that the waiter is, and waits for their end. */
static int join_cancel(struct co_join *j, enum co_awaits awaits)
{
    struct fiber *f = j->fiber;

    j->when = CO_ALL_DONE;
    if (j->left == 0)
        return fiber_refuse(f);
    f->rouse = !fiber_shielded(f);
    do {
        for (size_t i = 0; i < j->n; i++)
            if (j->members[i].pending)
                fiber_cancel(fiber_find(f->loop, j->members[i].task));
        fiber_park(f, true, awaits, NULL);
    } while (j->left > 0);
    f->rouse = false;
    return -ECANCELED;
}

/* 0: it is over; -ECANCELED: the waiter is cancelled. */
static inline __attribute__((always_inline)) int join_park(struct co_join *j, enum co_awaits awaits)
{
    struct fiber *f = j->fiber;

    if (f->cancelled)
        return -ECANCELED;
    if (join_over(j))
        return 0;
    f->join = j;
    fiber_park(f, false, awaits, NULL);
    f->join = NULL;
    return j->met ? 0 : -ECANCELED;
}

static inline __attribute__((always_inline)) int join_wait(struct co_join *j, enum co_awaits awaits)
{
    int rc = join_park(j, awaits);

    if (__builtin_expect(rc == -ECANCELED, 0)) {
        j->fiber->join = j;
        rc = join_cancel(j, awaits);
        j->fiber->join = NULL;
    }
    return rc;
}

/* One that waits for `f` and that the last search came by. */
static struct co_member *join_on_the_way(const struct fiber *f)
{
    list_for_each (node, &f->hooks) {
        struct co_hook *hook = list_entry(node, struct co_hook, node);
        struct co_member *m = CONTAINER_OF(hook, struct co_member, hook);

        if (hook->ended == join_ended && m->join->fiber->walk == f->loop->walk)
            return m;
    }
    return NULL;
}

void co_join_break(struct fiber *child, struct fiber *f)
{
    while (fiber_waits_for(child, f)) {
        struct co_member *m = join_on_the_way(f);

        if (!m)
            return; /* it is for the end of a group that it waits */
        list_remove(&m->hook.node);
        m->pending = false;
        m->join->broken = true;
        join_count(m->join, m, -EDEADLK);
        join_wake(m->join);
    }
}

/* What a wait for one task that ended with `rc` comes to. */
static int join_conclude(const struct co_join *j, int rc, int *ret_result)
{
    if (rc == 0 && j->broken)
        rc = -EDEADLK;
    if (rc == 0 && ret_result)
        *ret_result = j->members[0].result;
    return rc;
}

int co_await_task(struct co_task t, int *ret_result)
{
    struct fiber *f = fiber_self();
    struct co_member m;
    struct co_join j = { .fiber = f, .members = &m, .n = 1, .left = 1, .firm = true };
    int rc;

    if (!f)
        return fiber_absent();
    rc = join_add(&j, &m, t);
    if (rc == 0)
        rc = join_wait(&j, CO_AWAITS_TASK);
    return join_conclude(&j, rc, ret_result);
}

int co_shield(struct co_task t, int *ret_result)
{
    struct fiber *f = fiber_self();
    struct co_member m;
    struct co_join j = { .fiber = f, .members = &m, .n = 1, .left = 1, .firm = true };
    int rc;

    if (!f)
        return fiber_absent();
    rc = join_add(&j, &m, t);
    if (rc == 0)
        rc = join_park(&j, CO_AWAITS_TASK);
    join_leave(&j);
    rc = join_conclude(&j, rc, ret_result);
    return rc == -ECANCELED ? fiber_refuse(f) : rc;
}

int co_wait_for(struct co_task t, int64_t deadline_ns, int *ret_result)
{
    struct fiber *f = fiber_self();
    struct co_scope scope;
    struct co_member m;
    /* Firm: after the deadline it waits for the end, whatever that takes. */
    struct co_join j = { .fiber = f, .members = &m, .n = 1, .left = 1, .firm = true };
    int rc;

    if (!f)
        return fiber_absent();
    rc = join_add(&j, &m, t);
    if (rc < 0)
        return rc;
    if (co_scope_enter(&scope, f, deadline_ns, 0) < 0)
        co_scope_expire(&scope);
    rc = j.left == 0 && !fiber_cancelled_outside(f, &scope) ? 0 : join_wait(&j, CO_AWAITS_TASK);
    rc = co_scope_close(&scope, rc);
    /* It ended well in spite of the deadline. */
    if (rc == -ETIMEDOUT && m.result != -ECANCELED)
        rc = 0;
    return join_conclude(&j, rc, ret_result);
}

/* NULL: no memory. */
static struct co_member *members_new(struct co_member *few, size_t n)
{
    return n <= MEMBERS_ON_STACK ? few : reallocarray(NULL, n, sizeof(struct co_member));
}

static void members_free(struct co_member *members, const struct co_member *few)
{
    if (members != few)
        free(members);
}

int co_gather(const struct co_task *tasks, size_t n, int *ret_results, unsigned flags)
{
    struct fiber *f = fiber_self();
    struct co_member few[MEMBERS_ON_STACK], *members = members_new(few, n);
    struct co_join j = { .fiber = f,
        .members = members,
        .n = n,
        .left = n,
        .when = flags & CO_KEEP_ERRORS ? CO_ALL_DONE : CO_FIRST_ERROR,
        .firm = true };
    int rc;

    if (!members)
        return -ENOMEM;
    if (!f) {
        members_free(members, few);
        return fiber_absent();
    }
    for (size_t i = 0; i < n; i++) {
        rc = join_add(&j, &members[i], tasks[i]);
        if (rc < 0)
            join_count(&j, &members[i], rc);
    }
    rc = join_wait(&j, CO_AWAITS_GATHER);
    if (ret_results)
        for (size_t i = 0; i < n; i++)
            if (!members[i].pending)
                ret_results[i] = members[i].result;
    join_leave(&j);
    members_free(members, few);
    return rc == 0 && !(flags & CO_KEEP_ERRORS) ? j.error : rc;
}

/* The join waits under the deadline; that is no error. */
CO_SUSPENDS static int wait_until(struct co_join *j, int64_t deadline_ns)
{
    struct fiber *f = j->fiber;
    struct co_scope scope;
    int rc;

    if (deadline_ns == CO_NEVER)
        return join_park(j, CO_AWAITS_TASKS);
    rc = co_scope_enter(&scope, f, deadline_ns, 0);
    if (rc == 0)
        rc = join_park(j, CO_AWAITS_TASKS);
    rc = co_scope_close(&scope, rc);
    return rc == -ETIMEDOUT ? 0 : rc;
}

int co_wait(const struct co_task *tasks, size_t n, enum co_when when, int64_t deadline_ns,
        size_t *ret_done)
{
    struct fiber *f = fiber_self();
    struct co_member few[MEMBERS_ON_STACK], *members = members_new(few, n);
    struct co_join j = { .fiber = f,
        .members = members,
        .left = n,
        .when = when,
        .keeps = true,
        .firm = when == CO_ALL_DONE && deadline_ns == CO_NEVER };
    int rc = 0;

    if (!members)
        return -ENOMEM;
    if (!f) {
        members_free(members, few);
        return fiber_absent();
    }
    while (rc == 0 && j.n < n) {
        rc = join_add(&j, &members[j.n], tasks[j.n]);
        if (rc == 0)
            j.n++;
    }
    if (rc == 0)
        rc = wait_until(&j, deadline_ns);
    join_leave(&j);
    if (rc == 0 && j.broken)
        rc = -EDEADLK;
    if (rc == 0 && ret_done)
        *ret_done = n - j.left;
    members_free(members, few);
    return rc == -ECANCELED ? fiber_refuse(f) : rc;
}
