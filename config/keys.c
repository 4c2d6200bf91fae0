#include "config/keys.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "config/address.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/units.h"

#define KiB (1LL << 10)
#define MiB (1LL << 20)
#define GiB (1LL << 30)
#define TiB (1LL << 40)
#define PiB (1LL << 50)
#define MS  1000LL
#define S   (1000 * MS)
#define MIN (60 * S)
#define H   (60 * MIN)
#define D   (24 * H)

#define FIELD(member) offsetof(struct config, member), sizeof(((struct config *)0)->member)

static const struct key_choice key_durabilities[] = { { "full", false }, { "relaxed", true },
    { 0 } };

static const struct key_choice key_log_levels[] = {
    { "error", LOG_LEVEL_ERROR },
    { "warning", LOG_LEVEL_WARNING },
    { "info", LOG_LEVEL_INFO },
    { "debug", LOG_LEVEL_DEBUG },
    { 0 },
};

const struct key keys[] = {
    { "api", "listen", KEY_TEXTS, FIELD(api.listen), "127.0.0.1:8470",
            .check = address_check_listen, .required = true },
    { "api", "max_wait", KEY_DURATION, FIELD(api.max_wait_us), "5min", 0, 1 * D },
    { "api", "max_body", KEY_BYTES, FIELD(api.max_body_bytes), "8MiB", 1 * KiB, 1 * GiB },
    { "api", "max_bulk", KEY_BYTES, FIELD(api.max_bulk_bytes), "64MiB", 1 * KiB, 1 * GiB },
    { "api", "max_lines", KEY_COUNT, FIELD(api.max_lines), "100000", 1, 1000000 },
    { "api", "max_connections", KEY_COUNT, FIELD(api.max_connections), "10000", 1, 1000000 },
    { "api", "max_connections_per_client", KEY_COUNT, FIELD(api.max_connections_per_client),
            "10000", 1, 1000000 },
    { "api", "max_waiters", KEY_COUNT, FIELD(api.max_waiters), "9000", 1, 1000000 },
    { "api", "request_memory", KEY_BYTES, FIELD(api.request_memory_bytes), "256MiB", 1 * MiB,
            1 * TiB },
    { "api", "answer_memory", KEY_BYTES, FIELD(api.answer_memory_bytes), "256MiB", 1 * MiB,
            1 * TiB },
    { "api", "header_timeout", KEY_DURATION, FIELD(api.header_timeout_us), "5s", 10 * MS, 1 * H },
    { "api", "body_timeout", KEY_DURATION, FIELD(api.body_timeout_us), "30s", 10 * MS, 1 * H },
    { "api", "write_timeout", KEY_DURATION, FIELD(api.write_timeout_us), "60s", 1 * S, 1 * H },

    { "store", "directory", KEY_TEXT, FIELD(store.directory), "/var/lib/baedald",
            .check = address_check_path },
    { "store", "durability", KEY_CHOICE, FIELD(store.relaxed), "full",
            .choices = key_durabilities },
    { "store", "max_jobs", KEY_COUNT, FIELD(service.max_jobs), "10000000", 1, 100000000 },
    { "store", "max_batches", KEY_COUNT, FIELD(service.max_batches), "100000", 1, 10000000 },
    { "store", "min_free", KEY_BYTES, FIELD(store.min_free_bytes), "64MiB", 0, 1 * TiB },
    { "store", "ballast", KEY_BYTES, FIELD(store.ballast_bytes), "16MiB", 0, 1 * GiB },

    { "scheduler", "max_active", KEY_COUNT, FIELD(service.max_active), "1000", 1, 100000 },
    { "scheduler", "window", KEY_COUNT, FIELD(service.window), "100000", 1, 100000000 },
    { "scheduler", "window_memory", KEY_BYTES, FIELD(service.window_bytes), "64MiB", 64 * KiB,
            1 * TiB },
    { "scheduler", "max_lanes", KEY_COUNT, FIELD(service.max_lanes), "10000", 1, 1000000 },
    { "scheduler", "drain_timeout", KEY_DURATION, FIELD(drain_timeout_us), "25s", 0, 1 * H,
            .live = true },
    { "scheduler", "executor_threads", KEY_COUNT, FIELD(transfer.executor_threads), "8", 1, 1024 },
    { "scheduler", "executor_processes", KEY_COUNT, FIELD(transfer.executor_processes), "4", 1,
            256 },

    { "transfer", "threads", KEY_COUNT, FIELD(transfer.threads), "0", 0, 64 },
    { "transfer", "max_body", KEY_BYTES, FIELD(service.max_body_bytes), "10MiB", 1, 1 * TiB,
            .live = true },
    { "transfer", "body_memory", KEY_BYTES, FIELD(transfer.body_memory_bytes), "64MiB", 1 * MiB,
            1 * TiB },
    { "transfer", "timeout", KEY_DURATION, FIELD(service.defaults.timeout_us), "30s", 1 * MS, 1 * D,
            .live = true },
    { "transfer", "connect_timeout", KEY_DURATION, FIELD(transfer.connect_timeout_us), "5s", 1 * MS,
            1 * H },

    { "retry", "fetch_attempts", KEY_COUNT, FIELD(service.defaults.fetch_attempts), "1", 1,
            JOB_ATTEMPTS_MAX, .live = true },
    { "retry", "delivery_attempts", KEY_COUNT, FIELD(service.defaults.delivery_attempts), "3", 1,
            JOB_ATTEMPTS_MAX, .live = true },
    { "retry", "backoff", KEY_DURATION, FIELD(service.defaults.backoff_us), "1s", 1 * MS, 1 * D,
            .live = true },
    { "retry", "max_backoff", KEY_DURATION, FIELD(service.defaults.max_backoff_us), "5min", 1 * MS,
            7 * D, .live = true },

    { "retention", "age", KEY_DURATION, FIELD(service.retention.age_us), "7d", 1 * S, 3650 * D,
            .live = true },
    { "retention", "count", KEY_COUNT, FIELD(service.retention.count), "1000000", 1, 1000000000,
            .live = true },
    { "retention", "bytes", KEY_BYTES, FIELD(service.retention.bytes), "10GiB", 1 * MiB, 1 * PiB,
            .live = true },
    { "retention", "idempotency", KEY_DURATION, FIELD(service.retention.idempotency_us), "24h",
            1 * S, 3650 * D, .live = true },

    { "egress", "allow", KEY_TEXTS, FIELD(egress.allow), NULL, .check = address_check_network,
            .live = true },
    { "egress", "deny", KEY_TEXTS, FIELD(egress.deny), NULL, .check = address_check_network,
            .live = true },

    { "log", "level", KEY_CHOICE, FIELD(log.level), "info", .choices = key_log_levels,
            .live = true },
};

const size_t keys_n = ARRAY_LEN(keys);

const struct key *key_find(const char *group, const char *name)
{
    for (size_t i = 0; i < keys_n; i++)
        if (strcmp(keys[i].group, group) == 0 && strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

const struct key *key_find_name(const char *name)
{
    for (size_t i = 0; i < keys_n; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

bool key_group_exists(const char *group)
{
    for (size_t i = 0; i < keys_n; i++)
        if (strcmp(keys[i].group, group) == 0)
            return true;
    return false;
}

#define KEY_NAME_MAX_BYTES 32 /* longer ones are like nothing we know */

/* Edits (insert, delete, replace) that make `a` into `b`. */
static size_t key_distance(const char *a, const char *b)
{
    size_t n = strlen(b), row[KEY_NAME_MAX_BYTES + 1];

    if (strlen(a) > KEY_NAME_MAX_BYTES || n > KEY_NAME_MAX_BYTES)
        return KEY_NAME_MAX_BYTES;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

/* Keeps the nearer of two candidates; a third of the letters may be wrong. */
static void key_consider(
        const char *name, const char *candidate, const char **best, size_t *distance)
{
    size_t d = key_distance(name, candidate);

    if (d < *distance && 3 * d <= strlen(candidate) + 1) {
        *best = candidate;
        *distance = d;
    }
}

const char *key_nearest_group(const char *name)
{
    const char *best = NULL;
    size_t distance = SIZE_MAX;

    for (size_t i = 0; i < keys_n; i++)
        key_consider(name, keys[i].group, &best, &distance);
    key_consider(name, "lanes", &best, &distance);
    return best;
}

const char *key_nearest_name(const char *group, const char *name)
{
    const char *best = NULL;
    size_t distance = SIZE_MAX;

    for (size_t i = 0; i < keys_n; i++)
        if (strcmp(keys[i].group, group) == 0)
            key_consider(name, keys[i].name, &best, &distance);
    return best;
}

static void *key_field(const struct key *k, const struct config *c)
{
    return (char *)c + k->offset;
}

int64_t key_number(const struct key *k, const struct config *c)
{
    if (k->size == sizeof(bool))
        return *(bool *)key_field(k, c);
    if (k->size == sizeof(unsigned))
        return *(unsigned *)key_field(k, c);
    return *(int64_t *)key_field(k, c);
}

void key_set_number(const struct key *k, struct config *c, int64_t value)
{
    if (k->size == sizeof(bool))
        *(bool *)key_field(k, c) = value;
    else if (k->size == sizeof(unsigned))
        *(unsigned *)key_field(k, c) = (unsigned)value;
    else
        *(int64_t *)key_field(k, c) = value;
}

const char *key_text(const struct key *k, const struct config *c)
{
    return *(const char **)key_field(k, c);
}

void key_set_text(const struct key *k, struct config *c, const char *value)
{
    *(const char **)key_field(k, c) = value;
}

const char *const *key_texts(const struct key *k, const struct config *c)
{
    return *(const char *const **)key_field(k, c);
}

void key_set_texts(const struct key *k, struct config *c, const char *const *value)
{
    *(const char *const **)key_field(k, c) = value;
}

void key_format(const struct key *k, int64_t value, char *ret, size_t size)
{
    char text[UNITS_TEXT_SIZE];

    snprintf(text, sizeof(text), "%" PRId64, value);
    if (k->type == KEY_DURATION)
        units_format_duration(value, text);
    else if (k->type == KEY_BYTES)
        units_format_bytes(value, text);
    for (const struct key_choice *c = k->choices; c && c->name; c++)
        if (c->value == value)
            snprintf(text, sizeof(text), "%s", c->name);
    snprintf(ret, size, "%s", text);
}

int key_check_range(const struct key *k, int64_t value, struct error *ret_why)
{
    char min[UNITS_TEXT_SIZE], max[UNITS_TEXT_SIZE], is[UNITS_TEXT_SIZE];

    if (value >= k->min && value <= k->max)
        return 0;
    key_format(k, k->min, min, sizeof(min));
    key_format(k, k->max, max, sizeof(max));
    if (value < 0)
        snprintf(is, sizeof(is), "a negative value");
    else
        key_format(k, value, is, sizeof(is));
    return error_set(ret_why, -ERANGE, "%s is out of range, %s to %s", is, min, max);
}

static int key_parse_choice(
        const struct key *k, const char *text, int64_t *ret, struct error *ret_why)
{
    char words[128] = "";

    for (const struct key_choice *c = k->choices; c->name; c++) {
        size_t n = strlen(words);

        if (strcmp(c->name, text) == 0) {
            *ret = c->value;
            return 0;
        }
        snprintf(words + n, sizeof(words) - n, "%s\"%s\"",
                n == 0      ? ""
                : c[1].name ? ", "
                            : " or ",
                c->name);
    }
    return error_set(ret_why, -EINVAL, "\"%s\" is not one of %s", text, words);
}

int key_parse(const struct key *k, const char *text, int64_t *ret, struct error *ret_why)
{
    int64_t value = 0;
    int rc = 0;

    if (k->type == KEY_CHOICE)
        return key_parse_choice(k, text, ret, ret_why);
    if (k->type == KEY_DURATION)
        rc = units_parse_duration(text, &value);
    else if (k->type == KEY_BYTES)
        rc = units_parse_bytes(text, &value);
    else
        value = strtoll(text, NULL, 10);
    if (rc == -ERANGE)
        return error_set(ret_why, rc, "\"%s\" is too much", text);
    if (rc < 0 && k->type == KEY_DURATION)
        return error_set(ret_why, rc,
                "\"%s\" is no duration (write \"250ms\", \"10s\", \"5min\", \"2h\", \"7d\" or a "
                "number of seconds)",
                text);
    if (rc < 0)
        return error_set(ret_why, rc,
                "\"%s\" is no size (write \"64KiB\", \"8MiB\", \"1GiB\" or a number of bytes)",
                text);
    rc = key_check_range(k, value, ret_why);
    if (rc == 0)
        *ret = value;
    return rc;
}
