/* Scope-bound ownership: every local owner carries one of these attributes (STYLE 11). */
#pragma once

#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Hands the pointer over: the variable is NULL afterwards, so its cleanup does nothing. */
#define TAKE_PTR(p)                         \
    ({                                      \
        __typeof__(p) *take_from_ = &(p);   \
        __typeof__(p) taken_ = *take_from_; \
        *take_from_ = NULL;                 \
        taken_;                             \
    })

/* The same for a descriptor: the variable is -1 afterwards. */
#define TAKE_FD(fd)               \
    ({                            \
        int *take_from_ = &(fd);  \
        int taken_ = *take_from_; \
        *take_from_ = -1;         \
        taken_;                   \
    })

/* Defines `name`, a cleanup function for a `type *` whose destructor is `free_fn`. */
#define CLEANUP_DEFINE(type, free_fn, name) \
    static inline void name(type **p)       \
    {                                       \
        if (*p)                             \
            free_fn(*p);                    \
    }

#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - __builtin_offsetof(type, member)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static inline void cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
