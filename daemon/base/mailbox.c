#include "daemon/base/mailbox.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int mailbox_init(struct mailbox *b)
{
    *b = (struct mailbox){ .mutex = PTHREAD_MUTEX_INITIALIZER, .last = &b->first };
    b->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return b->event_fd < 0 ? -errno : 0;
}

void mailbox_done(struct mailbox *b)
{
    if (b->event_fd >= 0)
        close(b->event_fd);
    b->event_fd = -1;
    pthread_mutex_destroy(&b->mutex);
}

void mailbox_post_chain(struct mailbox *b, struct mail *first, struct mail *last)
{
    bool was_empty;

    last->next = NULL;
    pthread_mutex_lock(&b->mutex);
    was_empty = !b->first;
    *b->last = first;
    b->last = &last->next;
    pthread_mutex_unlock(&b->mutex);

    /* EAGAIN would mean 2^64-1 unread writes; the counter is readable then, which is all we need. */
    if (was_empty)
        (void)!write(b->event_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

void mailbox_post(struct mailbox *b, struct mail *m)
{
    mailbox_post_chain(b, m, m);
}

struct mail *mailbox_take(struct mailbox *b)
{
    struct mail *first;
    uint64_t count;

    /* The counter first: a post that comes in between leaves it readable again. */
    (void)!read(b->event_fd, &count, sizeof(count));
    pthread_mutex_lock(&b->mutex);
    first = b->first;
    b->first = NULL;
    b->last = &b->first;
    pthread_mutex_unlock(&b->mutex);
    return first;
}

void mailbox_wait(struct mailbox *b, int timeout_ms)
{
    struct pollfd p = { .fd = b->event_fd, .events = POLLIN };

    (void)poll(&p, 1, timeout_ms);
}

void mailbox_deliver(struct mailbox *b)
{
    struct mail *next;

    for (struct mail *m = mailbox_take(b); m; m = next) {
        next = m->next;
        m->deliver(m);
    }
}
