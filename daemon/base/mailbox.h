/*
 * Messages between threads: an intrusive list swapped under a mutex, and one eventfd write when it
 * was empty. The node is part of the operation it carries, so a post never fails and never blocks.
 */
#pragma once

#include <pthread.h>

struct mail {
    struct mail *next;
    /* Called by the receiver on its own thread; the mail may be freed or posted again in it. */
    void (*deliver)(struct mail *m);
};

struct mailbox {
    pthread_mutex_t mutex;
    struct mail *first, **last;
    int event_fd; /* readable while something waits; the receiver polls it */
};

/* -errno of eventfd(2). */
int mailbox_init(struct mailbox *b);
void mailbox_done(struct mailbox *b);
/* From any thread. */
void mailbox_post(struct mailbox *b, struct mail *m);
/* Posts a chain that the caller linked through `next`, first to last, with one lock. */
void mailbox_post_chain(struct mailbox *b, struct mail *first, struct mail *last);
/* Takes everything, in the order of posting, linked through `next`; NULL when nothing waits. */
struct mail *mailbox_take(struct mailbox *b);
/*
 * Blocks until something waits, or for `timeout_ms`; -1: for ever. It may return early. For a thread
 * without an event loop.
 */
void mailbox_wait(struct mailbox *b, int timeout_ms);
/* Takes everything and calls deliver() of each. */
void mailbox_deliver(struct mailbox *b);
