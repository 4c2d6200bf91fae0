/* The sockets of one libcurl multi, watched as it says. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct loop;
struct record;
struct socket;

/* Where the sockets of a multi belong; it outlives them and the handles. */
struct socket_home {
    /* From here on the socket can be waited for. -errno. */
    int (*adopt)(struct socket_home *h, int fd);
    /* Closes the descriptor. */
    int (*close)(struct socket_home *h, int fd);
};

/* On an event loop. */
struct sockets {
    struct socket_home home;
    struct loop *loop;
    /* Something happened that libcurl waits for; `events` of enum loop_event. */
    void (*ready)(struct sockets *s, int fd, unsigned events);
    struct socket **by_fd; /* kept when the descriptor is closed */
    size_t n;
};

void sockets_init(struct sockets *s, struct loop *l,
        void (*ready)(struct sockets *s, int fd, unsigned events));
void sockets_done(struct sockets *s);
/* libcurl waits for `events`, 0 no more, for the exchange of `r` (NULL: none). It never fails. */
void sockets_wait(struct sockets *s, int fd, unsigned events, struct record *r);

/* What that says of the exchange of `r`. True: the socket is about to get its connection. */
bool sockets_note(struct record *r, bool reads, bool writes);
/* Something came on a kept connection: ends it for libcurl. False: there is nothing to be read. */
bool sockets_end(int fd);
