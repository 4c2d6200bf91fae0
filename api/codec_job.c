/*
 * A job: its keys in one table. The values are first sorted by key, then read in the table's order,
 * so the faults of one job come in the same order whatever the order of its keys.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/codec_json.h"
#include "api/fields.h"
#include "api/idempotency.h"

enum job_key {
    KEY_KIND,
    KEY_URL,
    KEY_METHOD,
    KEY_HEADERS,
    KEY_BODY,
    KEY_PAYLOAD,
    KEY_WAIT,
    KEY_COLLECT,
    KEY_TIMEOUT,
    KEY_DEADLINE,
    KEY_MAX_BODY,
    KEY_REDIRECTS,
    KEY_EXPECT,
    KEY_RETRY,
    KEY_DELAY,
    KEY_AT,
    KEY_NAME,
    KEY_LABELS,
    KEY_PRIORITY,
    KEY_ON_UNKNOWN,
    KEY_IDEMPOTENT,
    KEY_IDEMPOTENCY_KEY,
    KEY_EXECUTOR,
    KEY_MAX
};

#define ONLY(kind) (1U << (kind))

static const struct codec_key job_keys[KEY_MAX] = {
    [KEY_KIND] = { "kind", 0 },
    [KEY_URL] = { "url", 0 },
    [KEY_METHOD] = { "method", 0 },
    [KEY_HEADERS] = { "headers", 0 },
    [KEY_BODY] = { "body", 0 },
    [KEY_PAYLOAD] = { "payload", ONLY(JOB_DELIVERY) },
    [KEY_WAIT] = { "wait", ONLY(JOB_DELIVERY) },
    [KEY_COLLECT] = { "collect", ONLY(JOB_DELIVERY) },
    [KEY_TIMEOUT] = { "timeout", 0 },
    [KEY_DEADLINE] = { "deadline", 0 },
    [KEY_MAX_BODY] = { "max_body", 0 },
    [KEY_REDIRECTS] = { "redirects", 0 },
    [KEY_EXPECT] = { "expect", 0 },
    [KEY_RETRY] = { "retry", 0 },
    [KEY_DELAY] = { "delay", 0 },
    [KEY_AT] = { "at", 0 },
    [KEY_NAME] = { "name", 0 },
    [KEY_LABELS] = { "labels", 0 },
    [KEY_PRIORITY] = { "priority", 0 },
    [KEY_ON_UNKNOWN] = { "on_unknown", 0 },
    [KEY_IDEMPOTENT] = { "idempotent", 0 },
    [KEY_IDEMPOTENCY_KEY] = { "idempotency_key", 0 },
    [KEY_EXECUTOR] = { "executor", 0 },
};

struct job_reader {
    json_t *values[KEY_MAX]; /* NULL: not given */
    const struct place *at;
    const struct service_rules *rules;
    struct job_spec *spec;
    struct faults *faults;
};

static struct place key_place(const struct job_reader *r, enum job_key key)
{
    return (struct place){ .parent = r->at, .key = job_keys[key].name };
}

static void read_positive_duration(struct job_reader *r, enum job_key key, int64_t *ret_us)
{
    struct place here = key_place(r, key);
    int64_t us;

    if (!r->values[key] || !codec_duration(r->values[key], &here, &us, r->faults))
        return;
    if (us == 0)
        faults_at(r->faults, &here, "must be more than 0");
    else
        *ret_us = us;
}

static void read_duration(struct job_reader *r, enum job_key key, int64_t *ret_us)
{
    struct place here = key_place(r, key);

    if (r->values[key])
        codec_duration(r->values[key], &here, ret_us, r->faults);
}

static void read_max_body(struct job_reader *r)
{
    struct place here = key_place(r, KEY_MAX_BODY);
    int64_t bytes;

    if (!r->values[KEY_MAX_BODY] || !codec_size(r->values[KEY_MAX_BODY], &here, &bytes, r->faults))
        return;
    if (bytes > r->rules->max_body_bytes)
        faults_at(r->faults, &here, "must be at most %lld bytes",
                (long long)r->rules->max_body_bytes);
    else
        r->spec->max_body_bytes = bytes;
}

static bool read_status_range(struct job_reader *r, json_t *item, const struct place *at)
{
    struct status_ranges *expect = &r->spec->expect;
    uint16_t first, last;
    bool good = false;

    if (json_is_integer(item)) {
        json_int_t status = json_integer_value(item);

        good = status >= 100 && status <= 599;
        first = last = (uint16_t)status;
    } else if (codec_is_text(item)) {
        good = field_status_range(json_string_value(item), &first, &last) == 0;
    }
    if (!good) {
        faults_at(r->faults, at, "must be a status like \"2xx\", \"404\" or \"200-204\"");
        return false;
    }
    expect->range[expect->n].first = first;
    expect->range[expect->n].last = last;
    expect->n++;
    return true;
}

static void read_expect(struct job_reader *r)
{
    struct place here = key_place(r, KEY_EXPECT);
    json_t *list = r->values[KEY_EXPECT];

    if (!list) {
        r->spec->expect.n = 1;
        r->spec->expect.range[0].first = 200;
        r->spec->expect.range[0].last = 299;
        return;
    }
    if (!json_is_array(list) || json_array_size(list) < 1 ||
            json_array_size(list) > STATUS_RANGES_MAX) {
        faults_at(r->faults, &here, "must be an array of 1 to %d statuses", STATUS_RANGES_MAX);
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++)
        read_status_range(
                r, json_array_get(list, i), &(struct place){ .parent = &here, .index = i });
}

static void read_retry(struct job_reader *r)
{
    static const struct codec_key keys[] = { { "attempts", 0 }, { "backoff", 0 },
        { "max_backoff", 0 } };
    struct place here = key_place(r, KEY_RETRY);
    json_t *values[ARRAY_LEN(keys)] = { 0 };
    struct place attempts = { .parent = &here, .key = "attempts" },
                 backoff = { .parent = &here, .key = "backoff" },
                 max_backoff = { .parent = &here, .key = "max_backoff" };
    struct job_spec *spec = r->spec;
    int64_t n;

    if (!r->values[KEY_RETRY])
        return;
    if (!json_is_object(r->values[KEY_RETRY])) {
        faults_at(r->faults, &here, "must be an object");
        return;
    }
    codec_sort_keys(r->values[KEY_RETRY], &here, keys, ARRAY_LEN(keys), values, r->faults);
    if (values[0] && codec_integer(values[0], &attempts, 1, JOB_ATTEMPTS_MAX, &n, r->faults))
        spec->attempts = (unsigned)n;
    if (values[1])
        codec_duration(values[1], &backoff, &spec->backoff_us, r->faults);
    if (values[2])
        codec_duration(values[2], &max_backoff, &spec->max_backoff_us, r->faults);
    if (spec->max_backoff_us < spec->backoff_us) {
        if (values[2])
            faults_at(r->faults, &max_backoff, "must not be less than backoff");
        spec->max_backoff_us = spec->backoff_us;
    }
}

static void read_at(struct job_reader *r)
{
    struct place here = key_place(r, KEY_AT);
    const char *text;

    if (!r->values[KEY_AT] || !codec_string(r->values[KEY_AT], &here, &text, r->faults))
        return;
    if (clock_parse(text, &r->spec->at_us) < 0)
        faults_at(r->faults, &here, "must be a time like \"2026-01-31T09:30:00Z\" (RFC 3339)");
    else if (r->spec->at_us == 0)
        r->spec->at_us = 1; /* 0 is "not given" */
    if (r->values[KEY_DELAY])
        faults_at(r->faults, &here, "can't go with delay");
}

static int read_name(struct job_reader *r)
{
    struct place here = key_place(r, KEY_NAME);
    const char *name;

    if (!r->values[KEY_NAME] || !codec_string(r->values[KEY_NAME], &here, &name, r->faults))
        return 0;
    if (!*name || strlen(name) > JOB_NAME_MAX_BYTES || !field_is_plain(name)) {
        faults_at(r->faults, &here, "must be 1 to %d bytes without control characters",
                JOB_NAME_MAX_BYTES);
        return 0;
    }
    r->spec->name = strdup(name);
    return r->spec->name ? 0 : -ENOMEM;
}

static bool check_label(
        struct job_reader *r, const char *key, json_t *value, const struct place *at)
{
    if (!*key || strlen(key) > JOB_LABEL_MAX_BYTES || !field_is_plain(key) || strchr(key, ':')) {
        faults_at(r->faults, at,
                "a label's name must be 1 to %d bytes without colons and control characters",
                JOB_LABEL_MAX_BYTES);
        return false;
    }
    if (!codec_is_text(value) || json_string_length(value) > JOB_LABEL_MAX_BYTES ||
            !field_is_plain(json_string_value(value))) {
        faults_at(r->faults, at, "must be a string of at most %d bytes without control characters",
                JOB_LABEL_MAX_BYTES);
        return false;
    }
    return true;
}

static int read_labels(struct job_reader *r)
{
    struct place here = key_place(r, KEY_LABELS);
    json_t *labels = r->values[KEY_LABELS], *value;
    struct job_spec *spec = r->spec;
    const char *key;

    if (!labels)
        return 0;
    if (!json_is_object(labels) || json_object_size(labels) > JOB_LABELS_MAX) {
        faults_at(r->faults, &here, "must be an object of at most %d labels", JOB_LABELS_MAX);
        return 0;
    }
    if (json_object_size(labels) == 0)
        return 0;
    spec->labels = calloc(json_object_size(labels), sizeof(*spec->labels));
    if (!spec->labels)
        return -ENOMEM;
    json_object_foreach (labels, key, value) {
        struct place label = { .parent = &here, .key = key };

        if (!check_label(r, key, value, &label))
            continue;
        spec->labels[spec->n_labels].key = strdup(key);
        spec->labels[spec->n_labels].value = strdup(json_string_value(value));
        spec->n_labels++;
        if (!spec->labels[spec->n_labels - 1].key || !spec->labels[spec->n_labels - 1].value)
            return -ENOMEM;
    }
    return 0;
}

static void read_counts(struct job_reader *r)
{
    struct place redirects = key_place(r, KEY_REDIRECTS), priority = key_place(r, KEY_PRIORITY);
    int64_t n;

    if (r->values[KEY_REDIRECTS] && codec_integer(r->values[KEY_REDIRECTS], &redirects, 0,
                                            JOB_REDIRECTS_MAX, &n, r->faults))
        r->spec->redirects = (unsigned)n;
    if (r->values[KEY_PRIORITY] && codec_integer(r->values[KEY_PRIORITY], &priority,
                                           -JOB_PRIORITY_MAX, JOB_PRIORITY_MAX, &n, r->faults))
        r->spec->priority = (int)n;
}

/* DESIGN section 6: what to do with an attempt whose end nobody knows. */
static void read_repetition(struct job_reader *r)
{
    struct place here = key_place(r, KEY_ON_UNKNOWN), idempotent = key_place(r, KEY_IDEMPOTENT);
    const char *method = r->spec->request.method, *text;
    bool safe = !method || method_is_idempotent(method);
    json_t *value = r->values[KEY_ON_UNKNOWN];

    if (r->values[KEY_IDEMPOTENT])
        codec_bool(r->values[KEY_IDEMPOTENT], &idempotent, &safe, r->faults);
    r->spec->idempotent = safe;
    r->spec->on_unknown = r->spec->kind == JOB_DELIVERY || safe ? UNKNOWN_RETRY : UNKNOWN_FAIL;
    if (!value || !codec_string(value, &here, &text, r->faults))
        return;
    for (int u = 0; u < UNKNOWN_MAX; u++)
        if (strcmp(on_unknown_name((enum on_unknown)u), text) == 0) {
            r->spec->on_unknown = (enum on_unknown)u;
            return;
        }
    faults_at(r->faults, &here, "must be \"retry\" or \"fail\"");
}

static void read_idempotency_key(struct job_reader *r, const char **ret)
{
    struct place here = key_place(r, KEY_IDEMPOTENCY_KEY);
    json_t *value = r->values[KEY_IDEMPOTENCY_KEY];
    const char *key;

    if (!value)
        return;
    if (!ret)
        faults_at(r->faults, &here, "a batch has one key for all of it: the header %s",
                IDEMPOTENCY_HEADER);
    else if (codec_string(value, &here, &key, r->faults)) {
        if (idempotency_is_key(key, strlen(key)))
            *ret = key;
        else
            faults_at(r->faults, &here, IDEMPOTENCY_KEY_RULE);
    }
}

static void read_executor(struct job_reader *r)
{
    struct place here = key_place(r, KEY_EXECUTOR);
    enum executor executor;
    const char *text;

    if (!r->values[KEY_EXECUTOR] || !codec_string(r->values[KEY_EXECUTOR], &here, &text, r->faults))
        return;
    executor = executor_from_text(text);
    if (executor == EXECUTOR_INVALID)
        faults_at(r->faults, &here, "must be \"coroutine\", \"thread\" or \"process\"");
    else
        r->spec->executor = executor;
}

static int read_request(struct job_reader *r)
{
    struct place url = key_place(r, KEY_URL);
    bool fetch = r->spec->kind == JOB_FETCH;

    if (!r->values[KEY_URL]) {
        static const enum job_key with_url[] = { KEY_METHOD, KEY_HEADERS, KEY_BODY, KEY_PAYLOAD };

        if (fetch)
            faults_at(r->faults, &url, "is required");
        for (size_t i = 0; !fetch && i < ARRAY_LEN(with_url); i++)
            if (r->values[with_url[i]]) {
                struct place here = key_place(r, with_url[i]);

                faults_at(r->faults, &here, "needs a url");
            }
        return 0;
    }
    return codec_request(
            &(struct codec_request){
                    .url = r->values[KEY_URL],
                    .method = r->values[KEY_METHOD],
                    .headers = r->values[KEY_HEADERS],
                    .body = r->values[KEY_BODY],
                    .payload = r->values[KEY_PAYLOAD],
                    .default_method = fetch ? "GET" : "POST",
                    .body_method = fetch ? "GET" : "POST",
            },
            r->at, r->rules, &r->spec->request, r->faults);
}

static int read_collect(struct job_reader *r)
{
    static const struct codec_key keys[] = { { "url", 0 }, { "method", 0 }, { "headers", 0 },
        { "body", 0 }, { "payload", 0 } };
    struct place here = key_place(r, KEY_COLLECT), url = { .parent = &here, .key = "url" };
    json_t *values[ARRAY_LEN(keys)] = { 0 }, *collect = r->values[KEY_COLLECT];

    if (!collect)
        return 0;
    if (!json_is_object(collect)) {
        faults_at(r->faults, &here, "must be an object");
        return 0;
    }
    codec_sort_keys(collect, &here, keys, ARRAY_LEN(keys), values, r->faults);
    if (!values[0]) {
        faults_at(r->faults, &url, "is required");
        return 0;
    }
    return codec_request(
            &(struct codec_request){
                    .url = values[0],
                    .method = values[1],
                    .headers = values[2],
                    .body = values[3],
                    .payload = values[4],
                    .default_method = "GET",
                    .body_method = "POST",
            },
            &here, r->rules, &r->spec->collect, r->faults);
}

static bool read_kind(struct job_reader *r)
{
    struct place here = key_place(r, KEY_KIND);
    const char *text;

    if (!r->values[KEY_KIND]) {
        faults_at(r->faults, &here, "is required: \"fetch\" or \"delivery\"");
        return false;
    }
    if (!codec_string(r->values[KEY_KIND], &here, &text, r->faults))
        return false;
    if (job_kind_parse(text, &r->spec->kind) < 0) {
        faults_at(r->faults, &here, "must be \"fetch\" or \"delivery\"");
        return false;
    }
    return true;
}

/* A key that is no key of this kind is a fault, and is not looked at any further. */
static void drop_foreign_keys(struct job_reader *r)
{
    for (enum job_key key = 0; key < KEY_MAX; key++) {
        struct place here = key_place(r, key);

        if (!r->values[key] || !job_keys[key].kinds || job_keys[key].kinds & ONLY(r->spec->kind))
            continue;
        faults_at(r->faults, &here, "does not apply to a %s", job_kind_name(r->spec->kind));
        r->values[key] = NULL;
    }
}

static void set_defaults(struct job_spec *spec, const struct service_rules *rules)
{
    bool fetch = spec->kind == JOB_FETCH;

    spec->timeout_us = rules->defaults.timeout_us;
    spec->max_body_bytes = rules->defaults.max_body_bytes;
    spec->attempts = fetch ? rules->defaults.fetch_attempts : rules->defaults.delivery_attempts;
    spec->redirects = fetch ? rules->defaults.fetch_redirects : rules->defaults.delivery_redirects;
    spec->backoff_us = rules->defaults.backoff_us;
    spec->max_backoff_us = rules->defaults.max_backoff_us;
}

int codec_job_object(json_t *object, const struct place *at, const struct service_rules *rules,
        const char **ret_key, struct job_spec *ret, struct faults *faults)
{
    struct job_reader r = { .at = at, .rules = rules, .spec = ret, .faults = faults };
    int rc;

    if (!json_is_object(object)) {
        faults_at(faults, at, "must be a JSON object");
        return 0;
    }
    codec_sort_keys(object, at, job_keys, KEY_MAX, r.values, faults);
    if (!read_kind(&r))
        return 0;
    set_defaults(ret, rules);
    drop_foreign_keys(&r);
    rc = read_request(&r);
    if (rc == 0)
        rc = read_collect(&r);
    read_duration(&r, KEY_WAIT, &ret->wait_us);
    read_positive_duration(&r, KEY_TIMEOUT, &ret->timeout_us);
    read_positive_duration(&r, KEY_DEADLINE, &ret->deadline_us);
    read_max_body(&r);
    read_expect(&r);
    read_retry(&r);
    read_duration(&r, KEY_DELAY, &ret->delay_us);
    read_at(&r);
    if (rc == 0)
        rc = read_name(&r);
    if (rc == 0)
        rc = read_labels(&r);
    read_counts(&r);
    read_repetition(&r);
    read_idempotency_key(&r, ret_key);
    read_executor(&r);
    return rc;
}

/* `key` is the header's and `own` the job's; each may be NULL. */
static int set_idempotency(const char *text, size_t n, const char *key, const char *own,
        struct job_spec *spec, struct faults *faults)
{
    struct place root = { 0 },
                 here = { .parent = &root, .key = job_keys[KEY_IDEMPOTENCY_KEY].name };

    if (key && own && strcmp(key, own) != 0)
        faults_at(
                faults, &here, "must be that of the header %s, or be left out", IDEMPOTENCY_HEADER);
    if (faults_any(faults) || (!key && !own))
        return 0;
    spec->idempotency = malloc(sizeof(*spec->idempotency));
    if (!spec->idempotency)
        return -ENOMEM;
    return idempotency_digest("/v1/jobs", key ? key : own, text, n, spec->idempotency);
}

int codec_job(const char *text, size_t n, const char *key, const struct service_rules *rules,
        struct job_spec *ret, struct faults *faults)
{
    __attribute__((cleanup(cleanup_json))) json_t *object = NULL;
    struct job_spec spec = { 0 };
    struct place root = { 0 };
    const char *own = NULL;
    int rc = codec_load_object(text, n, &object, faults);

    if (rc < 0)
        return rc;
    rc = codec_job_object(object, &root, rules, &own, &spec, faults);
    if (rc == 0)
        rc = set_idempotency(text, n, key, own, &spec, faults);
    if (rc == 0 && faults_any(faults))
        rc = -EINVAL;
    if (rc < 0)
        job_spec_done(&spec);
    else
        *ret = spec;
    return rc;
}
