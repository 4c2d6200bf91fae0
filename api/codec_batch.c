/* A batch: its options and the array of its jobs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/codec_json.h"

enum batch_key { KEY_RUN, KEY_CONCURRENCY, KEY_ON_ERROR, KEY_JOBS, KEY_MAX };

static const struct codec_key batch_keys[KEY_MAX] = {
    [KEY_RUN] = { "run", 0 },
    [KEY_CONCURRENCY] = { "concurrency", 0 },
    [KEY_ON_ERROR] = { "on_error", 0 },
    [KEY_JOBS] = { "jobs", 0 },
};

static void read_options(
        json_t *const *values, const struct place *at, struct batch *ret, struct faults *faults)
{
    struct place run = { .parent = at, .key = "run" },
                 concurrency = { .parent = at, .key = "concurrency" },
                 on_error = { .parent = at, .key = "on_error" };
    const char *text;
    int64_t n;

    if (values[KEY_RUN] && codec_string(values[KEY_RUN], &run, &text, faults) &&
            batch_run_parse(text, &ret->run) < 0)
        faults_at(faults, &run, "must be \"gather\" or \"sequence\"");
    if (values[KEY_ON_ERROR] && codec_string(values[KEY_ON_ERROR], &on_error, &text, faults) &&
            batch_on_error_parse(text, &ret->on_error) < 0)
        faults_at(faults, &on_error, "must be \"continue\" or \"cancel\"");
    if (ret->run == BATCH_SEQUENCE)
        ret->concurrency = 1;
    if (!values[KEY_CONCURRENCY] ||
            !codec_integer(values[KEY_CONCURRENCY], &concurrency, 1, BATCH_JOBS_MAX, &n, faults))
        return;
    if (ret->run == BATCH_SEQUENCE && n != 1)
        faults_at(faults, &concurrency, "of a sequence is 1");
    else
        ret->concurrency = (unsigned)n;
}

static void specs_done(struct job_spec *specs, size_t n)
{
    for (size_t i = 0; specs && i < n; i++)
        job_spec_done(&specs[i]);
    free(specs);
}

static int read_jobs(json_t *jobs, const struct place *at, const struct service_rules *rules,
        struct job_spec **ret, size_t *ret_n, struct faults *faults)
{
    struct place here = { .parent = at, .key = "jobs" };
    size_t n = json_array_size(jobs);
    struct job_spec *specs;
    int rc = 0;

    if (!jobs) {
        faults_at(faults, &here, "is required");
        return 0;
    }
    if (!json_is_array(jobs) || n < 1 || n > BATCH_JOBS_MAX) {
        faults_at(faults, &here, "must be an array of 1 to %d jobs", BATCH_JOBS_MAX);
        return 0;
    }
    specs = calloc(n, sizeof(*specs));
    if (!specs)
        return -ENOMEM;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = codec_job_object(json_array_get(jobs, i),
                &(struct place){ .parent = &here, .index = i }, rules, NULL, &specs[i], faults);
    if (rc < 0) {
        specs_done(specs, n);
        return rc;
    }
    *ret = specs;
    *ret_n = n;
    return 0;
}

int codec_batch(const char *text, size_t n, const struct service_rules *rules,
        struct batch *ret_options, struct job_spec **ret_specs, size_t *ret_n,
        struct faults *faults)
{
    __attribute__((cleanup(cleanup_json))) json_t *object = NULL;
    json_t *values[KEY_MAX] = { 0 };
    struct job_spec *specs = NULL;
    struct batch options = { 0 };
    struct place root = { 0 };
    size_t n_specs = 0;
    int rc = codec_load_object(text, n, &object, faults);

    if (rc < 0)
        return rc;
    codec_sort_keys(object, &root, batch_keys, KEY_MAX, values, faults);
    read_options(values, &root, &options, faults);
    rc = read_jobs(values[KEY_JOBS], &root, rules, &specs, &n_specs, faults);
    if (rc == 0 && faults_any(faults))
        rc = -EINVAL;
    if (rc < 0) {
        specs_done(specs, n_specs);
        return rc;
    }
    *ret_options = options;
    *ret_specs = specs;
    *ret_n = n_specs;
    return 0;
}
