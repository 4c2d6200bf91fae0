/* A socket address of either family. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

#define ADDRESS_TEXT_SIZE 56 /* "[2001:db8::1]:65535" at its longest */

/* "192.0.2.1", "2001:db8::1": false when `host` is neither. */
bool address_parse(const char *host, uint16_t port, union address *ret);
/* False: not of the internet, or too long. */
bool address_copy(const struct sockaddr *from, union address *ret);
/* With the port: "192.0.2.1:80", "[2001:db8::1]:80"; "" for another family. */
void address_format(const union address *a, char text[ADDRESS_TEXT_SIZE]);
/* The same of what it is made of. */
void address_join(const char *host, uint16_t port, char text[ADDRESS_TEXT_SIZE]);
/* ":8080" at `p`, seven bytes at most, with a NUL that the result points at. */
char *address_write_port(uint16_t port, char *p);
/* Without the port. */
void address_format_host(const union address *a, char text[ADDRESS_TEXT_SIZE]);
