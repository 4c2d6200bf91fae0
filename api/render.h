/* Model to JSON: the shapes of DESIGN section 8. Pure. NULL is no memory. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "api/shape.h"
#include "daemon/engine/service.h"
#include "daemon/model/batch.h"
#include "daemon/model/job.h"

struct render_job {
    bool full; /* with attempts, events and headers; a row of a list has null in their place */
    bool seq;  /* with finished_seq, which ?after= of a batch's results takes */
    const struct store_body *body; /* shown in the result as `body`; NULL: not asked for */
};

json_t *render_job(const struct job *j, const struct render_job *how);
/* `now_us`: daemon time. */
json_t *render_batch(const struct batch *b, int64_t now_us);
json_t *render_id(struct uuid7 id);
/* {"data": …, "next_cursor": …}; takes the data over. */
json_t *render_page(json_t *data, const char *cursor);
