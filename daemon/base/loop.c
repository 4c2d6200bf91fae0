#include "daemon/base/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct loop {
    struct event_base *base;
    struct event bound; /* ends a pass that was given a time */
};

static void loop_bound_expired(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

int loop_new(struct loop **ret)
{
    struct event_config *config = event_config_new();
    struct loop *l = calloc(1, sizeof(*l));

    if (!config || !l)
        goto failed;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    l->base = event_base_new_with_config(config);
    if (!l->base)
        goto failed;
    event_config_free(config);
    evtimer_assign(&l->bound, l->base, loop_bound_expired, l);
    *ret = l;
    return 0;

failed:
    if (config)
        event_config_free(config);
    free(l);
    return -ENOMEM;
}

struct loop *loop_free(struct loop *l)
{
    if (!l)
        return NULL;
    event_del(&l->bound);
    event_base_free(l->base);
    free(l);
    return NULL;
}

static struct timeval loop_timeval(int64_t us)
{
    if (us < 0)
        us = 0;
    return (struct timeval){ .tv_sec = (time_t)(us / 1000000), .tv_usec = us % 1000000 };
}

int loop_turn(struct loop *l, int64_t timeout_us)
{
    int flags = timeout_us == 0 ? EVLOOP_NONBLOCK : EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY;

    if (timeout_us > 0) {
        struct timeval tv = loop_timeval(timeout_us);

        if (event_add(&l->bound, &tv) < 0)
            return -ENOMEM;
    }
    if (event_base_loop(l->base, flags) < 0)
        return -EIO;
    if (timeout_us > 0)
        event_del(&l->bound);
    return 0;
}

static void loop_watch_ready(evutil_socket_t fd, short what, void *arg)
{
    struct loop_watch *w = arg;
    unsigned events = 0;

    (void)fd;
    if (what & EV_READ)
        events |= LOOP_READ;
    if (what & EV_WRITE)
        events |= LOOP_WRITE;
    if (what & EV_CLOSED)
        events |= LOOP_CLOSED;
    w->ready(w, events);
}

void loop_watch_init(struct loop_watch *w, struct loop *l, int fd,
        void (*ready)(struct loop_watch *w, unsigned events))
{
    *w = (struct loop_watch){ .loop = l, .ready = ready, .fd = fd };
}

int loop_watch_set(struct loop_watch *w, unsigned events)
{
    short what = EV_PERSIST;

    if (events == w->events)
        return 0;
    if (w->events)
        event_del(&w->event);
    w->events = 0;
    if (!events)
        return 0;
    if (events & LOOP_READ)
        what |= EV_READ;
    if (events & LOOP_WRITE)
        what |= EV_WRITE;
    if (events & LOOP_CLOSED)
        what |= EV_CLOSED | EV_ET;
    event_assign(&w->event, w->loop->base, w->fd, what, loop_watch_ready, w);
    errno = 0;
    if (event_add(&w->event, NULL) < 0)
        return errno ? -errno : -ENOMEM;
    w->events = events;
    return 0;
}

void loop_watch_done(struct loop_watch *w)
{
    if (w->loop)
        loop_watch_set(w, 0);
}

static void loop_timer_expired(evutil_socket_t fd, short what, void *arg)
{
    struct loop_timer *t = arg;

    (void)fd;
    (void)what;
    t->expired(t);
}

void loop_timer_init(struct loop_timer *t, struct loop *l, void (*expired)(struct loop_timer *t))
{
    t->loop = l;
    t->expired = expired;
    evtimer_assign(&t->event, l->base, loop_timer_expired, t);
}

void loop_timer_set(struct loop_timer *t, int64_t in_us)
{
    struct timeval tv;

    /* libevent counts from a time it caches for a pass; a long slice would fire the timer early. */
    event_base_update_cache_time(t->loop->base);
    tv = loop_timeval(in_us);
    evtimer_add(&t->event, &tv);
}

void loop_timer_stop(struct loop_timer *t)
{
    if (t->loop)
        evtimer_del(&t->event);
}

static void loop_signal_ready(evutil_socket_t fd, short what, void *arg)
{
    struct loop_signal *s = arg;
    struct signalfd_siginfo info;

    (void)what;
    while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        s->raised(s, (int)info.ssi_signo);
}

int loop_signal_init(struct loop_signal *s, struct loop *l, const int *numbers, int n,
        void (*raised)(struct loop_signal *s, int number))
{
    sigset_t set;

    sigemptyset(&set);
    for (int i = 0; i < n; i++)
        sigaddset(&set, numbers[i]);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return -EINVAL;
    *s = (struct loop_signal){ .loop = l, .raised = raised };
    s->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (s->fd < 0)
        return -errno;
    event_assign(&s->event, l->base, s->fd, EV_READ | EV_PERSIST, loop_signal_ready, s);
    return event_add(&s->event, NULL) < 0 ? -ENOMEM : 0;
}

void loop_signal_done(struct loop_signal *s)
{
    if (!s->loop)
        return;
    event_del(&s->event);
    close(s->fd);
    s->loop = NULL;
}
