/* Jobs, checkpoints and a directory for the tests of the store. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/model/batch.h"
#include "daemon/model/job.h"

/* A directory for one test. */
struct sample {
    char directory[64];
    char database[96];
    char bodies[96];
};

int sample_setup(void **state);
int sample_teardown(void **state);
#define SAMPLE_TEST(test) cmocka_unit_test_setup_teardown(test, sample_setup, sample_teardown)

/* Ids grow from test to test. */
struct uuid7 sample_id(void);
/* A fetch as a client would post it. */
struct job *sample_fetch(void);
/* A delivery with a value in each field, each different from the next: headers, labels, bodies to the limits, UTF-8. */
struct job *sample_full(void);
struct batch sample_batch(unsigned total);
/* The batch's jobs, in order; the array and the jobs are the caller's. */
struct job **sample_jobs(const struct batch *b);
void sample_jobs_free(struct job **jobs, size_t n);

/* One activation: an attempt and an answer with a body. */
struct sample_step {
    struct checkpoint checkpoint;
    struct job_result result;
    struct body body;
};

/* The job goes on, or ends, with status 200 and this body (NULL: none) for its present step. */
void sample_step_init(struct sample_step *s, struct job *j, enum job_state state, const char *body);
/* Its body is a file of `n` bytes instead, which is made. */
void sample_step_use_file(const struct sample *sample, struct sample_step *s, size_t n);
void sample_write_file(const char *directory, const char *name, size_t n);
/* Applies it to the job, as after the commit, and frees the rest. */
void sample_step_apply(struct sample_step *s);
void sample_step_done(struct sample_step *s);

/* Every field that is stored. */
void sample_assert_same(const struct job *a, const struct job *b);
void sample_assert_same_attempt(const struct attempt *a, const struct attempt *b);
