/* Runs what a task shall do, one operation after the other, and tells of each. */
#include "tests/differential/actor.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"

#define NS_PER_US 1000LL

op_fn op_find(const char *verb, const char **ret_verb)
{
    const struct verb *const tables[] = { verbs_of_tasks, verbs_of_sync, verbs_of_blocks };

    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        for (const struct verb *v = tables[i]; v->name; v++)
            if (strcmp(v->name, verb) == 0) {
                *ret_verb = v->name;
                return v->run;
            }
    return NULL;
}

void world_tell(
        struct world *w, const char *who, int line, const char *verb, int rc, const char *text)
{
    printf("%ld %s %d %s %d%s\n", (long)((clock_mono_ns() - w->start_ns) / NS_PER_US), who, line,
            verb, rc, text);
}

void text_add(struct text *t, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    t->n += (size_t)vsnprintf(t->s + t->n, sizeof(t->s) - t->n, format, args);
    va_end(args);
    assert(t->n < sizeof(t->s));
}

void actor_sleep_shielded(int64_t us)
{
    struct co_scope s;

    if (us == 0)
        return;
    co_scope_open(&s, CO_NEVER, CO_SHIELD);
    (void)co_sleep(us * NS_PER_US);
    (void)co_scope_close(&s, 0);
}

static void actor_tell(
        struct actor *a, const struct op *op, const char *verb, int rc, const char *text)
{
    char who[16];

    snprintf(who, sizeof(who), "%d", a->spec->id);
    world_tell(a->world, who, op ? op->line : -1, verb, rc, text);
}

/*
 * After an error: g goes on; r leaves the block, with the error; c does so after a cleanup; u takes
 * all cancellations back and goes on; o takes one back. 0: it goes on.
 */
static int actor_react(struct actor *a, const struct op *op, int rc)
{
    if (a->world->closing || op->policy == 'r')
        return rc;
    if (op->policy == 'g')
        return 0;
    if (op->policy == 'c') {
        actor_sleep_shielded(op->extra_us);
        actor_tell(a, op, "cleanup", 0, "");
        return rc;
    }
    if (!co_cancelled())
        return 0;
    actor_sleep_shielded(op->extra_us);
    while (!a->world->closing && co_cancelling(co_self()) > 0) {
        (void)co_uncancel();
        if (op->policy == 'o')
            break;
    }
    actor_tell(a, op, "uncancelled", co_cancelled(), "");
    return 0;
}

static int actor_step(struct actor *a, struct op *op)
{
    struct text text = { 0 };
    int rc;

    if (op->delay_us > 0) {
        rc = co_sleep(op->delay_us * NS_PER_US);
        if (rc < 0) {
            actor_tell(a, op, "skip", rc, "");
            return actor_react(a, op, rc);
        }
    }
    rc = op->run(a, op, &text);
    actor_tell(a, op, op->verb, rc, text.s);
    return rc < 0 ? actor_react(a, op, rc) : 0;
}

int actor_block(struct actor *a, int from, int to)
{
    int rc = 0;

    for (int i = from; rc == 0 && i < to; i = a->spec->ops[i].end + 1)
        rc = actor_step(a, &a->spec->ops[i]);
    return rc;
}

int actor_main(void *arg)
{
    struct spec *spec = arg;
    struct actor a = { .world = spec->world, .spec = spec };
    int left = actor_block(&a, 0, a.spec->n_ops), rc = left < 0 ? left : a.spec->result;

    if (left != -ECANCELED || !co_cancelled())
        actor_sleep_shielded(a.spec->end_us);
    actor_tell(&a, NULL, "ends", rc, "");
    return rc;
}
