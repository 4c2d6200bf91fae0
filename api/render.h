/* Model to JSON: the shapes of DESIGN section 8. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "api/writer.h"
#include "daemon/model/batch.h"
#include "daemon/model/job.h"
#include "daemon/store/store.h"

/* `full`: with attempts, events and headers; a row of a list has null in their place. */
struct render_job {
    bool full;
    const struct store_body *body; /* shown in the result as `body`; NULL: not asked for */
};

void render_job(const struct job *j, const struct render_job *how, struct writer *w);
/* The members of a batch's object, without its braces. `now_us`: daemon time. */
void render_batch(const struct batch *b, int64_t now_us, struct writer *w);
void render_id(struct uuid7 id, struct writer *w);
