/*
 * Idempotency-Key (DESIGN section 8; draft-ietf-httpapi-idempotency-key-header-07): what a client
 * repeats with the same key is done once. The key of a request is not sent to a job's target.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "api/reply.h"
#include "daemon/engine/service.h"

struct request;

#define IDEMPOTENCY_HEADER        "Idempotency-Key"
#define IDEMPOTENCY_KEY_MAX_BYTES 255
#define IDEMPOTENCY_KEY_RULE      "must be 1 to 255 visible ASCII characters"

/* Follows IDEMPOTENCY_KEY_RULE. */
bool idempotency_is_key(const char *text, size_t n);
/* The header's value, bare or as an RFC 8941 string. *ret is the caller's. -EINVAL, -ENOMEM. */
int idempotency_parse(const char *value, size_t n, char **ret);
/*
 * `body` (n bytes) is what is asked for with the key; `path` tells the keys of jobs from those of
 * batches. Not for the stack of a coroutine. -ENOMEM.
 */
int idempotency_digest(
        const char *path, const char *key, const char *body, size_t n, struct idempotency *ret);

/* Why a submit with a key made no job. */
struct idempotency_refusal {
    unsigned status;
    const char *detail; /* a literal */
};
/* NULL: there is a job, a new one or that of the first time. */
const struct idempotency_refusal *idempotency_refusal(enum submit_outcome outcome);
/* True when there is none, and then the reply says why. */
bool idempotency_refuse(const struct request *r, enum submit_outcome outcome, struct reply *reply);
/* -ENOMEM. */
int idempotency_say_replayed(struct reply *reply);
