/*
 * The event loop of one thread; libevent's only home. Watches, timers and signals live inside
 * their owners and call back on the loop's own stack. Nothing here is for another thread:
 * those post to a mailbox whose event_fd is watched.
 */
#pragma once

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;

enum loop_event {
    LOOP_READ = 1 << 0,
    LOOP_WRITE = 1 << 1,
    /* The peer hung up; makes the watch edge triggered. A reset comes as LOOP_READ. */
    LOOP_CLOSED = 1 << 2,
};

struct loop_watch {
    struct event event;
    struct loop *loop;
    void (*ready)(struct loop_watch *w, unsigned events);
    int fd;
    unsigned events; /* of enum loop_event; 0 while it watches nothing */
};

struct loop_timer {
    struct event event;
    struct loop *loop;
    void (*expired)(struct loop_timer *t);
};

struct loop_signal {
    struct event event;
    struct loop *loop;
    void (*raised)(struct loop_signal *s, int number);
    int fd; /* signalfd */
};

int loop_new(struct loop **ret);
struct loop *loop_free(struct loop *l);
/* One pass: waits until something is ready, at most `timeout_us` (-1: for ever, 0: not at all), and calls it back. */
int loop_turn(struct loop *l, int64_t timeout_us);

/* The descriptor stays the caller's; call loop_watch_done() before it is closed. */
void loop_watch_init(struct loop_watch *w, struct loop *l, int fd,
        void (*ready)(struct loop_watch *w, unsigned events));
/* Level triggered and persistent until changed; 0 stops it. -ENOMEM, or -errno of epoll_ctl(2). */
int loop_watch_set(struct loop_watch *w, unsigned events);
void loop_watch_done(struct loop_watch *w);

void loop_timer_init(struct loop_timer *t, struct loop *l, void (*expired)(struct loop_timer *t));
/* One shot, `in_us` from now; a set timer is moved. */
void loop_timer_set(struct loop_timer *t, int64_t in_us);
/* Idempotent. */
void loop_timer_stop(struct loop_timer *t);

/* Blocks the signals in the calling thread (call it before others are started) and takes them by signalfd. */
int loop_signal_init(struct loop_signal *s, struct loop *l, const int *numbers, int n,
        void (*raised)(struct loop_signal *s, int number));
void loop_signal_done(struct loop_signal *s);
