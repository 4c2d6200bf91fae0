#include "config/apply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/address.h"
#include "daemon/base/cleanup.h"

#define LANE_CONCURRENCY_MAX 10000

/* One file while it is taken over. */
struct reader {
    struct apply *apply;
    const struct source *source;
    int rc; /* -ENOMEM */
};

#define reader_complain(r, setting, ...)                                                     \
    mistake_at((r)->apply->mistakes, (r)->source->path, config_setting_source_line(setting), \
            __VA_ARGS__)

static struct setting_origin reader_origin(const struct reader *r, const config_setting_t *s)
{
    return (struct setting_origin){ r->source->path, config_setting_source_line(s), NULL };
}

static bool setting_is_list(const config_setting_t *s)
{
    return config_setting_is_array(s) || config_setting_is_list(s);
}

static const char *setting_text(const config_setting_t *s)
{
    return config_setting_type(s) == CONFIG_TYPE_STRING ? config_setting_get_string(s) : NULL;
}

static bool setting_is_integer(const config_setting_t *s)
{
    return config_setting_type(s) == CONFIG_TYPE_INT || config_setting_type(s) == CONFIG_TYPE_INT64;
}

static int64_t setting_integer(const config_setting_t *s)
{
    return config_setting_type(s) == CONFIG_TYPE_INT ? config_setting_get_int(s)
                                                     : config_setting_get_int64(s);
}

static int reader_seconds(const struct key *k, double seconds, int64_t *ret, struct error *ret_why)
{
    if (!(seconds >= 0))
        return error_set(ret_why, -ERANGE, "a duration is not negative");
    if (seconds > (double)k->max / 1e6)
        seconds = (double)k->max / 1e6 + 1; /* out of range in any case, and says so below */
    *ret = (int64_t)(seconds * 1e6 + 0.5);
    return key_check_range(k, *ret, ret_why);
}

static int reader_number(
        const struct key *k, const config_setting_t *s, int64_t *ret, struct error *ret_why)
{
    bool integer = setting_is_integer(s);
    const char *text = setting_text(s);

    if (k->type == KEY_DURATION && (integer || config_setting_type(s) == CONFIG_TYPE_FLOAT))
        return reader_seconds(k, integer ? (double)setting_integer(s) : config_setting_get_float(s),
                ret, ret_why);
    if (k->type != KEY_CHOICE && integer) {
        *ret = setting_integer(s);
        return key_check_range(k, *ret, ret_why);
    }
    if (k->type != KEY_COUNT && text)
        return key_parse(k, text, ret, ret_why);
    return error_set(ret_why, -EINVAL, "%s",
            k->type == KEY_COUNT      ? "wants a whole number"
            : k->type == KEY_BYTES    ? "wants a size: \"8MiB\" or a number of bytes"
            : k->type == KEY_DURATION ? "wants a duration: \"10s\" or a number of seconds"
                                      : "wants a text in quotes");
}

static int block_own(struct reader *r, void *block)
{
    r->rc = block ? memory_own(r->apply->memory, block) : -ENOMEM;
    return r->rc;
}

/* A list replaces the one before as a whole; false: an element is wrong. */
static bool reader_take_texts(struct reader *r, const struct key *k, const config_setting_t *s)
{
    int n = config_setting_length(s);
    const char **texts = calloc((size_t)n + 1, sizeof(*texts));
    bool good = true;
    struct error why;

    if (block_own(r, texts) < 0)
        return false;
    for (int i = 0; i < n; i++) {
        const config_setting_t *element = config_setting_get_elem(s, (unsigned)i);

        texts[i] = setting_text(element);
        if (!texts[i])
            reader_complain(r, element, "%s.%s: wants texts in quotes", k->group, k->name);
        else if (k->check && k->check(texts[i], &why) < 0)
            reader_complain(r, element, "%s.%s: %s", k->group, k->name, why.text);
        else
            continue;
        good = false;
    }
    if (good && n == 0 && k->required) {
        reader_complain(r, s, "%s.%s: wants at least one", k->group, k->name);
        good = false;
    }
    if (good)
        key_set_texts(k, r->apply->config, texts);
    return good;
}

static bool reader_take_text(struct reader *r, const struct key *k, const config_setting_t *s)
{
    const char *text = setting_text(s);
    struct error why;

    if (!text)
        reader_complain(r, s, "%s.%s: wants a text in quotes", k->group, k->name);
    else if (k->check && k->check(text, &why) < 0)
        reader_complain(r, s, "%s.%s: %s", k->group, k->name, why.text);
    else {
        key_set_text(k, r->apply->config, text);
        return true;
    }
    return false;
}

static void reader_take_key(struct reader *r, const struct key *k, const config_setting_t *s)
{
    struct error why;
    int64_t number;
    bool good;

    if (k->type == KEY_TEXTS && !setting_is_list(s)) {
        reader_complain(r, s, "%s.%s: wants a list: [\"…\", \"…\"]", k->group, k->name);
        return;
    }
    if (k->type == KEY_TEXTS) {
        good = reader_take_texts(r, k, s);
    } else if (k->type == KEY_TEXT) {
        good = reader_take_text(r, k, s);
    } else {
        good = reader_number(k, s, &number, &why) == 0;
        if (good)
            key_set_number(k, r->apply->config, number);
        else
            reader_complain(r, s, "%s.%s: %s", k->group, k->name, why.text);
    }
    if (good)
        r->apply->memory->keys[k - keys] = reader_origin(r, s);
}

static void reader_refuse_key(struct reader *r, const char *group, const config_setting_t *s)
{
    const char *name = source_name(s), *near = key_nearest_name(group, name);
    const struct key *elsewhere = key_find_name(name);

    if (near)
        reader_complain(r, s, "unknown key %s.%s; did you mean %s.%s?", group, name, group, near);
    else if (elsewhere)
        reader_complain(r, s, "unknown key %s.%s; did you mean %s.%s?", group, name,
                elsewhere->group, elsewhere->name);
    else
        reader_complain(r, s, "unknown key %s.%s", group, name);
}

static void reader_take_group(struct reader *r, const config_setting_t *group)
{
    const char *name = source_name(group);

    for (int i = 0; i < config_setting_length(group) && r->rc == 0; i++) {
        const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
        const struct key *k = key_find(name, source_name(s));

        if (config_setting_type(s) == CONFIG_TYPE_NONE)
            continue; /* where a syntax error cut it */
        if (k)
            reader_take_key(r, k, s);
        else
            reader_refuse_key(r, name, s);
    }
}

static size_t memory_find_lane(const struct config_memory *m, const char *origin)
{
    size_t i = 0;

    while (i < m->n_lanes && strcmp(m->lanes[i].origin, origin) != 0)
        i++;
    return i;
}

/* In one file each origin stands once; over an earlier file's the later one wins. */
static bool reader_is_second(
        struct reader *r, const config_setting_t *s, const char *text, struct setting_origin before)
{
    if (before.file != r->source->path)
        return false;
    reader_complain(r, s, "lanes: \"%s\" stands twice, first on line %u", text, before.line);
    return true;
}

static void reader_add_lane(struct reader *r, size_t at, const char *origin)
{
    struct config_memory *m = r->apply->memory;
    struct setting_origin *origins;
    struct lane_options *lanes;
    char *text = strdup(origin);

    if (block_own(r, text) < 0)
        return;
    lanes = reallocarray(m->lanes, at + 1, sizeof(*lanes));
    if (lanes)
        m->lanes = lanes;
    origins = reallocarray(m->lane_origins, at + 1, sizeof(*origins));
    if (origins)
        m->lane_origins = origins;
    if (!lanes || !origins) {
        r->rc = -ENOMEM;
        return;
    }
    m->lanes[at] = (struct lane_options){ .origin = text };
    m->lane_origins[at] = (struct setting_origin){ 0 };
    m->n_lanes++;
}

static void reader_take_lane(
        struct reader *r, const config_setting_t *s, const char *text, unsigned concurrency)
{
    struct config_memory *m = r->apply->memory;
    char origin[ADDRESS_ORIGIN_SIZE];
    struct error why;
    size_t at;

    if (strcmp(text, "default") == 0) {
        if (reader_is_second(r, s, text, m->default_lane))
            return;
        r->apply->config->service.lane_concurrency = concurrency;
        m->default_lane = reader_origin(r, s);
        return;
    }
    if (address_parse_origin(text, origin, &why) < 0) {
        reader_complain(r, s, "lanes: %s", why.text);
        return;
    }
    at = memory_find_lane(m, origin);
    if (at < m->n_lanes && reader_is_second(r, s, text, m->lane_origins[at]))
        return;
    if (at == SERVICE_LANES_MAX) {
        reader_complain(r, s, "lanes: more than %d", SERVICE_LANES_MAX);
        return;
    }
    if (at == m->n_lanes)
        reader_add_lane(r, at, origin);
    if (r->rc < 0)
        return;
    m->lanes[at].concurrency = concurrency;
    m->lane_origins[at] = reader_origin(r, s);
}

/* 0: there is none, or it is wrong and that has been said. */
static unsigned reader_concurrency(struct reader *r, const config_setting_t *s)
{
    if (!setting_is_integer(s))
        reader_complain(r, s, "lanes: concurrency wants a whole number");
    else if (setting_integer(s) < 1 || setting_integer(s) > LANE_CONCURRENCY_MAX)
        reader_complain(r, s, "lanes: concurrency %lld is out of range, 1 to %d",
                (long long)setting_integer(s), LANE_CONCURRENCY_MAX);
    else
        return (unsigned)setting_integer(s);
    return 0;
}

static void reader_read_lane(struct reader *r, const config_setting_t *lane)
{
    const char *origin = NULL;
    unsigned concurrency = 0;
    bool has_origin = false, has_concurrency = false, cut = r->source->broken;

    if (!config_setting_is_group(lane)) {
        reader_complain(r, lane, "lanes: wants { origin = \"…\"  concurrency = … }");
        return;
    }
    for (int i = 0; i < config_setting_length(lane); i++) {
        const config_setting_t *s = config_setting_get_elem(lane, (unsigned)i);
        const char *name = source_name(s);

        if (config_setting_type(s) == CONFIG_TYPE_NONE)
            continue;
        if (strcmp(name, "origin") == 0) {
            has_origin = true;
            origin = setting_text(s);
            if (!origin)
                reader_complain(r, s, "lanes: origin wants a text in quotes");
        } else if (strcmp(name, "concurrency") == 0) {
            has_concurrency = true;
            concurrency = reader_concurrency(r, s);
        } else {
            reader_complain(r, s, "lanes: unknown key %s; a lane has origin and concurrency", name);
            cut = true; /* it may be a misspelt one of the two */
        }
    }
    if (!cut && !has_origin)
        reader_complain(r, lane, "lanes: an entry without origin");
    if (!cut && !has_concurrency)
        reader_complain(r, lane, "lanes: an entry without concurrency");
    if (origin)
        reader_take_lane(r, lane, origin, concurrency);
}

static void reader_take_lanes(struct reader *r, const config_setting_t *lanes)
{
    if (!setting_is_list(lanes)) {
        reader_complain(r, lanes, "lanes: wants a list: ( { … }, { … } )");
        return;
    }
    for (int i = 0; i < config_setting_length(lanes) && r->rc == 0; i++)
        reader_read_lane(r, config_setting_get_elem(lanes, (unsigned)i));
}

static void reader_refuse_group(struct reader *r, const config_setting_t *s)
{
    const char *name = source_name(s), *near = key_nearest_group(name);
    const struct key *inside = key_find_name(name);

    if (near)
        reader_complain(r, s, "unknown group %s; did you mean %s?", name, near);
    else if (inside)
        reader_complain(r, s, "%s stands in no group; did you mean %s = { %s = … }?", name,
                inside->group, name);
    else
        reader_complain(r, s, "unknown group %s", name);
}

int apply_source(struct apply *a, const struct source *s)
{
    struct reader r = { .apply = a, .source = s };
    const config_setting_t *root = config_root_setting(&s->tree);

    for (int i = 0; root && i < config_setting_length(root) && r.rc == 0; i++) {
        const config_setting_t *group = config_setting_get_elem(root, (unsigned)i);
        const char *name = source_name(group);

        if (config_setting_type(group) == CONFIG_TYPE_NONE)
            continue;
        if (strcmp(name, "lanes") == 0)
            reader_take_lanes(&r, group);
        else if (!key_group_exists(name))
            reader_refuse_group(&r, group);
        else if (!config_setting_is_group(group))
            reader_complain(&r, group, "%s wants a group: %s = { … }", name, name);
        else
            reader_take_group(&r, group);
    }
    return r.rc;
}

int apply_texts(struct apply *a, const struct key *k, const char *only)
{
    const char **texts = calloc(2, sizeof(*texts));
    int rc = texts ? memory_own(a->memory, texts) : -ENOMEM;

    if (rc < 0)
        return rc;
    texts[0] = only;
    key_set_texts(k, a->config, texts);
    return 0;
}
