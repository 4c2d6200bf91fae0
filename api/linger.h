/*
 * Closes a connection whose client may still be sending. A socket that is closed with bytes unread
 * is reset, and a reset takes the answer away from a client that has not read it yet; so what it
 * sends is read for a while and dropped (RFC 9112, section 9.6).
 */
#pragma once

#include "api/deadline.h"

struct lingers {
    struct loop *loop;
    struct deadline_queue deadlines; /* of all, in order */
    unsigned n;
};

void lingers_init(struct lingers *l, struct loop *loop);
/* Closes them all at once. */
void lingers_done(struct lingers *l);
/* The answer is written; `fd` stays the caller's, who closes it. */
void linger_begin(struct lingers *l, int fd);
