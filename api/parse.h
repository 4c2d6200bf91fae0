/* The codec from a coroutine: small texts on the loop's stack, large ones on a pool thread. */
#pragma once

#include "api/codec.h"
#include "daemon/co/suspends.h"

/* Suspends. As codec_job() and codec_batch(), with the rules of now; -ECANCELED as well. */
CO_SUSPENDS int parse_job(
        struct service *s, const char *text, size_t n, struct job_spec *ret, struct faults *faults);
CO_SUSPENDS int parse_batch(struct service *s, const char *text, size_t n,
        struct batch *ret_options, struct job_spec **ret_specs, size_t *ret_n,
        struct faults *faults);
