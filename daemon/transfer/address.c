#include "daemon/transfer/address.h"

#include <arpa/inet.h>
#include <string.h>

bool address_parse(const char *host, uint16_t port, union address *ret)
{
    union address a = { .v6 = { 0 } };

    if (inet_pton(AF_INET, host, &a.v4.sin_addr) == 1) {
        a.v4.sin_family = AF_INET;
        a.v4.sin_port = htons(port);
    } else if (inet_pton(AF_INET6, host, &a.v6.sin6_addr) == 1) {
        a.v6.sin6_family = AF_INET6;
        a.v6.sin6_port = htons(port);
    } else {
        return false;
    }
    *ret = a;
    return true;
}

bool address_copy(const struct sockaddr *from, union address *ret)
{
    union address a = { .v6 = { 0 } };

    if (from->sa_family == AF_INET)
        a.v4 = *(const struct sockaddr_in *)(const void *)from;
    else if (from->sa_family == AF_INET6)
        a.v6 = *(const struct sockaddr_in6 *)(const void *)from;
    else
        return false;
    *ret = a;
    return true;
}

void address_format_host(const union address *a, char text[ADDRESS_TEXT_SIZE])
{
    text[0] = '\0';
    if (a->any.sa_family == AF_INET)
        inet_ntop(AF_INET, &a->v4.sin_addr, text, ADDRESS_TEXT_SIZE);
    else if (a->any.sa_family == AF_INET6)
        inet_ntop(AF_INET6, &a->v6.sin6_addr, text, ADDRESS_TEXT_SIZE);
}

/* Without printf, which would cost as much as all the rest: it is done for every exchange. */
char *address_write_port(uint16_t port, char *p)
{
    char digits[5];
    int n = 0;

    do
        digits[n++] = (char)('0' + port % 10);
    while ((port /= 10) > 0);
    *p++ = ':';
    while (n > 0)
        *p++ = digits[--n];
    *p = '\0';
    return p;
}

void address_join(const char *host, uint16_t port, char text[ADDRESS_TEXT_SIZE])
{
    bool v6 = strchr(host, ':') != NULL;
    char *p = text;

    if (v6)
        *p++ = '[';
    p = mempcpy(p, host, strnlen(host, INET6_ADDRSTRLEN - 1));
    if (v6)
        *p++ = ']';
    address_write_port(port, p);
}

void address_format(const union address *a, char text[ADDRESS_TEXT_SIZE])
{
    char host[ADDRESS_TEXT_SIZE];

    address_format_host(a, host);
    text[0] = '\0';
    if (a->any.sa_family == AF_INET)
        address_join(host, ntohs(a->v4.sin_port), text);
    else if (a->any.sa_family == AF_INET6)
        address_join(host, ntohs(a->v6.sin6_port), text);
}
