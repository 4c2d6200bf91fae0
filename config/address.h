/* The syntax of what a configuration says about the network. Each: 0, or -EINVAL with the reason. */
#pragma once

#include "daemon/base/error.h"

#define ADDRESS_ORIGIN_SIZE 300 /* https://, a name of 253 bytes, a port */

/* "127.0.0.1:8470", "[::1]:8470", "unix:/run/baedald/api.sock"; loopback or a Unix socket. */
int address_check_listen(const char *text, struct error *ret_why);
/* "10.0.0.0/8", "::1": an address or a network whose host bits are zero. */
int address_check_network(const char *text, struct error *ret_why);
/* scheme://host or scheme://host:port in lower case; the default port is added to *ret. */
int address_parse_origin(const char *text, char ret[ADDRESS_ORIGIN_SIZE], struct error *ret_why);
/* An absolute path. */
int address_check_path(const char *text, struct error *ret_why);
