/*
 * Which URLs and addresses may be called (DESIGN section 9, the table of special addresses from
 * RFC 6890 and its registries). A rule set is immutable and shared: any thread may ask it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/error.h"

struct egress_options {
    /* "10.0.0.0/8", "::1", "192.168.1.7"; NULL-terminated; NULL: none. `deny` wins over `allow`,
     * both over the table. */
    const char *const *allow, *const *deny;
};

struct buf;
struct egress;

/* -EINVAL with the offending entry in *ret_why. */
int egress_new(const struct egress_options *options, struct egress **ret, struct error *ret_why);
struct egress *egress_ref(struct egress *e);
struct egress *egress_unref(struct egress *e);
CLEANUP_DEFINE(struct egress, egress_unref, cleanup_egress)

/* The rules as bytes for another process, at the end of `b`, and back. -ENOMEM; -EPROTO. */
int egress_pack(const struct egress *e, struct buf *b);
int egress_unpack(const void *data, size_t n, struct egress **ret);

/* NULL: the address may be called; else what it is, in words that live for ever ("private network"). */
const char *egress_refusal(const struct egress *e, const struct sockaddr *address);
bool egress_allows(const struct egress *e, const struct sockaddr *address);

/* A parsed URL. All pointers are owned. */
struct egress_url {
    char *url;    /* canonical: scheme and host in lower case, no default port, no fragment */
    char *origin; /* scheme://host:port */
    char *host;   /* without brackets */
    uint16_t port;
    bool https;
    bool literal; /* the host is an address */
};

void egress_url_done(struct egress_url *u);
/* `localhost` and every name below it: 127.0.0.1 and ::1 without DNS (RFC 6761 section 6.3). */
bool egress_host_is_local(const char *host);
/* Syntax only: absolute, http or https, no user information, ASCII, at most 8 KiB. -EINVAL with the reason. */
int egress_url_parse(const char *text, struct egress_url *ret, struct error *ret_why);
/* What can be said without DNS: literal addresses, `localhost`. -EACCES with the reason. */
int egress_url_vet(const struct egress *e, const struct egress_url *u, struct error *ret_why);
