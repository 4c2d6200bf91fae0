/*
 * What the tools must be told about stacks. Each context has a `struct sanitizer`; without a
 * sanitizer it is empty and everything here is nothing. Valgrind is told whenever its header is
 * there: outside of Valgrind that is a handful of no-ops per new stack.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define SANITIZER_ADDRESS 1
#endif
#if __has_feature(thread_sanitizer)
#define SANITIZER_THREAD 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SANITIZER_ADDRESS 1
#endif
#ifdef __SANITIZE_THREAD__
#define SANITIZER_THREAD 1
#endif

#ifdef SANITIZER_ADDRESS
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef SANITIZER_THREAD
#include <sanitizer/tsan_interface.h>
#endif
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define SANITIZER_STACK_REGISTER(low, high) VALGRIND_STACK_REGISTER(low, high)
#define SANITIZER_STACK_DEREGISTER(id)      VALGRIND_STACK_DEREGISTER(id)
#else
#define SANITIZER_STACK_REGISTER(low, high) ((void)(low), (void)(high), 0U)
#define SANITIZER_STACK_DEREGISTER(id)      ((void)(id))
#endif

struct sanitizer {
#ifdef SANITIZER_ADDRESS
    void *fake_stack;
    const void *bottom;
    size_t size; /* 0: not known yet, which only the loop's own stack is */
#endif
#ifdef SANITIZER_THREAD
    void *fiber;
    void *dead; /* the fiber that ended by changing to this one */
#endif
};

/* A new context on the stack [bottom, bottom + size). */
static inline void sanitizer_born(struct sanitizer *s, void *bottom, size_t size)
{
    (void)s;
    (void)bottom;
    (void)size;
#ifdef SANITIZER_ADDRESS
    *s = (struct sanitizer){ .bottom = bottom, .size = size };
#endif
#ifdef SANITIZER_THREAD
    *s = (struct sanitizer){ .fiber = __tsan_create_fiber(0) };
#endif
}

/* The context that co_run() was called in. */
static inline void sanitizer_home(struct sanitizer *s)
{
    (void)s;
#ifdef SANITIZER_THREAD
    s->fiber = __tsan_get_current_fiber();
#endif
}

/* A stack is used again; what the last user left poisoned is not. */
static inline void sanitizer_clean(void *bottom, size_t size)
{
    (void)bottom;
    (void)size;
#ifdef SANITIZER_ADDRESS
    __asan_unpoison_memory_region(bottom, size);
#endif
}

/* Right before the switch. `last`: `from` never comes back. */
static inline void sanitizer_leave(struct sanitizer *from, struct sanitizer *to, bool last)
{
    (void)from;
    (void)to;
    (void)last;
#ifdef SANITIZER_ADDRESS
    __sanitizer_start_switch_fiber(last ? NULL : &from->fake_stack, to->bottom, to->size);
#endif
#ifdef SANITIZER_THREAD
    if (last)
        to->dead = from->fiber;
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
}

/* Right after it, in the context that goes on. The first of all switches comes from `home`. */
static inline void sanitizer_arrive(struct sanitizer *self, struct sanitizer *home)
{
    (void)self;
    (void)home;
#ifdef SANITIZER_ADDRESS
    const void *bottom;
    size_t size;

    __sanitizer_finish_switch_fiber(self->fake_stack, &bottom, &size);
    if (home->size == 0) {
        home->bottom = bottom;
        home->size = size;
    }
#endif
#ifdef SANITIZER_THREAD
    if (self->dead)
        __tsan_destroy_fiber(self->dead);
    self->dead = NULL;
#endif
}
