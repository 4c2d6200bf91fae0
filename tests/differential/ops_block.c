/* Operations that enclose others. Their names begin with a capital letter: see spec_match(). */
#include <errno.h>

#include "tests/differential/actor.h"

static int body_run(struct actor *a, const struct op *op)
{
    int from = op->line + 1;

    return actor_block(a, from, op->end);
}

static int scope_run(struct actor *a, const struct op *op, unsigned flags)
{
    struct co_scope s, *outer = a->scope;
    int rc;

    co_scope_open(&s, op->args[0] < 0 ? CO_NEVER : co_deadline(op->args[0] * 1000), flags);
    a->scope = &s;
    rc = body_run(a, op);
    a->scope = outer;
    return co_scope_close(&s, rc);
}

static int op_timeout(struct actor *a, struct op *op, struct text *text)
{
    (void)text;
    return scope_run(a, op, 0);
}

static int op_rearm(struct actor *a, struct op *op, struct text *text)
{
    (void)text;
    return co_scope_rearm(a->scope, co_deadline(op->args[0] * 1000));
}

static int op_scope_shield(struct actor *a, struct op *op, struct text *text)
{
    (void)text;
    return scope_run(a, op, CO_SHIELD);
}

static int op_group(struct actor *a, struct op *op, struct text *text)
{
    struct co_group g, *outer = a->group;
    int rc;

    (void)text;
    co_group_open(&g);
    a->group = &g;
    rc = body_run(a, op);
    a->group = outer;
    return co_group_close(&g, rc);
}

static int op_group_cancel(struct actor *a, struct op *op, struct text *text)
{
    (void)op;
    (void)text;
    co_group_cancel(a->group);
    return 0;
}

static int op_lock(struct actor *a, struct op *op, struct text *text)
{
    struct co_lock *l = &a->world->locks[op->args[0]];
    int rc = co_lock_enter(l);

    if (rc < 0)
        return rc;
    rc = body_run(a, op);
    actor_sleep_shielded(op->extra_us);
    text_add(text, " %d", co_lock_leave(l));
    return rc;
}

static int op_permit(struct actor *a, struct op *op, struct text *text)
{
    struct co_gate *g = &a->world->gates[op->args[0]];
    int rc = co_gate_enter(g);

    if (rc < 0)
        return rc;
    text_add(text, " in");
    rc = body_run(a, op);
    actor_sleep_shielded(op->extra_us);
    co_gate_leave(g);
    return rc;
}

/* Never run: blocks go on behind it. */
static int op_end(struct actor *a, struct op *op, struct text *text)
{
    (void)a;
    (void)op;
    (void)text;
    return 0;
}

const struct verb verbs_of_blocks[] = {
    { "Timeout", op_timeout },
    { "rearm", op_rearm },
    { "Shield", op_scope_shield },
    { "Group", op_group },
    { "gcancel", op_group_cancel },
    { "Lock", op_lock },
    { "Permit", op_permit },
    { "end", op_end },
    { NULL, NULL },
};
