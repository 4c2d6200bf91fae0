#include "api/linger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/clock.h"

#define LINGER_MAX       64 /* at a time: they are not counted as connections */
#define LINGER_MAX_BYTES (64 << 20)
#define LINGER_US        (5 * CLOCK_US_PER_S)
#define LINGER_READS     64 /* before others run */

struct lingering {
    struct lingers *all;
    struct loop_watch watch;
    struct deadline deadline;
    int fd;
    size_t bytes;
};

static void linger_end(struct lingering *l)
{
    loop_watch_done(&l->watch);
    deadline_stop(&l->deadline);
    l->all->n--;
    close(l->fd);
    free(l);
}

static void linger_expired(struct deadline *d)
{
    linger_end(CONTAINER_OF(d, struct lingering, deadline));
}

static void linger_ready(struct loop_watch *w, unsigned events)
{
    struct lingering *l = CONTAINER_OF(w, struct lingering, watch);
    char bin[4096];

    (void)events;
    for (int i = 0; i < LINGER_READS; i++) {
        ssize_t n = recv(l->fd, bin, sizeof(bin), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n > 0)
            l->bytes += (size_t)n;
        if (n <= 0 || l->bytes > LINGER_MAX_BYTES) {
            linger_end(l);
            return;
        }
    }
}

void lingers_init(struct lingers *l, struct loop *loop)
{
    l->loop = loop;
    l->n = 0;
    deadline_queue_init(&l->deadlines, loop, LINGER_US, linger_expired);
}

void lingers_done(struct lingers *l)
{
    list_for_each_safe (it, &l->deadlines.items)
        linger_end(CONTAINER_OF(list_entry(it, struct deadline, node), struct lingering, deadline));
    deadline_queue_done(&l->deadlines);
}

void linger_begin(struct lingers *all, int fd)
{
    struct lingering *l = all->n < LINGER_MAX ? calloc(1, sizeof(*l)) : NULL;

    if (!l)
        return;
    l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (l->fd < 0) {
        free(l);
        return;
    }
    l->all = all;
    all->n++;
    shutdown(l->fd, SHUT_WR);
    loop_watch_init(&l->watch, all->loop, l->fd, linger_ready);
    deadline_init(&l->deadline);
    deadline_start(&l->deadline, &all->deadlines);
    if (loop_watch_set(&l->watch, LOOP_READ) < 0)
        linger_end(l);
}
