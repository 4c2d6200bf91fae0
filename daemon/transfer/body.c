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

#define WHOLE_BYTES 2048 /* a body of which so much is expected has its room at once */

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
    size_t most = s->expected >= (int64_t)n ? (size_t)s->expected : BODY_INLINE_MAX_BYTES;
    size_t capacity = s->capacity * 2;
    char *data;

    if (n > BODY_INLINE_MAX_BYTES || s->expected > BODY_INLINE_MAX_BYTES)
        return 0;
    if (n <= s->capacity)
        return 1;
    if (most <= WHOLE_BYTES || capacity > most)
        capacity = most;
    if (capacity < n)
        capacity = n;
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

bool body_is_full(int rc)
{
    return rc == -ENOSPC || rc == -EDQUOT;
}

static bool space_grows(struct body_space *space, int rc)
{
    return body_is_full(rc) && space->more_space && space->more_space(space->more_space_arg);
}

static int sink_write_some(struct body_sink *s, const char *data, size_t n, size_t *ret)
{
    ssize_t written;

    do
        written = write(s->fd, data, n);
    while (written < 0 && errno == EINTR);
    if (written < 0)
        return errno == EFBIG ? -ENOSPC : -errno; /* -EFBIG is for max_bytes */
    *ret = (size_t)written;
    return 0;
}

static int sink_write(struct body_sink *s, const char *data, size_t n)
{
    bool again = false;

    while (n > 0) {
        size_t written = 0;
        int rc = sink_write_some(s, data, n, &written);

        if (rc < 0 && (again || !space_grows(s->space, rc)))
            return rc;
        again = rc < 0;
        data += written;
        n -= written;
    }
    return 0;
}

static int sink_open(struct body_sink *s)
{
    s->fd = openat(s->space->directory_fd, s->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return s->fd < 0 ? -errno : 0;
}

/* What is in memory so far becomes the beginning of the file. */
static int sink_spill(struct body_sink *s)
{
    char *data CLEANUP(cleanup_free) = NULL;
    int rc = sink_open(s);

    if (rc < 0 && space_grows(s->space, rc))
        rc = sink_open(s);
    if (rc < 0)
        return rc;
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
