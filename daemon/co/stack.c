#include "daemon/co/stack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/log.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif
#define MADV_NO_SUCH (-1)

#define ARENA_STACKS 1024
#define ARENA_SIZE   (ARENA_STACKS * CO_STACK_SIZE)
#define MAPS_OTHERS  5000 /* mappings left to libraries and to the rest of the daemon */
#define MAPS_DEFAULT 65530
#define TRIM_US      10000000 /* a stack that was free that long gives its memory back */
#define TRIM_NEXT_US 10000
#define TRIM_AT_ONCE 2048 /* about 2 ms */
#define TRIM_KEEP    64   /* free stacks that keep their memory: at most 4 MiB */

struct co_arena {
    char *base;
    unsigned valgrind[ARENA_STACKS];
};

static size_t stack_max_protected(void)
{
    FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
    unsigned long maps = MAPS_DEFAULT;

    if (f) {
        if (fscanf(f, "%lu", &maps) != 1)
            maps = MAPS_DEFAULT;
        fclose(f);
    }
    return maps > MAPS_OTHERS ? (maps - MAPS_OTHERS) / 2 : 0;
}

/* qemu-user takes any advice and follows almost none. */
static bool stack_advice_is_true(void)
{
    return madvise(NULL, 0, MADV_NO_SUCH) < 0;
}

size_t co_stacks_max_guarded(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *probe = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool markers = probe != MAP_FAILED && stack_advice_is_true() &&
                   madvise(probe, page, MADV_GUARD_INSTALL) == 0;

    if (probe != MAP_FAILED)
        munmap(probe, page);
    return markers || page > CO_STACK_SIZE / 4 ? SIZE_MAX : stack_max_protected();
}

/* Aligned to the size of a stack: one stack more is mapped, and what sticks out is cut off. */
static char *arena_map(void)
{
    size_t size = ARENA_SIZE + CO_STACK_SIZE;
    char *map = mmap(NULL, size, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    char *base;

    if (map == MAP_FAILED)
        return NULL;
    base = co_stack_of(map + CO_STACK_SIZE - 1);
    if (base > map)
        munmap(map, (size_t)(base - map));
    if (base + ARENA_SIZE < map + size)
        munmap(base + ARENA_SIZE, (size_t)(map + size - base) - ARENA_SIZE);
    /* A huge page under a stack is 2 MiB of memory for a page of use. */
    madvise(base, ARENA_SIZE, MADV_NOHUGEPAGE);
    return base;
}

static int arena_add(struct co_stacks *s)
{
    struct co_arena **arenas, *arena;
    void **free_stacks;

    arenas = reallocarray(s->arenas, s->n_arenas + 1, sizeof(struct co_arena *));
    if (!arenas)
        return -ENOMEM;
    s->arenas = arenas;
    free_stacks = reallocarray(s->free, (s->n_arenas + 1) * ARENA_STACKS, sizeof(void *));
    if (!free_stacks)
        return -ENOMEM;
    s->free = free_stacks;
    arena = calloc(1, sizeof(*arena));
    if (!arena)
        return -ENOMEM;
    arena->base = arena_map();
    if (!arena->base) {
        free(arena);
        return -ENOMEM;
    }
    s->arenas[s->n_arenas++] = arena;
    s->n_cut = 0;
    return 0;
}

static void arena_free(struct co_arena *arena, size_t n_cut)
{
    for (size_t i = 0; i < n_cut; i++)
        SANITIZER_STACK_DEREGISTER(arena->valgrind[i]);
    sanitizer_clean(arena->base, ARENA_SIZE);
    munmap(arena->base, ARENA_SIZE);
    free(arena);
}

static void stacks_have_no_markers(struct co_stacks *s)
{
    s->guard = CO_GUARD_PROTECT;
    s->max_protected = stack_max_protected();
}

static void stack_guard(struct co_stacks *s, void *base)
{
    if (s->guard == CO_GUARD_MARKER) {
        if (madvise(base, s->guard_size, MADV_GUARD_INSTALL) == 0)
            return;
        stacks_have_no_markers(s);
    }
    if (s->guard == CO_GUARD_PROTECT) {
        if (s->n_protected < s->max_protected && mprotect(base, s->guard_size, PROT_NONE) == 0) {
            s->n_protected++;
            return;
        }
        s->guard = CO_GUARD_NONE;
        log_warning("coroutine stacks after the first %zu have no guard page; raise "
                    "vm.max_map_count, or use Linux 6.13",
                s->n_protected);
    }
}

static void *stack_cut(struct co_stacks *s)
{
    struct co_arena *arena;
    char *base;

    if ((s->n_arenas == 0 || s->n_cut == ARENA_STACKS) && arena_add(s) < 0)
        return NULL;
    arena = s->arenas[s->n_arenas - 1];
    base = arena->base + s->n_cut * CO_STACK_SIZE;
    stack_guard(s, base);
    arena->valgrind[s->n_cut++] =
            SANITIZER_STACK_REGISTER(base + s->guard_size, base + CO_STACK_SIZE - 1);
    return base;
}

static void stack_trim_set(struct co_stacks *s, int64_t in_us)
{
    s->trim_set = true;
    loop_timer_set(&s->trim, in_us);
}

static void stack_trim(struct loop_timer *t)
{
    struct co_stacks *s = CONTAINER_OF(t, struct co_stacks, trim);
    size_t end = s->n_least;
    int left = TRIM_AT_ONCE;

    s->trim_set = false;
    if (end + TRIM_KEEP > s->n_free)
        end = s->n_free > TRIM_KEEP ? s->n_free - TRIM_KEEP : 0;
    while (s->n_cold < end && left-- > 0)
        madvise(s->free[s->n_cold++], CO_STACK_SIZE, MADV_DONTNEED);
    if (s->n_cold < end) {
        stack_trim_set(s, TRIM_NEXT_US);
        return;
    }
    s->n_least = s->n_free;
    if (s->n_free - s->n_cold > TRIM_KEEP)
        stack_trim_set(s, TRIM_US);
}

int co_stacks_init(struct co_stacks *s, struct loop *loop)
{
    void *first;

    *s = (struct co_stacks){ .guard = CO_GUARD_MARKER,
        .guard_size = (size_t)sysconf(_SC_PAGESIZE) };
    if (s->guard_size > CO_STACK_SIZE / 4)
        s->guard = CO_GUARD_NONE; /* pages of 64 KiB */
    else if (!stack_advice_is_true())
        stacks_have_no_markers(s);
    loop_timer_init(&s->trim, loop, stack_trim);
    /* The first one now: what kind of guard there is must not be found out on a small stack. */
    first = stack_cut(s);
    if (!first)
        return -ENOMEM;
    co_stack_put(s, first);
    return 0;
}

void co_stacks_done(struct co_stacks *s)
{
    if (s->trim.loop)
        loop_timer_stop(&s->trim);
    for (size_t i = 0; i < s->n_arenas; i++)
        arena_free(s->arenas[i], i + 1 < s->n_arenas ? ARENA_STACKS : s->n_cut);
    free(s->arenas);
    free(s->free);
    *s = (struct co_stacks){ 0 };
}

void *co_stack_get(struct co_stacks *s)
{
    void *base;

    if (s->n_free == 0)
        return stack_cut(s);
    base = s->free[--s->n_free];
    if (s->n_least > s->n_free)
        s->n_least = s->n_free;
    if (s->n_cold > s->n_free)
        s->n_cold = s->n_free;
    sanitizer_clean(base, CO_STACK_SIZE);
    return base;
}

void co_stack_put(struct co_stacks *s, void *base)
{
    s->free[s->n_free++] = base;
    if (s->n_free - s->n_cold > TRIM_KEEP && !s->trim_set) {
        s->n_least = s->n_free;
        stack_trim_set(s, TRIM_US);
    }
}

bool co_stack_guards(const struct co_stacks *s, const void *address)
{
    uintptr_t at = (uintptr_t)address;

    for (size_t i = 0; i < s->n_arenas; i++) {
        uintptr_t base = (uintptr_t)s->arenas[i]->base;

        if (at >= base && at - base < ARENA_SIZE)
            return at % CO_STACK_SIZE < s->guard_size;
    }
    return false;
}
