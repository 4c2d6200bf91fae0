#include "daemon/base/clock_watch.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"

#define NEVER_S ((time_t)1 << 40) /* in 36812 */

/* TFD_TIMER_CANCEL_ON_SET: a jump makes it readable, and read(2) fails with ECANCELED, once. */
static void clock_watch_ready(struct loop_watch *watch, unsigned events)
{
    struct clock_watch *w = CONTAINER_OF(watch, struct clock_watch, watch);
    uint64_t expirations;

    (void)events;
    if (read(watch->fd, &expirations, sizeof(expirations)) < 0 && errno == ECANCELED)
        w->jumped(w);
}

int clock_watch_init(struct clock_watch *w, struct loop *l, void (*jumped)(struct clock_watch *w))
{
    const struct itimerspec never = { .it_value.tv_sec = NEVER_S };
    int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC), rc;

    if (fd < 0)
        return -errno;
    if (timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    w->jumped = jumped;
    loop_watch_init(&w->watch, l, fd, clock_watch_ready);
    rc = loop_watch_set(&w->watch, LOOP_READ);
    if (rc < 0)
        clock_watch_done(w);
    return rc;
}

void clock_watch_done(struct clock_watch *w)
{
    if (!w->watch.loop)
        return;
    loop_watch_done(&w->watch);
    close(w->watch.fd);
    w->watch.loop = NULL;
}
