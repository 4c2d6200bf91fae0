/* Batches: jobs submitted together, and how they run. Plain data. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/uuid7.h"
#include "daemon/model/job.h"

/* Stored by number: append only. */
enum batch_run { BATCH_GATHER, BATCH_SEQUENCE, BATCH_RUN_MAX };
enum batch_on_error { ON_ERROR_CONTINUE, ON_ERROR_CANCEL, ON_ERROR_MAX };
/* BATCH_LOADING: its jobs are being inserted; it does not exist yet for anybody. */
enum batch_state {
    BATCH_LOADING,
    BATCH_RUNNING,
    BATCH_SUCCEEDED,
    BATCH_FAILED,
    BATCH_CANCELLED,
    BATCH_STATE_MAX
};

const char *batch_run_name(enum batch_run r);
const char *batch_on_error_name(enum batch_on_error e);
const char *batch_state_name(enum batch_state s);
int batch_run_parse(const char *text, enum batch_run *ret);
int batch_on_error_parse(const char *text, enum batch_on_error *ret);

#define BATCH_JOBS_MAX 100000

struct batch {
    struct uuid7 id;
    enum batch_run run;
    enum batch_on_error on_error;
    unsigned concurrency; /* jobs let go at a time; 0: all; a sequence has 1 */
    enum batch_state state;
    bool cancelled; /* by request */
    unsigned total;
    unsigned counts[JOB_STATE_MAX];  /* by shown state; sums up to total */
    int64_t created_us, finished_us; /* daemon time; finished: of the last job so far, 0: none */
    int64_t work_us;                 /* sum of the ended jobs' run times */
    int64_t finished_seq;            /* of the last job that finished */
    unsigned n_held; /* jobs that its concurrency held back when it was submitted or taken up */
};
