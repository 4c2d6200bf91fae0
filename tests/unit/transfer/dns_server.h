/* A name server on a loopback port that answers from a script, in a thread of its own. */
#pragma once

#include <stdint.h>

struct dns_record {
    const char *name;
    const char *addresses; /* "192.0.2.1 2001:db8::1"; "" for no data */
    unsigned ttl;
    unsigned rcode; /* 0: with the addresses; 3: NXDOMAIN … */
    int silent;     /* no answer at all */
};

struct dns_server;

/* `script` ends with a NULL name and outlives the server; *.many is 127.0.0.1; the rest NXDOMAIN. */
struct dns_server *dns_server_start(const struct dns_record *script);
void dns_server_stop(struct dns_server *s);
/* "127.0.0.1:12345" */
const char *dns_server_address(const struct dns_server *s);
/* Questions that were asked for the name so far, of any type. */
unsigned dns_server_questions(struct dns_server *s, const char *name);
