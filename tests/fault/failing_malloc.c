/*
 * Preloaded into the daemon: makes one allocation fail, the n-th from when the test says so through
 * a file that both map. What is in that file is struct control.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define CALLS 40

struct control {
    atomic_uint_least64_t armed; /* count, and fail */
    atomic_uint_least64_t fail;  /* the number, from 1, of the one that fails; 0: none */
    atomic_uint_least64_t seen;  /* since it was armed */
    atomic_uint_least64_t failed;
};

static struct control *control; /* NULL: not yet, or not wanted */

static void __attribute__((constructor)) failing_malloc_open(void)
{
    const char *path = getenv("BAEDAL_TEST_MALLOC");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *at;

    if (fd < 0)
        return;
    at = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED)
        return;
    backtrace((void *[1]){ NULL }, 1); /* loads what it needs, which allocates */
    control = at;
}

/* The calls that led here, for the log; the first of them is ours. */
static void say_where(void)
{
    void *calls[CALLS];

    backtrace_symbols_fd(calls, backtrace(calls, CALLS), STDERR_FILENO);
}

static bool fails(void)
{
    if (!control || !atomic_load(&control->armed))
        return false;
    if (atomic_fetch_add(&control->seen, 1) + 1 != atomic_load(&control->fail))
        return false;
    atomic_fetch_add(&control->failed, 1);
    say_where();
    errno = ENOMEM;
    return true;
}

/* The allocator below us: libc's, or a sanitizer's. */
#define NEXT(name)                 \
    static __typeof__(&name) next; \
    if (!next)                     \
    next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

void *malloc(size_t size)
{
    NEXT(malloc);
    return fails() ? NULL : next(size);
}

void *calloc(size_t n, size_t size)
{
    NEXT(calloc);
    return fails() ? NULL : next(n, size);
}

void *realloc(void *old, size_t size)
{
    NEXT(realloc);
    return fails() ? NULL : next(old, size);
}

void *reallocarray(void *old, size_t n, size_t size)
{
    if (size > 0 && n > SIZE_MAX / size) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(old, n * size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    NEXT(aligned_alloc);
    return fails() ? NULL : next(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
    NEXT(posix_memalign);
    return fails() ? ENOMEM : next(ret, alignment, size);
}
