/* The results of an NDJSON upload: one for each of its lines, and the answer that is made of them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "api/idempotency.h"
#include "api/reply.h"
#include "daemon/base/uuid7.h"

struct bulk_line {
    unsigned short status; /* 0: nothing is known of it */
    bool replayed;         /* its job is that of an earlier use of its key */
    bool keyed;            /* it is its key that was refused */
    unsigned retry_after_s;
    struct uuid7 id;    /* of a 202 */
    char *answer;       /* its line of the answer; owned; NULL: not made yet */
    const char *detail; /* of one that was refused, for the answer: a literal */
};

struct bulk_lines {
    struct bulk_line *lines;
    size_t n, capacity;
    size_t answers_bytes; /* of those that are made */
};

void bulk_lines_done(struct bulk_lines *l);
/* What they and their answer take in memory, about. */
size_t bulk_lines_bytes(const struct bulk_lines *l);
/* The next line, empty; NULL: no memory. It moves when another is added. */
struct bulk_line *bulk_lines_add(struct bulk_lines *l);
/* `detail` is a literal. -ENOMEM. */
int bulk_lines_refuse(struct bulk_lines *l, unsigned status, const char *detail);
/* The next line's JSON is wrong. Not for the stack of a coroutine. -ENOMEM. */
int bulk_lines_keep_faults(struct bulk_lines *l, unsigned status, const struct faults *faults);

/* What became of a line's submit. */
void bulk_line_set_job(struct bulk_line *l, struct uuid7 id, enum submit_outcome outcome);
void bulk_line_set_refusal(struct bulk_line *l, const struct idempotency_refusal *refusal);
void bulk_line_set_error(struct bulk_line *l, const struct service *s, int rc);

/* Suspends between slices. Fills the reply. */
CO_SUSPENDS int bulk_lines_answer(const struct bulk_lines *l, struct reply *reply);
