/* An exchange as it is given to a worker process. */
#pragma once

#include <stdbool.h>

#include "daemon/transfer/flight.h"

struct buf;
struct egress;
struct wire_view;

/* A frame at the end of `b`. With the rules, unless the worker has them. -ENOMEM. */
int order_put(struct buf *b, const struct flight *f, bool with_rules);

/* What the worker makes a flight of. It borrows from the frame, but for the rules. */
struct order {
    struct exchange x;
    struct blob headers;
    char *pin; /* NULL: none */
    int64_t dns_us, limit_us;
    struct egress *rules; /* owned; NULL: as before */
};

/* -EPROTO, -ENOMEM. */
int order_get(struct wire_view *v, struct order *ret);
