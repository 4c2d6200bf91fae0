#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/apply.h"
#include "config/config.h"
#include "config/keys.h"
#include "config/memory.h"
#include "config/mistake.h"
#include "daemon/base/buf.h"
#include "daemon/base/cleanup.h"

/* Fixed ones (DESIGN section 8). */
#define FETCH_REDIRECTS    5
#define DELIVERY_REDIRECTS 0

#define LANE_CONCURRENCY 32 /* of an origin that nothing names */

int memory_own(struct config_memory *m, void *block)
{
    void **blocks = reallocarray(m->blocks, m->n_blocks + 1, sizeof(*blocks));

    if (!blocks) {
        free(block);
        return -ENOMEM;
    }
    m->blocks = blocks;
    m->blocks[m->n_blocks++] = block;
    return 0;
}

static struct config_memory *memory_free(struct config_memory *m)
{
    if (!m)
        return NULL;
    for (size_t i = 0; i < m->n_sources; i++) {
        source_done(m->sources[i]);
        free(m->sources[i]);
    }
    for (size_t i = 0; i < m->n_blocks; i++)
        free(m->blocks[i]);
    free(m->sources);
    free(m->blocks);
    free(m->keys);
    free(m->lanes);
    free(m->lane_origins);
    free(m);
    return NULL;
}

/* systemd gives a list where StateDirectory= has several; ours is the first. */
static int load_state_directory(struct apply *a)
{
    const struct key *k = key_find("store", "directory");
    const char *text = getenv("STATE_DIRECTORY");
    char *first;
    int rc;

    if (!text || text[0] != '/')
        return 0;
    first = strndup(text, strcspn(text, ":"));
    rc = first ? memory_own(a->memory, first) : -ENOMEM;
    if (rc < 0)
        return rc;
    key_set_text(k, a->config, first);
    a->memory->keys[k - keys].variable = "STATE_DIRECTORY";
    return 0;
}

static int load_defaults(struct apply *a)
{
    int rc = 0;

    a->config->transfer.body_directory_fd = -1;
    a->config->service.lane_concurrency = LANE_CONCURRENCY;
    a->config->service.defaults.fetch_redirects = FETCH_REDIRECTS;
    a->config->service.defaults.delivery_redirects = DELIVERY_REDIRECTS;
    for (size_t i = 0; i < keys_n && rc == 0; i++) {
        const struct key *k = &keys[i];
        int64_t number;

        if (k->type == KEY_TEXTS) {
            rc = apply_texts(a, k, k->fallback);
        } else if (k->type == KEY_TEXT) {
            key_set_text(k, a->config, k->fallback);
        } else {
            rc = key_parse(k, k->fallback, &number, NULL);
            if (rc == 0)
                key_set_number(k, a->config, number);
        }
    }
    return rc < 0 ? rc : load_state_directory(a);
}

static int load_file(struct apply *a, const char *path)
{
    struct config_memory *m = a->memory;
    struct source **sources = reallocarray(m->sources, m->n_sources + 1, sizeof(*sources));
    struct source *s;
    int rc;

    if (!sources)
        return -ENOMEM;
    m->sources = sources;
    s = malloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    rc = source_read(path, a->mistakes, s);
    if (rc < 0) {
        free(s);
        return rc;
    }
    m->sources[m->n_sources++] = s;
    return apply_source(a, s);
}

static int load_is_drop_in(const struct dirent *e)
{
    size_t n = strlen(e->d_name);

    return e->d_name[0] != '.' && n > 5 && strcmp(e->d_name + n - 5, ".conf") == 0;
}

static int load_by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int load_drop_ins(struct apply *a, const char *path)
{
    CLEANUP(cleanup_free) char *directory = NULL;
    struct dirent **entries;
    int n, rc = 0;

    if (asprintf(&directory, "%s.d", path) < 0)
        return -ENOMEM;
    n = scandir(directory, &entries, load_is_drop_in, load_by_name);
    if (n < 0 && errno != ENOENT) {
        if (errno == ENOMEM)
            return -ENOMEM;
        mistake_at(a->mistakes, directory, 0, "cannot be read: %s", strerror(errno));
    }
    for (int i = 0; i < n; i++) {
        CLEANUP(cleanup_free) char *file = NULL;

        if (rc == 0)
            rc = asprintf(&file, "%s/%s", directory, entries[i]->d_name) < 0 ? -ENOMEM : 0;
        if (rc == 0)
            rc = load_file(a, file);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return rc;
}

/* What one key alone cannot say. The later of the two is at fault. */
static void load_check_together(struct apply *a)
{
    const struct job_defaults *d = &a->config->service.defaults;
    const struct setting_origin *base = &a->memory->keys[key_find("retry", "backoff") - keys];
    const struct setting_origin *cap = &a->memory->keys[key_find("retry", "max_backoff") - keys];

    if (d->backoff_us <= d->max_backoff_us)
        return;
    if (!cap->file || (base->file == cap->file && base->line > cap->line))
        cap = base;
    mistake_at(a->mistakes, cap->file, cap->line, "retry.backoff is more than retry.max_backoff");
}

static int load_all(struct apply *a, const char *path)
{
    int rc = load_defaults(a);

    if (rc == 0 && (path || access(CONFIG_DEFAULT_PATH, F_OK) == 0))
        rc = load_file(a, path ? path : CONFIG_DEFAULT_PATH);
    if (rc == 0)
        rc = load_drop_ins(a, path ? path : CONFIG_DEFAULT_PATH);
    if (rc < 0)
        return rc;
    if (a->mistakes->n == 0)
        load_check_together(a);
    a->config->service.lanes = a->memory->lanes;
    a->config->service.n_lanes = a->memory->n_lanes;
    a->config->service.defaults.max_body_bytes = a->config->service.max_body_bytes;
    return 0;
}

int config_load(const char *path, FILE *errors, struct config *ret)
{
    struct mistakes mistakes = { .out = errors };
    struct config c = { .memory = calloc(1, sizeof(*c.memory)) };
    struct apply a = { .config = &c, .memory = c.memory, .mistakes = &mistakes };
    int rc = -ENOMEM;

    if (c.memory) {
        c.memory->keys = calloc(keys_n, sizeof(*c.memory->keys));
        rc = c.memory->keys ? load_all(&a, path) : -ENOMEM;
    }
    if (rc == 0)
        rc = mistakes.n;
    if (rc == 0)
        *ret = c;
    else
        config_done(&c);
    return rc;
}

void config_done(struct config *c)
{
    memory_free(c->memory);
    *c = (struct config){ 0 };
}
