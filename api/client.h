/*
 * Who is at the other end of connections, so that one client can be held to its share: an IPv4
 * address, the /64 network of an IPv6 address, or the user of a Unix socket.
 */
#pragma once

#include <stdint.h>
#include <sys/socket.h>

#include "daemon/base/table.h"

struct clients {
    struct table table;       /* those with connections */
    unsigned max_connections; /* of each */
};

struct client {
    struct table_node node;
    uint64_t key;
    int family;
    unsigned n_connections;
};

/* The client, when it has as many connections as it may; else NULL. */
const struct client *clients_find_full(
        const struct clients *c, int fd, const struct sockaddr *address);
/* Counts a connection. NULL: no memory. */
struct client *clients_enter(struct clients *c, int fd, const struct sockaddr *address);
void clients_leave(struct clients *c, struct client *client);
