/*
 * JSON to model. Pure: specs, faults and the rules are all that it
 * touches, so it runs on the loop's stack (co_on_loop) or on a pool thread, but not on the stack of
 * a coroutine.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "api/faults.h"
#include "daemon/engine/service.h"
#include "daemon/model/batch.h"
#include "daemon/model/job.h"

#define CODEC_DEPTH_MAX 32
/* Text up to this size is parsed on the loop, more of it on a pool thread. */
#define CODEC_ON_LOOP_BYTES 65536

/*
 * 0: *ret is a whole spec, vetted and canonical; the caller's. Otherwise *ret is untouched:
 * -EBADMSG no JSON, -EINVAL valid JSON with invalid content, both with all faults; -ENOMEM.
 * `key` is the request's Idempotency-Key; NULL: none, but the job may say one itself.
 */
int codec_job(const char *text, size_t n, const char *key, const struct service_rules *rules,
        struct job_spec *ret, struct faults *faults);
/* The same for a batch: its options, and its jobs' specs as an owned array. They have no keys. */
int codec_batch(const char *text, size_t n, const struct service_rules *rules,
        struct batch *ret_options, struct job_spec **ret_specs, size_t *ret_n,
        struct faults *faults);
