/* What the files of the codec share; nothing outside of codec*.c includes it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "api/codec.h"

/* The object that `text` is; *ret is the caller's. Errors as codec_job(). */
int codec_load_object(const char *text, size_t n, json_t **ret, struct faults *faults);

static inline void cleanup_json(json_t **j)
{
    json_decref(*j);
}

/* A key that an object may have: its place in the array of values is the reader's enum. */
struct codec_key {
    const char *name;
    unsigned kinds; /* bits of enum job_kind: where it applies; 0: everywhere */
};

/* Sorts the object's values into `values` by `keys`; an unknown key is a fault. */
void codec_sort_keys(json_t *object, const struct place *at, const struct codec_key *keys, size_t n,
        json_t **values, struct faults *faults);

/* A string without NUL. Only bodies and payloads may have one. */
bool codec_is_text(json_t *value);

/*
 * Readers of one value. Each says false when there is a fault, which it has listed.
 * `value` is never NULL.
 */
bool codec_duration(json_t *value, const struct place *at, int64_t *ret_us, struct faults *faults);
bool codec_size(json_t *value, const struct place *at, int64_t *ret_bytes, struct faults *faults);
bool codec_integer(json_t *value, const struct place *at, int64_t least, int64_t most, int64_t *ret,
        struct faults *faults);
/* The text stays the JSON's; there is no NUL in it. */
bool codec_string(json_t *value, const struct place *at, const char **ret, struct faults *faults);
bool codec_bool(json_t *value, const struct place *at, bool *ret, struct faults *faults);

/* One request of a job, as the JSON has it; NULL where it is not given. */
struct codec_request {
    json_t *url, *method, *headers, *body, *payload;
    const char *default_method, *body_method; /* without and with a body */
};

/* Reads, vets and fills *ret; `at` is the object that the keys are in. -ENOMEM, else 0 with or without faults. */
int codec_request(const struct codec_request *from, const struct place *at,
        const struct service_rules *rules, struct request_spec *ret, struct faults *faults);
/*
 * One job that is an object already. As codec_request(). *ret_key is its "idempotency_key", or NULL;
 * it stays the JSON's. `ret_key` NULL: it may not have one.
 */
int codec_job_object(json_t *object, const struct place *at, const struct service_rules *rules,
        const char **ret_key, struct job_spec *ret, struct faults *faults);
