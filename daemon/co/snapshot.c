/*
 * All tasks at one moment, and what they look like as a tree. Written without recursion: a chain of
 * tasks that wait for each other may be as long as there are tasks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/base/symbol.h"
#include "daemon/co/runtime.h"

#define PREFETCH_BLOCK 8
#define PREFETCH_FRAME 4
#define INDENT_MAX     20 /* levels; below, all at one depth */

/* Each task is on a page of its own, cold: its block and its innermost frame arrive ahead of time. */
static void prefetch(const struct co_loop *l, uint32_t i)
{
    const struct co_slot *block = &l->slots[i + PREFETCH_BLOCK];
    const struct co_slot *frame = &l->slots[i + PREFETCH_FRAME];

    if (i + PREFETCH_BLOCK >= l->n_slots)
        return;
    if (block->kind == SLOT_TASK)
        __builtin_prefetch(block->fiber);
    if (frame->kind == SLOT_TASK) {
        __builtin_prefetch(frame->fiber->sp);
        __builtin_prefetch((const char *)frame->fiber->sp + 64);
        __builtin_prefetch(&frame->fiber->name);
    }
}

int co_snapshot(struct co_snapshot *ret)
{
    struct co_loop *l = co_current();
    struct co_snapshot s = { .taken_ns = clock_mono_ns() };
    size_t n_awaited = 0, at = 0;

    if (!l)
        return -EPERM;
    s.tasks = reallocarray(NULL, l->n_tasks, sizeof(struct co_info));
    if (!s.tasks)
        return -ENOMEM;
    for (uint32_t i = 0; i < l->n_slots; i++) {
        prefetch(l, i);
        if (l->slots[i].kind == SLOT_TASK) {
            fiber_describe(l->slots[i].fiber, &s.tasks[s.n]);
            n_awaited += s.tasks[s.n++].n_awaited;
        }
    }
    s.awaited = reallocarray(NULL, n_awaited ? n_awaited : 1, sizeof(struct co_task));
    if (!s.awaited) {
        free(s.tasks);
        return -ENOMEM;
    }
    for (size_t i = 0; i < s.n; i++)
        if (s.tasks[i].n_awaited > 0)
            at += fiber_awaited(
                    l->slots[s.tasks[i].task.slot].fiber, s.awaited + at, n_awaited - at);
    *ret = s;
    return 0;
}

void co_snapshot_done(struct co_snapshot *s)
{
    free(s->tasks);
    free(s->awaited);
    *s = (struct co_snapshot){ 0 };
}

int64_t co_snapshot_waited_ns(const struct co_snapshot *s, const struct co_info *info)
{
    return info->state == CO_WAITING ? s->taken_ns - info->since_ns : -1;
}

/* --- the tree --- */

struct branch {
    size_t task;
    unsigned depth;
};

struct tree {
    const struct co_snapshot *snapshot;
    struct symbols *symbols;
    FILE *f;
    size_t *first; /* where in `awaited` each task's begin, and one more: the end */
    bool *awaited; /* somebody waits for it */
    bool *shown;
    struct branch *stack; /* to be shown, the next one last */
    size_t depth;
};

/* What the handle stands for; s->n: it is not in the snapshot. */
static size_t tree_find(const struct co_snapshot *s, struct co_task t)
{
    size_t low = 0, high = s->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (s->tasks[middle].task.slot < t.slot)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->n && s->tasks[low].task.slot == t.slot ? low : s->n;
}

static void tree_done(struct tree *t)
{
    symbols_free(t->symbols);
    free(t->first);
    free(t->awaited);
    free(t->shown);
    free(t->stack);
}

static int tree_init(struct tree *t, const struct co_snapshot *s, FILE *f)
{
    size_t n_awaited = 0;

    *t = (struct tree){ .snapshot = s, .f = f };
    t->first = reallocarray(NULL, s->n + 1, sizeof(size_t));
    t->awaited = calloc(s->n + 1, sizeof(bool));
    t->shown = calloc(s->n + 1, sizeof(bool));
    if (!t->first || !t->awaited || !t->shown || symbols_new(&t->symbols) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < s->n; i++) {
        t->first[i] = n_awaited;
        n_awaited += s->tasks[i].n_awaited;
    }
    t->first[s->n] = n_awaited;
    for (size_t i = 0; i < n_awaited; i++)
        t->awaited[tree_find(s, s->awaited[i])] = true;
    t->stack = reallocarray(NULL, n_awaited + 1, sizeof(struct branch));
    return t->stack ? 0 : -ENOMEM;
}

static void write_bytes(FILE *f, size_t bytes)
{
    if (bytes < 1024)
        fprintf(f, ", %zu B of stack", bytes);
    else
        fprintf(f, ", %.1f KiB of stack", (double)bytes / 1024.0);
}

static void tree_write_task(const struct tree *t, const struct co_info *info)
{
    int64_t waited_ns = co_snapshot_waited_ns(t->snapshot, info);
    char *const *places;

    if (waited_ns >= 0)
        fprintf(t->f, ": waits for %s since %.3f s", co_awaits_name(info->awaits),
                (double)waited_ns / 1e9);
    else
        fprintf(t->f, ": %s", co_state_name(info->state));
    if (info->cancelled)
        fputs(", cancelled", t->f);
    if (info->stack_bytes > 0)
        write_bytes(t->f, info->stack_bytes);
    if (info->n_frames > 0 && symbols_find(t->symbols, info->frames[0], &places) > 0)
        fprintf(t->f, ", in %s", places[0]);
}

static void tree_write_branch(struct tree *t, struct branch b)
{
    const struct co_snapshot *s = t->snapshot;
    const struct co_info *info = &s->tasks[b.task];
    unsigned indent = b.depth < INDENT_MAX ? b.depth : INDENT_MAX;

    fprintf(t->f, "%*s%u.%u %s", (int)indent * 2, "", info->task.slot, info->task.gen, info->name);
    if (t->shown[b.task]) {
        fputs(": see above\n", t->f);
        return;
    }
    t->shown[b.task] = true;
    tree_write_task(t, info);
    fputc('\n', t->f);
    for (size_t i = t->first[b.task + 1]; i-- > t->first[b.task];)
        t->stack[t->depth++] = (struct branch){ tree_find(s, s->awaited[i]), b.depth + 1 };
}

static void tree_write_root(struct tree *t, size_t task)
{
    t->stack[t->depth++] = (struct branch){ task, 0 };
    while (t->depth > 0)
        tree_write_branch(t, t->stack[--t->depth]);
}

int co_snapshot_write(const struct co_snapshot *s, FILE *f)
{
    struct tree t;
    int rc = tree_init(&t, s, f);

    if (rc == 0) {
        fprintf(f, "%zu tasks\n", s->n);
        for (size_t i = 0; i < s->n; i++)
            if (!t.awaited[i])
                tree_write_root(&t, i);
        /* Those that wait for each other in a circle. */
        for (size_t i = 0; i < s->n; i++)
            if (!t.shown[i])
                tree_write_root(&t, i);
    }
    tree_done(&t);
    return rc;
}
