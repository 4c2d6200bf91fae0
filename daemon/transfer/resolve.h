/*
 * Names to addresses, on the main loop (DESIGN section 6). Lookups of one name are joined, answers
 * are kept for their TTL within 1–30 s, failures for up to 5 s; resolv.conf and hosts are watched.
 */
#pragma once

#include "daemon/co/suspends.h"
#include "daemon/transfer/address.h"

struct loop;
struct resolver;

struct resolver_options {
    const char *servers;     /* "127.0.0.1:5300,…" instead of those of resolv.conf; NULL: those */
    const char *resolv_conf; /* NULL: /etc/resolv.conf */
};

#define RESOLVED_MAX 16 /* addresses of one name that are looked at */

struct resolved {
    unsigned n;
    union address addresses[RESOLVED_MAX]; /* in the order of RFC 6724; port 0 */
};

/* -ENOMEM, or -errno of inotify(7). */
int resolver_new(struct loop *l, const struct resolver_options *options, struct resolver **ret);
/* No lookup may be waited for. */
struct resolver *resolver_free(struct resolver *r);

/*
 * Suspends. -ENOENT: the name has no address. -EIO: the name servers gave no usable answer.
 * -ETIMEDOUT: none within 5 s. -EBUSY: too many names at once. -ENOMEM. The first three and -EBUSY
 * come with a sentence in *ret_why that lives for ever.
 */
CO_SUSPENDS int resolver_lookup(
        struct resolver *r, const char *host, struct resolved *ret, const char **ret_why);
