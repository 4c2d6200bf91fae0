#include "api/listen_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "api/fields.h"

bool listen_address_is_loopback(const union listen_address *a)
{
    if (a->any.sa_family == AF_INET)
        return ntohl(a->in.sin_addr.s_addr) >> 24 == 127;
    return a->any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

void listen_address_format(const union listen_address *a, char text[LISTEN_ADDRESS_SIZE])
{
    char host[INET6_ADDRSTRLEN] = "";

    switch (a->any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof(host));
        snprintf(text, LISTEN_ADDRESS_SIZE, "%s:%u", host, ntohs(a->in.sin_port));
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof(host));
        snprintf(text, LISTEN_ADDRESS_SIZE, "[%s]:%u", host, ntohs(a->in6.sin6_port));
        break;
    case AF_UNIX:
        snprintf(text, LISTEN_ADDRESS_SIZE, "unix:%s%s", a->un.sun_path[0] ? "" : "@",
                a->un.sun_path[0] ? a->un.sun_path : a->un.sun_path + 1);
        break;
    default:
        snprintf(text, LISTEN_ADDRESS_SIZE, "a socket of family %d", a->any.sa_family);
        break;
    }
}

/* "ADDRESS:PORT", the address in brackets when it is one of IPv6. */
static int parse_inet(const char *text, union listen_address *ret, socklen_t *ret_n)
{
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN + 2];
    uint64_t port;
    size_t n = colon ? (size_t)(colon - text) : 0;

    if (n == 0 || n >= sizeof(host) || field_unsigned(colon + 1, 65535, &port) < 0)
        return -EINVAL;
    memcpy(host, text, n);
    host[n] = 0;
    *ret = (union listen_address){ 0 };
    if (inet_pton(AF_INET, host, &ret->in.sin_addr) == 1) {
        ret->in.sin_family = AF_INET;
        ret->in.sin_port = htons((uint16_t)port);
        *ret_n = sizeof(ret->in);
        return 0;
    }
    if (host[0] != '[' || host[n - 1] != ']')
        return -EINVAL;
    host[n - 1] = 0;
    if (inet_pton(AF_INET6, host + 1, &ret->in6.sin6_addr) != 1)
        return -EINVAL;
    ret->in6.sin6_family = AF_INET6;
    ret->in6.sin6_port = htons((uint16_t)port);
    *ret_n = sizeof(ret->in6);
    return 0;
}

int listen_address_parse(
        const char *text, union listen_address *ret, socklen_t *ret_n, struct error *ret_why)
{
    size_t n;
    int rc;

    if (strncmp(text, "unix:", 5) != 0) {
        rc = parse_inet(text, ret, ret_n);
        if (rc < 0)
            return error_set(ret_why, rc,
                    "can't listen on %s: it must be ADDRESS:PORT, [ADDRESS]:PORT or unix:/PATH",
                    text);
        if (listen_address_is_loopback(ret))
            return 0;
        return error_set(ret_why, -EPERM,
                "can't listen on %s: only loopback addresses and Unix sockets are allowed, because "
                "the API has no authentication",
                text);
    }
    n = strlen(text + 5);
    if (text[5] != '/' || n >= sizeof(ret->un.sun_path))
        return error_set(ret_why, -EINVAL,
                "can't listen on %s: the path must be absolute and shorter than %zu bytes", text,
                sizeof(ret->un.sun_path));
    *ret = (union listen_address){ .un = { .sun_family = AF_UNIX } };
    memcpy(ret->un.sun_path, text + 5, n + 1);
    *ret_n = sizeof(ret->un);
    return 0;
}
