/* The sockets of one libcurl multi, watched as it says. */
#pragma once

#include <stddef.h>

struct loop;
struct record;
struct socket;

struct sockets {
    struct loop *loop;
    /* Something happened that libcurl waits for; `events` of enum loop_event. */
    void (*ready)(struct sockets *s, int fd, unsigned events);
    struct socket **by_fd; /* kept when the descriptor is closed */
    size_t n;
};

void sockets_init(struct sockets *s, struct loop *l,
        void (*ready)(struct sockets *s, int fd, unsigned events));
void sockets_done(struct sockets *s);
/* From here on the socket can be watched. -ENOMEM. */
int sockets_adopt(struct sockets *s, int fd);
/* Closes the descriptor. */
int sockets_close(struct sockets *s, int fd);
/* libcurl waits for `events`, 0 no more, for the exchange of `r` (NULL: none). It never fails. */
void sockets_wait(struct sockets *s, int fd, unsigned events, struct record *r);
