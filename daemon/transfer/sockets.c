/*
 * - The watch of a kept connection stays armed for reading: most connections are used again before
 *   anything comes, which saves two system calls a request. Whatever does come then, be it the end
 *   or an answer that nobody asked for, ends the connection: libcurl takes it for usable while
 *   there is something to read, and would give that to the next exchange. TLS is no exception: the
 *   tickets of a session are sent before its first answer, so libcurl has read them with it.
 * - A socket that never got its connection is closed by libcurl behind our back (cf-socket.c of
 *   7.88), so a watch may outlive its descriptor. The kernel has dropped it by then, and libevent
 *   bears that; the next socket with the number takes its place.
 */
#include "daemon/transfer/sockets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/loop.h"
#include "daemon/transfer/flight.h"

#define SOCKETS_MIN 64
#define DRAIN_MAX   16 /* times 4 KiB */

struct socket {
    struct loop_watch watch;
    struct sockets *sockets;
    bool used;                 /* libcurl waits for it; else it idles in the cache */
    struct record *connecting; /* whose connection it is to become */
};

static int sockets_adopt(struct socket_home *h, int fd);
static int sockets_close(struct socket_home *h, int fd);

void sockets_init(struct sockets *s, struct loop *l,
        void (*ready)(struct sockets *s, int fd, unsigned events))
{
    *s = (struct sockets){
        .home = { .adopt = sockets_adopt, .close = sockets_close }, .loop = l, .ready = ready
    };
}

void sockets_done(struct sockets *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->by_fd[i])
            loop_watch_done(&s->by_fd[i]->watch);
        free(s->by_fd[i]);
    }
    free(s->by_fd);
    *s = (struct sockets){ 0 };
}

static struct socket *sockets_find(struct sockets *s, int fd)
{
    return fd >= 0 && (size_t)fd < s->n ? s->by_fd[fd] : NULL;
}

/* libcurl sees a connection that is shut down both ways, and closes it before its next use. */
bool sockets_end(int fd)
{
    char junk[4096];
    ssize_t n = recv(fd, junk, sizeof(junk), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false; /* libcurl has read it in the meantime */
    for (int i = 0; n > 0 && i < DRAIN_MAX; i++)
        n = recv(fd, junk, sizeof(junk), MSG_DONTWAIT);
    shutdown(fd, SHUT_RDWR);
    return true;
}

static void socket_ready(struct loop_watch *w, unsigned events)
{
    struct socket *it = CONTAINER_OF(w, struct socket, watch);

    if (!it->used) {
        if (sockets_end(w->fd))
            loop_watch_set(w, 0);
        return;
    }
    if (it->connecting)
        it->connecting->writable_ns = clock_mono_ns();
    it->sockets->ready(it->sockets, w->fd, events);
}

static int sockets_reserve(struct sockets *s, int fd)
{
    size_t n = s->n ? s->n : SOCKETS_MIN;
    struct socket **by_fd;

    while (n <= (size_t)fd)
        n *= 2;
    if (n == s->n)
        return 0;
    by_fd = reallocarray(s->by_fd, n, sizeof(struct socket *));
    if (!by_fd)
        return -ENOMEM;
    memset(by_fd + s->n, 0, (n - s->n) * sizeof(struct socket *));
    s->by_fd = by_fd;
    s->n = n;
    return 0;
}

static int sockets_adopt(struct socket_home *h, int fd)
{
    struct sockets *s = CONTAINER_OF(h, struct sockets, home);
    unsigned events;
    struct socket *it;
    int rc = sockets_reserve(s, fd);

    if (rc < 0)
        return rc;
    it = s->by_fd[fd];
    if (!it) {
        it = calloc(1, sizeof(*it));
        if (!it)
            return -ENOMEM;
        it->sockets = s;
        s->by_fd[fd] = it;
    }
    /* Given to another socket at once, libcurl doesn't say again what it waits for. */
    events = it->used ? it->watch.events : 0;
    loop_watch_done(&it->watch);
    loop_watch_init(&it->watch, s->loop, fd, socket_ready);
    it->connecting = NULL;
    return loop_watch_set(&it->watch, events);
}

static int sockets_close(struct socket_home *h, int fd)
{
    struct socket *it = sockets_find(CONTAINER_OF(h, struct sockets, home), fd);

    if (it) {
        loop_watch_done(&it->watch);
        it->used = false;
        it->connecting = NULL;
    }
    return close(fd);
}

/*
 * While it connects libcurl waits to write. It waits for something to read for the first time when
 * a TLS handshake is under way, and for that alone when all of a request is out.
 */
bool sockets_note(struct record *r, bool reads, bool writes)
{
    if (!r->asked_ns) {
        r->handshaking = r->handshaking || reads;
        return !reads;
    }
    r->sending = writes;
    if (!r->sending && !r->sent_ns)
        r->sent_ns = clock_mono_ns();
    return false;
}

/* A socket whose watch finds no memory ends by its timeout. */
void sockets_wait(struct sockets *s, int fd, unsigned events, struct record *r)
{
    struct socket *it = sockets_find(s, fd);

    if (!it)
        return;
    it->used = events != 0;
    if (it->used) {
        loop_watch_set(&it->watch, events);
        if (r)
            it->connecting = sockets_note(r, events & LOOP_READ, events & LOOP_WRITE) ? r : NULL;
        return;
    }
    it->connecting = NULL;
    if (it->watch.events != LOOP_READ)
        loop_watch_set(&it->watch, r && r->asked_ns ? LOOP_READ : 0);
}
