/*
 * Where an answer's body goes while it comes in: memory up to BODY_INLINE_MAX_BYTES and within a
 * budget that all transfers share, then a file.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/co/suspends.h"

struct body;

/* Shared; any thread. */
struct body_space {
    _Atomic int64_t free_bytes;
    int directory_fd;
    /* The disk is full: true when something was given up, and it is worth another try. Any thread;
     * NULL: there is nothing to give up. */
    bool (*more_space)(void *arg);
    void *more_space_arg;
};

struct body_sink {
    struct body_space *space;
    const char *file;  /* its name, should it need one; borrowed */
    int64_t max_bytes; /* more than that is refused */
    int64_t bytes;     /* taken so far */
    int64_t expected;  /* of Content-Length; -1 unknown */
    char *data;        /* `bytes` of them, while fd is -1 */
    size_t capacity;   /* of data; counted against the budget */
    int fd;            /* the file; -1: in memory */
    /* Takes all of it instead; NULL: it is kept. -errno. */
    int (*pass_on)(struct body_sink *s, const void *data, size_t n);
};

void body_sink_init(
        struct body_sink *s, struct body_space *space, const char *file, int64_t max_bytes);
/* Whether an error of these calls says that the disk, or what we may have of it, is full. */
bool body_is_full(int rc);
/* -EFBIG: only what made max_bytes full was taken. -ENOMEM, or -errno of the file. */
int body_sink_add(struct body_sink *s, const void *data, size_t n);
/* Suspends, when there is a file: it and its directory are synced. Hands over to *ret; `s` is empty then. */
CO_SUSPENDS int body_sink_finish(struct body_sink *s, struct body *ret);
/* Gives everything up, the file too. Idempotent. */
void body_sink_drop(struct body_sink *s);
