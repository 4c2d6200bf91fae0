/* One try of a network step: an exchange and the redirects that follow from it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/co/suspends.h"
#include "daemon/model/job.h"
#include "daemon/transfer/transfer.h"

struct record;

struct fetch_try {
    struct attempt *attempts; /* owned: each exchange, in order */
    size_t n_attempts;
    struct answer answer; /* of the last one; its attempt has moved into `attempts` */
};

/* A body's file that nobody committed is removed by it. */
void fetch_try_done(struct fetch_try *t, int bodies_fd);
/*
 * Suspends. Runs `request` for the record's current step; the record holds a permit of the
 * request's lane, and of the last hop's lane afterwards (or of none). 0: the last attempt's error
 * says how it ended, an unexpected status included. -ECANCELED, -ENOMEM.
 */
CO_SUSPENDS int fetch_run(struct record *r, const struct request_spec *request,
        int64_t lane_wait_us, struct fetch_try *ret);
