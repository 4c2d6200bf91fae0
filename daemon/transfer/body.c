#include "daemon/transfer/body.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/failpoint.h"
#include "daemon/co/co.h"
#include "daemon/model/job.h"

#define FIRST_BYTES 2048 /* of a body whose length nobody said */

void body_sink_init(
        struct body_sink *s, struct body_space *space, const char *file, int64_t max_bytes)
{
    *s = (struct body_sink){
        .space = space, .file = file, .max_bytes = max_bytes, .expected = -1, .fd = -1
    };
}

/* False, and nothing taken: the budget is used up. */
static bool space_take(struct body_space *space, size_t bytes)
{
    if (atomic_fetch_sub_explicit(&space->free_bytes, (int64_t)bytes, memory_order_relaxed) >=
            (int64_t)bytes)
        return true;
    atomic_fetch_add_explicit(&space->free_bytes, (int64_t)bytes, memory_order_relaxed);
    return false;
}

static void sink_forget_memory(struct body_sink *s)
{
    atomic_fetch_add_explicit(&s->space->free_bytes, (int64_t)s->capacity, memory_order_relaxed);
    s->capacity = 0;
    s->data = NULL;
}

/* Room for `n` bytes in all. 0: it is to be a file. */
static int sink_reserve(struct body_sink *s, size_t n)
{
    size_t capacity = s->capacity       ? s->capacity * 2
                      : s->expected > 0 ? (size_t)s->expected
                                        : FIRST_BYTES;
    char *data;

    if (n > BODY_INLINE_MAX_BYTES || s->expected > BODY_INLINE_MAX_BYTES)
        return 0;
    if (n <= s->capacity)
        return 1;
    if (capacity < n)
        capacity = n;
    if (capacity > BODY_INLINE_MAX_BYTES)
        capacity = BODY_INLINE_MAX_BYTES;
    if (!space_take(s->space, capacity - s->capacity))
        return 0;
    data = realloc(s->data, capacity);
    if (!data) {
        atomic_fetch_add_explicit(
                &s->space->free_bytes, (int64_t)(capacity - s->capacity), memory_order_relaxed);
        return -ENOMEM;
    }
    s->data = data;
    s->capacity = capacity;
    return 1;
}

static int sink_write(struct body_sink *s, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t written = write(s->fd, data, n);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -errno;
        data += written;
        n -= (size_t)written;
    }
    return 0;
}

/* What is in memory so far becomes the beginning of the file. */
static int sink_spill(struct body_sink *s)
{
    char *data CLEANUP(cleanup_free) = NULL;

    s->fd = openat(s->space->directory_fd, s->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (s->fd < 0)
        return -errno;
    data = s->data;
    sink_forget_memory(s);
    return sink_write(s, data, (size_t)s->bytes);
}

static int sink_keep(struct body_sink *s, const void *data, size_t n)
{
    int rc = s->fd >= 0 ? 0 : sink_reserve(s, (size_t)s->bytes + n);

    if (rc < 0)
        return rc;
    if (rc == 1) {
        memcpy(s->data + s->bytes, data, n);
        return 0;
    }
    rc = s->fd >= 0 ? 0 : sink_spill(s);
    return rc < 0 ? rc : sink_write(s, data, n);
}

int body_sink_add(struct body_sink *s, const void *data, size_t n)
{
    size_t room = (size_t)(s->max_bytes - s->bytes), take = n < room ? n : room;
    int rc = 0;

    if (take > 0)
        rc = s->pass_on ? s->pass_on(s, data, take) : sink_keep(s, data, take);
    if (rc < 0)
        return rc;
    s->bytes += (int64_t)take;
    return take < n ? -EFBIG : 0;
}

static int sink_sync(void *arg)
{
    const struct body_sink *s = arg;

    if (fsync(s->fd) < 0 || fsync(s->space->directory_fd) < 0)
        return -errno;
    failpoint(body_synced);
    return 0;
}

int body_sink_finish(struct body_sink *s, struct body *ret)
{
    struct body b = { .bytes = s->bytes };
    int rc, synced;

    if (s->fd >= 0) {
        rc = co_to_thread(sink_sync, s, &synced);
        if (rc == 0)
            rc = synced;
        if (rc < 0)
            return rc;
        snprintf(b.file, sizeof(b.file), "%s", s->file);
        close(s->fd);
        s->fd = -1;
    } else {
        b.data = s->data;
        sink_forget_memory(s);
    }
    s->bytes = 0;
    *ret = b;
    return 0;
}

void body_sink_drop(struct body_sink *s)
{
    if (s->fd >= 0) {
        unlinkat(s->space->directory_fd, s->file, 0);
        close(s->fd);
        s->fd = -1;
    }
    free(s->data);
    if (s->capacity > 0)
        sink_forget_memory(s);
    s->bytes = 0;
}
