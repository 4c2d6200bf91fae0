/* Scopes and groups: objects on the stack of the coroutine that opens them. See co.h for the rules. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/heap.h"
#include "daemon/base/list.h"
#include "daemon/co/task.h"

enum co_scope_flags {
    CO_SHIELD = 1 << 0, /* cancellation from outside does not reach in; give it a deadline */
};

/* All fields are the runtime's. */
struct co_scope {
    struct co_scope *outer;
    struct co_loop *loop;
    struct co_task task;
    struct heap_item timer;
    int64_t deadline_ns;
    unsigned flags;
    bool open;
    bool cancelled; /* by co_scope_cancel() */
    bool expired;   /* by its deadline */
};

/*
 * Everything that the caller awaits until co_scope_close() is bounded by `deadline_ns` (CO_NEVER:
 * none; co_deadline() makes one) and can be ended by co_scope_cancel(). Scopes nest and close in
 * reverse order.
 */
CO_SUSPENDS void co_scope_open(struct co_scope *s, int64_t deadline_ns, unsigned flags);
/* From anywhere on the same thread, while the scope is open. Idempotent. */
void co_scope_cancel(struct co_scope *s);
/* Moves the deadline, from anywhere on the same thread. -ETIMEDOUT: it was over already; -ENOMEM. */
int co_scope_rearm(struct co_scope *s, int64_t deadline_ns);
/*
 * Closes the scope and passes `rc` on; -ECANCELED becomes -ETIMEDOUT when this scope's deadline
 * was the cause and nothing outside is cancelled. A later deadline of ours does not undo success.
 */
CO_SUSPENDS int co_scope_close(struct co_scope *s, int rc);
/* `struct co_scope s CO_SCOPE_AUTO;`: a return that forgets to close it closes it. */
#define CO_SCOPE_AUTO __attribute__((cleanup(co_scope_leave)))
CO_SUSPENDS void co_scope_leave(struct co_scope *s);
/* `ns` from now, for all that takes a deadline. */
int64_t co_deadline(int64_t ns);
/* Whether the running task would get -ECANCELED from a suspending call now. Never suspends. */
bool co_cancelled(void);

#define CO_GROUP_ERRORS 8

/* All fields but the errors are the runtime's. */
struct co_group {
    struct co_scope scope;
    struct list children;
    unsigned n_children;
    struct co_waiter *joiner;
    unsigned n_errors;           /* of all children, cancellations apart */
    int errors[CO_GROUP_ERRORS]; /* the first ones */
};

/* Opens a scope (no deadline) whose children end before it does. */
CO_SUSPENDS void co_group_open(struct co_group *g);
/*
 * As co_spawn(); -ECANCELED once the group is cancelled, -EINVAL unless it is open. A child that ends with an error other than
 * -ECANCELED cancels the group. `ret` may be NULL; the group owns the handle: others may co_await()
 * it while the child runs, and later only after co_keep().
 */
CO_MUST int co_group_spawn(
        struct co_group *g, const char *name, co_fn fn, void *arg, struct co_task *ret);
/* Cancels the children, and what the opener awaits inside the group. */
void co_group_cancel(struct co_group *g);
/*
 * Suspends. Waits for all children, also when the caller is cancelled, which cancels them, as does
 * an error in `rc`. The first child's error, else `rc`, with the rule of co_scope_close().
 */
CO_SUSPENDS int co_group_close(struct co_group *g, int rc);
/* `struct co_group g CO_GROUP_AUTO;`: a return that forgets to close it cancels and joins the children. */
#define CO_GROUP_AUTO __attribute__((cleanup(co_group_leave)))
CO_SUSPENDS void co_group_leave(struct co_group *g);
