/* The codec from a coroutine: small texts on the loop's stack, large ones on a pool thread. */
#pragma once

#include "api/codec.h"
#include "api/request.h"
#include "daemon/co/suspends.h"

struct parsed_batch {
    struct batch options;
    struct job_spec *specs; /* owned; empty ones once they are submitted */
    size_t n;
    bool keyed; /* there is an Idempotency-Key */
    struct idempotency idempotency;
};
void parsed_batch_done(struct parsed_batch *b);

/*
 * Suspends. The request's body as codec_job() and codec_batch() read it, with its Idempotency-Key and
 * the rules of now; -ECANCELED as well.
 */
CO_SUSPENDS int parse_job(const struct request *r, struct job_spec *ret, struct faults *faults);
CO_SUSPENDS int parse_batch(
        const struct request *r, struct parsed_batch *ret, struct faults *faults);
