#include "daemon/co/wait.h"

#include <errno.h>

#include "daemon/base/clock.h"
#include "daemon/co/ready.h"

int co_yield(void)
{
    struct fiber *f = fiber_self();
    int rc = fiber_check(f);

    return rc < 0 ? rc : fiber_yield(f);
}

/* A sleep is a scope that nothing but its deadline ends well. */
CO_SUSPENDS static int wait_until(struct fiber *f, int64_t deadline_ns)
{
    struct co_scope s;
    int rc = fiber_check(f);

    if (rc < 0)
        return rc;
    rc = co_scope_enter(&s, f, deadline_ns, 0);
    if (rc == 0)
        rc = fiber_park(f, false, CO_AWAITS_TIME, NULL);
    rc = co_scope_close(&s, rc);
    return rc == -ETIMEDOUT ? 0 : rc;
}

int co_sleep(int64_t ns)
{
    return ns <= 0 ? co_yield() : wait_until(fiber_self(), co_deadline(ns));
}

int co_sleep_until(int64_t deadline_ns)
{
    return deadline_ns <= clock_mono_ns() ? co_yield() : wait_until(fiber_self(), deadline_ns);
}

struct fd_wait {
    struct loop_watch watch;
    struct co_waiter waiter;
};

static void fd_ready(struct loop_watch *w, unsigned events)
{
    (void)events;
    co_waiter_choose(&CONTAINER_OF(w, struct fd_wait, watch)->waiter);
}

int co_wait_fd(int fd, unsigned events)
{
    struct fiber *f = fiber_self();
    struct fd_wait w = { .waiter.fiber = f };
    int rc = fiber_check(f);

    if (rc < 0)
        return rc;
    if (fd < 0 || !(events & (CO_READABLE | CO_WRITABLE)))
        return fd < 0 ? -EBADF : -EINVAL;
    list_init(&w.waiter.node);
    loop_watch_init(&w.watch, f->loop->loop, fd, fd_ready);
    rc = loop_watch_set(&w.watch,
            (events & CO_READABLE ? LOOP_READ : 0U) | (events & CO_WRITABLE ? LOOP_WRITE : 0U));
    if (rc < 0)
        return rc;
    fiber_park(f, false, CO_AWAITS_FD, NULL);
    loop_watch_done(&w.watch);
    return w.waiter.chosen ? 0 : -ECANCELED;
}
