/*
 * Checks a request's head again, because microhttpd takes forms that smuggle requests (reference:
 * reliability 0.3 and 4.3): RFC 9112 framing, tokens, control characters; then whose request it is
 * (Host, Origin, Sec-Fetch-Site). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAMING_HEADERS_MAX       100
#define FRAMING_HEADERS_MAX_BYTES 16384
#define FRAMING_TARGET_MAX_BYTES  8192

struct framing_field {
    const char *name, *value;
    size_t name_n, value_n;
};

struct framing_head {
    const char *target, *version;
    struct framing_field fields[FRAMING_HEADERS_MAX];
    size_t n;   /* of fields; FRAMING_HEADERS_MAX + 1: there were more */
    bool local; /* came over a Unix socket: any host is ours */
};

/* What `Host` may say: "127.0.0.1:8470", "localhost:8470", … */
struct host_list {
    char **names; /* owned */
    size_t n;
};

/* -ENOMEM. */
int host_list_add(struct host_list *l, const char *name);
void host_list_done(struct host_list *l);

/* What the head says. Texts point into the head, and are not terminated. */
struct framing {
    int64_t content_length; /* -1: none given */
    bool chunked;
    bool expect_continue;
    struct framing_field content_type, idempotency_key; /* value NULL: none */
    struct framing_field prefer, accept;                /* the first */
};

/* What is wrong: the status and why; close the connection. */
struct framing_fault {
    unsigned status;
    const char *detail;
};

/* False when something is wrong, and then *ret_fault says what. */
bool framing_check(const struct framing_head *head, const struct host_list *hosts,
        struct framing *ret, struct framing_fault *ret_fault);
