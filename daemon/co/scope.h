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
    bool cancelled; /* by co_scope_cancel() */
    bool expired;   /* by its deadline */
};

/*
 * Everything that the caller awaits until co_scope_close() is bounded by `deadline_ns` (CO_NEVER:
 * none) and can be ended by co_scope_cancel(). Scopes nest and close in reverse order.
 */
void co_scope_open(struct co_scope *s, int64_t deadline_ns, unsigned flags);
/* From anywhere on the same thread, while the scope is open. Idempotent. */
void co_scope_cancel(struct co_scope *s);
/*
 * Closes the scope and passes `rc` on; -ECANCELED becomes -ETIMEDOUT when this scope's deadline
 * was the cause and nothing outside is cancelled. A later deadline of ours does not undo success.
 */
int co_scope_close(struct co_scope *s, int rc);
/* Whether the running task would get -ECANCELED from a suspending call now. Never suspends. */
bool co_cancelled(void);

/* All fields are the runtime's. */
struct co_group {
    struct co_scope scope;
    struct list children;
    unsigned n_children;
    struct co_waiter *joiner;
    int first_error;
};

/* Opens a scope (no deadline) whose children end before it does. */
void co_group_open(struct co_group *g);
/*
 * As co_spawn(); -ECANCELED once the group is cancelled. A child that ends with an error other than
 * -ECANCELED cancels the group. `ret` may be NULL; the handle is for co_cancel() only.
 */
CO_MUST int co_group_spawn(
        struct co_group *g, const char *name, co_fn fn, void *arg, struct co_task *ret);
/* Cancels the children, and what the opener awaits inside the group. */
void co_group_cancel(struct co_group *g);
/*
 * Suspends. Waits for all children, also when the caller is cancelled (which cancels them).
 * The first child's error, else `rc`, with the rule of co_scope_close().
 */
int co_group_close(struct co_group *g, int rc);
