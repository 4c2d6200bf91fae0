/* The Idempotency-Keys that the fake service knows. */
#pragma once

#include "daemon/base/list.h"
#include "daemon/engine/service.h"

/* SUBMIT_ACCEPTED: the key is new. With SUBMIT_REPLAYED, *ret is what it stands for. */
enum submit_outcome fake_keys_look_up(
        const struct list *keys, const struct idempotency *is, struct uuid7 *ret);
void fake_keys_remember(struct list *keys, const struct idempotency *is, struct uuid7 id);
void fake_keys_done(struct list *keys);
