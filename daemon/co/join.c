/* Awaiting tasks: co_await() is a gather of one. */
#include <errno.h>

#include "daemon/co/ready.h"
#include "daemon/co/wait.h"

static bool join_over(const struct co_join *j)
{
    return j->left == 0 || (j->hasty && j->error);
}

static void join_count(struct co_join *j, size_t index, int rc)
{
    if (j->results)
        j->results[index] = rc;
    if (rc < 0 && !j->error)
        j->error = rc;
    j->left--;
}

void co_join_ended(struct co_join *j, size_t index, int rc)
{
    join_count(j, index, rc);
    if (join_over(j))
        fiber_ready(j->fiber);
}

/* Whether `f` waits, over however many tasks, for `other`. */
static bool join_reaches(const struct fiber *f, const struct fiber *other)
{
    while (other != f && other->owner == FIBER_JOIN)
        other = other->join->fiber;
    return other == f;
}

/* The task's result becomes the join's: at its end, or now if it has ended. */
static int join_claim(struct co_join *j, struct co_task t, size_t index)
{
    struct co_loop *l = j->fiber->loop;
    struct co_slot *slot = co_slot_find(l, t);

    if (!slot)
        return -ESRCH;
    if (!slot->fiber) {
        join_count(j, index, slot->result);
        co_slot_free(l, t.slot);
        return 0;
    }
    if (join_reaches(slot->fiber, j->fiber))
        return -EDEADLK;
    if (slot->fiber->owner != FIBER_HANDLE)
        return -ESRCH;
    slot->fiber->owner = FIBER_JOIN;
    slot->fiber->join = j;
    slot->fiber->join_index = index;
    return 0;
}

/* The task, if it is one of the join's and has not ended. */
static struct fiber *join_member(const struct co_join *j, struct co_task t)
{
    const struct co_slot *slot = co_slot_find(j->fiber->loop, t);
    struct fiber *f = slot ? slot->fiber : NULL;

    return f && f->owner == FIBER_JOIN && f->join == j ? f : NULL;
}

static int join_cancel(struct co_join *j, const struct co_task *tasks, size_t n)
{
    struct fiber *f;

    for (size_t i = 0; i < n; i++)
        if ((f = join_member(j, tasks[i])))
            fiber_kill(f);
    j->hasty = false;
    if (j->left == 0)
        return fiber_refuse(j->fiber);
    fiber_park(j->fiber, true);
    return -ECANCELED;
}

static inline __attribute__((always_inline)) int join_wait(
        struct co_join *j, const struct co_task *tasks, size_t n)
{
    struct fiber *f = j->fiber;

    if (f->cancelled)
        return join_cancel(j, tasks, n);
    if (join_over(j))
        return 0;
    fiber_park(f, false);
    return join_over(j) ? 0 : join_cancel(j, tasks, n);
}

int co_await(struct co_task t, int *ret_result)
{
    int result = 0, rc;
    struct co_join j = { .fiber = fiber_self(), .results = &result, .left = 1 };

    if (!j.fiber)
        return -EPERM;
    rc = join_claim(&j, t, 0);
    if (rc == 0)
        rc = join_wait(&j, &t, 1);
    if (rc == 0 && ret_result)
        *ret_result = result;
    return rc;
}

int co_gather(const struct co_task *tasks, size_t n, int *ret_results, unsigned flags)
{
    struct co_join j = {
        .fiber = fiber_self(), .results = ret_results, .left = n, .hasty = !(flags & CO_KEEP_ERRORS)
    };
    struct fiber *f;
    int rc;

    if (!j.fiber)
        return -EPERM;
    for (size_t i = 0; i < n; i++) {
        rc = join_claim(&j, tasks[i], i);
        if (rc < 0)
            join_count(&j, i, rc);
    }
    rc = join_wait(&j, tasks, n);
    if (rc < 0 || j.left == 0)
        return rc < 0 || !j.hasty ? rc : j.error;
    for (size_t i = 0; i < n; i++)
        if ((f = join_member(&j, tasks[i])))
            f->owner = FIBER_NOBODY;
    return j.error;
}
