/* What came of an exchange, as a worker process tells it; the body goes before. */
#pragma once

#include <stdint.h>

struct answer;
struct buf;
struct wire_view;

/* A frame at the end of `b`. -ENOMEM. */
int report_put(struct buf *b, const struct answer *a);
/*
 * Into the answer of an exchange whose lookup took `dns_us` (PHASE_NOT_TAKEN: there was none).
 * -EPROTO: no exchange ends like that. -ENOMEM. Nothing has changed then.
 */
int report_get(struct wire_view *v, int64_t dns_us, struct answer *ret);
