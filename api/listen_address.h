/* Socket addresses as the configuration writes them. Pure. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/base/error.h"

#define LISTEN_ADDRESS_SIZE 160

union listen_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
    struct sockaddr_storage storage;
};

/*
 * "127.0.0.1:8470", "[::1]:8470", "unix:/path". -EINVAL no such address, -EPERM one that is neither
 * loopback nor a Unix socket, with the reason.
 */
int listen_address_parse(
        const char *text, union listen_address *ret, socklen_t *ret_n, struct error *ret_why);
bool listen_address_is_loopback(const union listen_address *a);
void listen_address_format(const union listen_address *a, char text[LISTEN_ADDRESS_SIZE]);
