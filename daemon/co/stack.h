/*
 * Stacks for tasks: cut from arenas, with a guard page below each, kept for the next task. What
 * nobody used for a while gives its memory back; addresses stay mapped until co_stacks_done().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/loop.h"
#include "daemon/co/sanitizer.h"

#ifdef SANITIZER_ADDRESS
#define CO_STACK_SIZE ((size_t)256 << 10) /* its frames are several times larger */
#else
#define CO_STACK_SIZE ((size_t)64 << 10)
#endif

struct co_arena;

enum co_guard {
    CO_GUARD_MARKER,  /* MADV_GUARD_INSTALL: costs no mapping */
    CO_GUARD_PROTECT, /* mprotect(2): two mappings each, of which a process has a limited number */
    CO_GUARD_NONE,
};

struct co_stacks {
    struct co_arena **arenas;
    size_t n_arenas;
    size_t n_cut; /* stacks made of the last arena so far */
    void **free;  /* last in, first out; room for all stacks there are */
    size_t n_free;
    size_t n_cold;  /* of these, from the bottom: without memory */
    size_t n_least; /* the smallest n_free of this period: below it nothing was used */
    enum co_guard guard;
    size_t guard_size;  /* a page */
    size_t n_protected; /* guards by mprotect(2) */
    size_t max_protected;
    struct loop_timer trim;
    bool trim_set;
};

/*
 * How many stacks can have a guard at the same time on this kernel; SIZE_MAX: all of them, or, where
 * a page is too large for a guard, none.
 */
size_t co_stacks_max_guarded(void);
/* -ENOMEM. */
int co_stacks_init(struct co_stacks *s, struct loop *loop);
/* All stacks are free. */
void co_stacks_done(struct co_stacks *s);
/* The lowest address of CO_STACK_SIZE bytes, aligned to that, the guard first. NULL: no memory. */
void *co_stack_get(struct co_stacks *s);
/* The caller may still stand on it until the next co_stack_get(). */
void co_stack_put(struct co_stacks *s, void *base);
/* Whether the address is in a stack's guard. Async-signal-safe. */
bool co_stack_guards(const struct co_stacks *s, const void *address);

static inline void *co_stack_of(const void *address)
{
    return (void *)((uintptr_t)address & ~(CO_STACK_SIZE - 1));
}

#define CO_STACK_COLOURS 8
#define CO_CACHE_LINE    64

/*
 * Where a stack ends. Tops are spread over cache sets, or those of thousands of tasks would meet in
 * a few. More colours are hardly faster, and cost those of some depth a second page.
 */
static inline void *co_stack_top(void *base)
{
    uintptr_t colour = (uintptr_t)base / CO_STACK_SIZE % CO_STACK_COLOURS;

    return (char *)base + CO_STACK_SIZE - colour * CO_CACHE_LINE;
}
