/* Tasks in the order of their end: each member's hook moves it to the list of those that have ended. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "daemon/co/ready.h"

static void completed_ended(struct co_hook *hook, int rc)
{
    struct co_member *m = CONTAINER_OF(hook, struct co_member, hook);
    struct co_completed *c = m->completed;

    m->pending = false;
    m->result = rc;
    list_append(&c->ended, &hook->node);
    co_waiters_choose(&c->waiters);
}

int co_completed_open(struct co_completed *c, const struct co_task *tasks, size_t n)
{
    struct fiber *f = fiber_self();
    int rc = 0;

    *c = (struct co_completed){ 0 };
    list_init(&c->ended);
    list_init(&c->waiters);
    c->members = calloc(n ? n : 1, sizeof(*c->members));
    if (!c->members)
        return -ENOMEM;
    while (rc == 0 && c->n < n) {
        struct co_member *m = &c->members[c->n];

        m->hook.ended = completed_ended;
        m->completed = c;
        list_init(&m->hook.node);
        rc = co_member_watch(m, tasks[c->n], f);
        if (rc < 0)
            break;
        c->n++;
        if (!m->pending)
            list_append(&c->ended, &m->hook.node);
    }
    c->n_left = c->n;
    if (rc < 0)
        co_completed_close(c);
    return rc;
}

int co_completed_next(struct co_completed *c, size_t *ret_index, int *ret_result)
{
    struct fiber *f = fiber_self();
    struct co_waiter w;
    struct co_member *m;
    int rc = fiber_check(f);

    if (rc < 0)
        return rc;
    while (c->n_left > 0 && list_empty(&c->ended)) {
        co_waiter_wait(&w, f, &c->waiters, CO_AWAITS_TASKS, c);
        if (f->cancelled) {
            if (w.chosen && !list_empty(&c->ended))
                co_waiters_choose(&c->waiters); /* somebody else's turn */
            return -ECANCELED;
        }
    }
    if (c->n_left == 0)
        return -ENOENT;
    m = list_entry(list_pop(&c->ended), struct co_member, hook.node);
    if (--c->n_left == 0)
        while (co_waiters_choose(&c->waiters)) /* there is nothing more to wait for */
            ;
    (void)co_detach(m->task);
    *ret_index = (size_t)(m - c->members);
    if (ret_result)
        *ret_result = m->result;
    return 0;
}

void co_completed_close(struct co_completed *c)
{
    assert(list_empty(&c->waiters));
    for (size_t i = 0; i < c->n; i++)
        list_remove(&c->members[i].hook.node);
    free(c->members);
    *c = (struct co_completed){ 0 };
    list_init(&c->ended);
    list_init(&c->waiters);
}
