/*
 * The attempts of one checkpoint as one versioned blob: they are many small numbers that are
 * written and read together. A URL or method that is the spec's own is left out.
 */
#pragma once

#include <stddef.h>

#include "daemon/base/buf.h"
#include "daemon/model/job.h"

/* Appends; `n` 0 appends nothing. -ENOMEM. */
int attempts_pack(
        const struct attempt *attempts, size_t n, const struct job_spec *spec, struct buf *to);
/* Adds what `data` holds to *attempts (of *n), which the caller frees in any case. -EBADMSG, -ENOMEM. */
int attempts_unpack(const void *data, size_t size, const struct job_spec *spec,
        struct attempt **attempts, size_t *n);
