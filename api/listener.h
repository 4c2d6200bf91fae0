/*
 * The sockets that accept API connections: our own accept, so that a client is told 503 when there
 * are no descriptors left. Loopback addresses and Unix sockets only: nothing else may be listened
 * on while there is no authentication.
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "daemon/base/error.h"

struct host_list;
struct listener;
struct loop;

#define LISTENER_SOCKETS_MAX 16

/*
 * Takes the sockets that the service manager handed over, or else binds `listen`: "127.0.0.1:8470",
 * "[::1]:8470", "unix:/path"; NULL-terminated. -errno with the reason, which names the address.
 */
int listener_new(
        struct loop *loop, const char *const *listen, struct listener **ret, struct error *ret_why);
/* `accepted` gets each connection: a non-blocking descriptor that is its own from then on. */
int listener_start(struct listener *l,
        void (*accepted)(void *arg, int fd, const struct sockaddr *address, socklen_t address_n),
        void *arg);
/* Closes the sockets. Idempotent. */
void listener_stop(struct listener *l);
struct listener *listener_free(struct listener *l);
/* The names that a client on TCP may put into Host. -ENOMEM. */
int listener_hosts(const struct listener *l, struct host_list *ret);
/* Tells the client so and closes the descriptor. */
void listener_refuse(int fd, unsigned status, const char *detail);
