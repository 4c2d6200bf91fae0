#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/keys.h"
#include "config/memory.h"
#include "daemon/base/buf.h"
#include "daemon/base/units.h"

#define DUMP_COLUMN 48 /* where the origins begin */

static void dump_quote(struct buf *line, const char *text)
{
    buf_append_str(line, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buf_printf(line, "\\%c", *text);
        else if ((unsigned char)*text < 0x20 || *text == 0x7f)
            buf_printf(line, "\\x%02X", (unsigned char)*text);
        else
            buf_append(line, text, 1);
    }
    buf_append_str(line, "\"");
}

/* An incomplete line for want of memory is printed as it is: nobody but a person reads it. */
static void dump_line(FILE *out, struct buf *line, const struct setting_origin *origin)
{
    fprintf(out, "%-*.*s # ", DUMP_COLUMN, (int)line->n, line->data ? line->data : "");
    if (origin->file)
        fprintf(out, "%s:%u\n", origin->file, origin->line);
    else if (origin->variable)
        fprintf(out, "$%s\n", origin->variable);
    else
        fprintf(out, "default\n");
    buf_done(line);
}

static void dump_texts(struct buf *line, const char *const *texts)
{
    buf_append_str(line, "[");
    for (size_t i = 0; texts && texts[i]; i++) {
        buf_append_str(line, i ? ", " : "");
        dump_quote(line, texts[i]);
    }
    buf_append_str(line, "]");
}

static void dump_key(const struct config *c, const struct key *k, FILE *out)
{
    struct buf line = { 0 };
    char text[UNITS_TEXT_SIZE];

    buf_printf(&line, "    %s = ", k->name);
    if (k->type == KEY_TEXTS) {
        dump_texts(&line, key_texts(k, c));
    } else if (k->type == KEY_TEXT) {
        dump_quote(&line, key_text(k, c));
    } else {
        key_format(k, key_number(k, c), text, sizeof(text));
        buf_printf(&line, k->type == KEY_COUNT ? "%s" : "\"%s\"", text);
    }
    dump_line(out, &line, &c->memory->keys[k - keys]);
}

static void dump_lane(const char *origin, unsigned concurrency, bool last,
        const struct setting_origin *where, FILE *out)
{
    struct buf line = { 0 };

    buf_append_str(&line, "    { origin = ");
    dump_quote(&line, origin);
    buf_printf(&line, "  concurrency = %u }%s", concurrency, last ? "" : ",");
    dump_line(out, &line, where);
}

static void dump_lanes(const struct config *c, FILE *out)
{
    const struct config_memory *m = c->memory;

    fputs("lanes = (\n", out);
    dump_lane("default", c->service.lane_concurrency, m->n_lanes == 0, &m->default_lane, out);
    for (size_t i = 0; i < m->n_lanes; i++)
        dump_lane(m->lanes[i].origin, m->lanes[i].concurrency, i + 1 == m->n_lanes,
                &m->lane_origins[i], out);
    fputs(")\n", out);
}

void config_dump(const struct config *c, FILE *out)
{
    for (size_t i = 0; i < keys_n; i++) {
        if (i == 0 || strcmp(keys[i].group, keys[i - 1].group) != 0)
            fprintf(out, "%s = {\n", keys[i].group);
        dump_key(c, &keys[i], out);
        if (i + 1 == keys_n || strcmp(keys[i].group, keys[i + 1].group) != 0)
            fputs("}\n", out);
    }
    dump_lanes(c, out);
}

static bool texts_equal(const char *const *a, const char *const *b)
{
    while (*a && *b && strcmp(*a, *b) == 0) {
        a++;
        b++;
    }
    return !*a && !*b;
}

static bool key_equal(const struct key *k, const struct config *a, const struct config *b)
{
    if (k->type == KEY_TEXTS)
        return texts_equal(key_texts(k, a), key_texts(k, b));
    if (k->type == KEY_TEXT)
        return strcmp(key_text(k, a), key_text(k, b)) == 0;
    return key_number(k, a) == key_number(k, b);
}

int config_needs_restart(const struct config *old, const struct config *fresh,
        void (*report)(const char *key, void *arg), void *arg)
{
    char name[80];
    int n = 0;

    for (size_t i = 0; i < keys_n; i++) {
        if (keys[i].live || key_equal(&keys[i], old, fresh))
            continue;
        snprintf(name, sizeof(name), "%s.%s", keys[i].group, keys[i].name);
        report(name, arg);
        n++;
    }
    return n;
}
