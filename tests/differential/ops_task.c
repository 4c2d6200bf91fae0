/* Operations on tasks. Each await uses up a reference that is taken just before it. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "tests/differential/actor.h"

#define NONE INT32_MAX /* there is nothing to do it with */

static int64_t deadline_of(int64_t us)
{
    return us < 0 ? CO_NEVER : co_deadline(us * 1000);
}

static int op_sleep(struct actor *a, struct op *op, struct text *text)
{
    (void)a;
    (void)text;
    return co_sleep(op->args[0] * 1000);
}

static int op_yield(struct actor *a, struct op *op, struct text *text)
{
    (void)a;
    (void)op;
    (void)text;
    return co_yield();
}

static bool world_takes(struct actor *a, const struct op *op, struct spec **ret_spec)
{
    struct world *w = a->world;
    int64_t id = op->args[0];

    if (w->closing || w->spawned[id])
        return false;
    *ret_spec = &w->program->specs[id];
    (*ret_spec)->world = w;
    return true;
}

static int op_spawn(struct actor *a, struct op *op, struct text *text)
{
    struct spec *s;
    int rc;

    (void)text;
    if (!world_takes(a, op, &s))
        return NONE;
    rc = co_spawn("actor", actor_main, s, &a->world->tasks[s->id]);
    a->world->spawned[s->id] = rc == 0;
    return rc;
}

/* It is known before it runs. */
static int op_eager(struct actor *a, struct op *op, struct text *text)
{
    struct spec *s;

    (void)text;
    if (!world_takes(a, op, &s))
        return NONE;
    a->world->spawned[s->id] = true;
    return co_spawn_eager("actor", actor_main, s, &a->world->tasks[s->id]);
}

static int op_stillborn(struct actor *a, struct op *op, struct text *text)
{
    int rc = op_spawn(a, op, text);

    return rc == 0 ? co_cancel(a->world->tasks[op->args[0]]) : rc;
}

static int op_gspawn(struct actor *a, struct op *op, struct text *text)
{
    struct co_task *t = &a->world->tasks[op->args[0]];
    struct spec *s;
    int rc;

    (void)text;
    if (!a->group || !world_takes(a, op, &s))
        return NONE;
    rc = co_group_spawn(a->group, "child", actor_main, s, t);
    if (rc == 0)
        rc = co_keep(*t);
    a->world->spawned[s->id] = rc == 0;
    return rc;
}

/* The task of an argument, if it was spawned. */
static bool task_of(struct actor *a, const struct op *op, int i, struct co_task *ret)
{
    *ret = a->world->tasks[op->args[i]];
    return a->world->spawned[op->args[i]];
}

/* Those of the arguments from `from` on that were spawned; how many. */
static size_t tasks_of(struct actor *a, const struct op *op, int from, struct co_task *ret)
{
    size_t n = 0;

    for (int i = from; i < op->n_args; i++)
        if (task_of(a, op, i, &ret[n]))
            n++;
    return n;
}

static int op_cancel(struct actor *a, struct op *op, struct text *text)
{
    struct co_task t;

    (void)text;
    return task_of(a, op, 0, &t) ? co_cancel(t) : NONE;
}

static int op_uncancel(struct actor *a, struct op *op, struct text *text)
{
    (void)op;
    if (a->world->closing)
        return NONE;
    text_add(text, " %u", co_uncancel());
    text_add(text, " %d", co_cancelled());
    return 0;
}

static int op_cancelling(struct actor *a, struct op *op, struct text *text)
{
    struct co_task t;

    if (a->world->closing || !task_of(a, op, 0, &t))
        return NONE;
    text_add(text, " %u", co_cancelling(t));
    return 0;
}

static int op_done(struct actor *a, struct op *op, struct text *text)
{
    struct co_task t;

    if (!task_of(a, op, 0, &t))
        return NONE;
    text_add(text, " %d", co_done(t));
    return 0;
}

static void hook_ended(struct co_hook *h, int result)
{
    struct op *op = (struct op *)((char *)h - offsetof(struct op, hook));

    world_tell(op->world, "hook", op->line, op->verb, result, "");
}

static int op_hook(struct actor *a, struct op *op, struct text *text)
{
    struct co_task t;

    (void)text;
    op->world = a->world;
    op->hook.ended = hook_ended;
    return task_of(a, op, 0, &t) ? co_on_done(t, &op->hook) : NONE;
}

/* What an await came to: its error, or the task's. */
static int awaited(int rc, int result, struct text *text)
{
    if (rc < 0)
        return rc;
    /* Both were cancelled within one instant: who was first is no matter. */
    if (result != -ECANCELED || !co_cancelled())
        text_add(text, " %d", result);
    return result < 0 ? result : 0;
}

static int op_await(struct actor *a, struct op *op, struct text *text)
{
    struct co_task t;
    int rc, result = 0;

    if (!task_of(a, op, 0, &t))
        return NONE;
    (void)co_keep(t);
    rc = co_await(t, &result);
    return awaited(rc, result, text);
}

static int op_shield(struct actor *a, struct op *op, struct text *text)
{
    struct co_task t;
    int rc, result = 0;

    if (!task_of(a, op, 0, &t))
        return NONE;
    (void)co_keep(t);
    rc = co_shield(t, &result);
    return awaited(rc, result, text);
}

static int op_waitfor(struct actor *a, struct op *op, struct text *text)
{
    struct co_task t;
    int rc, result = 0;

    if (!task_of(a, op, 0, &t))
        return NONE;
    (void)co_keep(t);
    rc = co_wait_for(t, deadline_of(op->args[1]), &result);
    return awaited(rc, result, text);
}

static int op_gather(struct actor *a, struct op *op, struct text *text)
{
    bool keeps = op->args[0];
    struct co_task tasks[ARGS_MAX] = { 0 };
    size_t n = tasks_of(a, op, 1, tasks);
    int rc, results[ARGS_MAX];

    for (size_t i = 0; i < n; i++)
        (void)co_keep(tasks[i]);
    rc = co_gather(tasks, n, results, keeps ? CO_KEEP_ERRORS : 0);
    if (rc == 0)
        for (size_t i = 0; i < n; i++)
            text_add(text, " %d", results[i]);
    return rc;
}

static int op_wait(struct actor *a, struct op *op, struct text *text)
{
    struct co_task tasks[ARGS_MAX] = { 0 };
    size_t n = tasks_of(a, op, 2, tasks), n_done = 0, n_ended = 0;
    int rc;

    if (n == 0)
        return NONE;
    rc = co_wait(tasks, n, (enum co_when)op->args[0], deadline_of(op->args[1]), &n_done);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++)
        n_ended += co_done(tasks[i]) == 1;
    text_add(text, " %zu%s", n_done, n_done == n_ended ? "" : " miscounted");
    return 0;
}

/* Those of one instant have no order: the trace has them by result. */
static void completed_tell(struct text *text, int64_t *times, int *results, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t j = i; j > 0 && times[j] == times[j - 1] && results[j] < results[j - 1]; j--) {
            int other = results[j];

            results[j] = results[j - 1];
            results[j - 1] = other;
        }
    for (size_t i = 0; i < n; i++)
        text_add(text, " %ld:%d", (long)times[i], results[i]);
}

static int op_completed(struct actor *a, struct op *op, struct text *text)
{
    struct co_task tasks[ARGS_MAX] = { 0 };
    size_t n = tasks_of(a, op, 0, tasks), i, got = 0;
    int64_t times[ARGS_MAX];
    int results[ARGS_MAX], rc;
    bool seen[ARGS_MAX] = { false };
    struct co_completed c;

    rc = co_completed_open(&c, tasks, n);
    if (rc < 0)
        return rc;
    for (size_t k = 0; k < n; k++)
        (void)co_keep(tasks[k]);
    while ((rc = co_completed_next(&c, &i, &results[got])) == 0) {
        times[got++] = (co_deadline(0) - a->world->start_ns) / 1000;
        assert(i < n && !seen[i]);
        seen[i] = true;
    }
    co_completed_close(&c);
    for (size_t k = 0; k < n; k++)
        if (!seen[k])
            (void)co_detach(tasks[k]);
    completed_tell(text, times, results, got);
    return rc == -ENOENT ? 0 : rc;
}

const struct verb verbs_of_tasks[] = {
    { "sleep", op_sleep },
    { "yield", op_yield },
    { "spawn", op_spawn },
    { "eager", op_eager },
    { "stillborn", op_stillborn },
    { "gspawn", op_gspawn },
    { "cancel", op_cancel },
    { "uncancel", op_uncancel },
    { "cancelling", op_cancelling },
    { "done", op_done },
    { "hook", op_hook },
    { "await", op_await },
    { "shield", op_shield },
    { "waitfor", op_waitfor },
    { "gather", op_gather },
    { "wait", op_wait },
    { "completed", op_completed },
    { NULL, NULL },
};
