/* Operations on what tasks share: events, conditions, channels, futures. */
#include <errno.h>

#include "tests/differential/actor.h"

static int op_event_set(struct actor *a, struct op *op, struct text *text)
{
    (void)text;
    co_event_set(&a->world->events[op->args[0]]);
    return 0;
}

static int op_event_clear(struct actor *a, struct op *op, struct text *text)
{
    (void)text;
    co_event_clear(&a->world->events[op->args[0]]);
    return 0;
}

static int op_event_pulse(struct actor *a, struct op *op, struct text *text)
{
    (void)op_event_set(a, op, text);
    return op_event_clear(a, op, text);
}

static int op_event_wait(struct actor *a, struct op *op, struct text *text)
{
    (void)text;
    return co_event_wait(&a->world->events[op->args[0]]);
}

/* What is not the caller's. */
static int op_lock_leave(struct actor *a, struct op *op, struct text *text)
{
    (void)text;
    return co_lock_leave(&a->world->locks[op->args[0]]);
}

static int op_condition_wait(struct actor *a, struct op *op, struct text *text)
{
    (void)text;
    return co_condition_wait(&a->world->conditions[op->args[0]]);
}

static int op_condition_notify(struct actor *a, struct op *op, struct text *text)
{
    (void)text;
    co_condition_notify(&a->world->conditions[op->args[0]], (unsigned)op->args[1]);
    return 0;
}

static int op_held_wait(struct actor *a, struct op *op, struct text *text)
{
    int64_t i = op->args[0];

    (void)text;
    return co_condition_wait_holding(&a->world->held[i], &a->world->locks[i]);
}

static int op_held_notify(struct actor *a, struct op *op, struct text *text)
{
    (void)text;
    if (op->args[1] == 0)
        co_condition_notify_all(&a->world->held[op->args[0]]);
    else
        co_condition_notify(&a->world->held[op->args[0]], (unsigned)op->args[1]);
    return 0;
}

static void *item_of(const struct op *op)
{
    return (void *)(intptr_t)op->args[1]; // NOLINT(performance-no-int-to-ptr)
}

static int op_put(struct actor *a, struct op *op, struct text *text)
{
    (void)text;
    return co_channel_send(&a->world->channels[op->args[0]], item_of(op));
}

static int op_try_put(struct actor *a, struct op *op, struct text *text)
{
    (void)text;
    return co_channel_try_send(&a->world->channels[op->args[0]], item_of(op));
}

static int op_get(struct actor *a, struct op *op, struct text *text)
{
    void *item;
    int rc = co_channel_receive(&a->world->channels[op->args[0]], &item);

    if (rc == 0)
        text_add(text, " %ld", (long)(intptr_t)item);
    return rc;
}

static int op_try_get(struct actor *a, struct op *op, struct text *text)
{
    void *item;
    int rc = co_channel_try_receive(&a->world->channels[op->args[0]], &item);

    if (rc == 0)
        text_add(text, " %ld", (long)(intptr_t)item);
    return rc;
}

static int op_future_set(struct actor *a, struct op *op, struct text *text)
{
    (void)text;
    return co_future_set(a->world->futures[op->args[0]], (int)op->args[1]);
}

static int op_future_drop(struct actor *a, struct op *op, struct text *text)
{
    (void)text;
    return co_future_drop(a->world->futures[op->args[0]]);
}

static int op_future_await(struct actor *a, struct op *op, struct text *text)
{
    int result, rc = co_await(a->world->futures[op->args[0]], &result);

    if (rc < 0)
        return rc;
    text_add(text, " %d", result);
    return result < 0 ? result : 0;
}

const struct verb verbs_of_sync[] = {
    { "eset", op_event_set },
    { "eclear", op_event_clear },
    { "epulse", op_event_pulse },
    { "ewait", op_event_wait },
    { "lleave", op_lock_leave },
    { "cwait", op_condition_wait },
    { "cnotify", op_condition_notify },
    { "hwait", op_held_wait },
    { "hnotify", op_held_notify },
    { "put", op_put },
    { "tryput", op_try_put },
    { "get", op_get },
    { "tryget", op_try_get },
    { "fset", op_future_set },
    { "fdrop", op_future_drop },
    { "fawait", op_future_await },
    { NULL, NULL },
};
