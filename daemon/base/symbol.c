/* What was found is kept, because thousands of tasks stand in few places. */
#include "daemon/base/symbol.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/debuginfo.h"
#include "daemon/base/table.h"

#define INLINED_MAX 8

struct place {
    struct table_node node;
    uintptr_t address;
    size_t n;
    char *texts[INLINED_MAX];
};

struct symbols {
    struct debuginfo *debuginfo; /* NULL: there is none */
    struct table places;
    struct place **list; /* all of them */
    size_t n, capacity;
};

int symbols_new(struct symbols **ret)
{
    struct symbols *s = calloc(1, sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->debuginfo = debuginfo_new();
    *ret = s;
    return 0;
}

static void place_free(struct place *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->texts[i]);
    free(p);
}

struct symbols *symbols_free(struct symbols *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->n; i++)
        place_free(s->list[i]);
    free(s->list);
    table_done(&s->places);
    debuginfo_free(s->debuginfo);
    free(s);
    return NULL;
}

/* From the root of the source, when the program was built in a folder of that. */
static const char *path_shorten(const char *path)
{
    const char *up;

    while ((up = strstr(path, "../")))
        path = up + 3;
    return path;
}

/* debuginfo_found. */
static void place_add(void *arg, const char *name, const char *file, int line)
{
    struct place *p = arg;
    char *text;
    int n = file ? asprintf(&text, "%s (%s:%d)", name, path_shorten(file), line)
                 : asprintf(&text, "%s", name);

    if (n >= 0 && p->n < INLINED_MAX)
        p->texts[p->n++] = text;
    else if (n >= 0)
        free(text);
}

static void find_by_module(struct place *p)
{
    const char *name = "?", *slash;
    uintptr_t offset = p->address;
    char text[256];
    Dl_info info;

    if (dladdr((void *)p->address, &info) && info.dli_fname) { // NOLINT(performance-no-int-to-ptr)
        slash = strrchr(info.dli_fname, '/');
        name = slash ? slash + 1 : info.dli_fname;
        offset -= (uintptr_t)info.dli_fbase;
    }
    snprintf(text, sizeof(text), "%s+0x%llx", name, (unsigned long long)offset);
    place_add(p, text, NULL, 0);
}

static struct place *place_new(struct symbols *s, uintptr_t address)
{
    struct place *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->address = address;
    if (s->debuginfo) /* in the call, which is before the address that it returns to */
        debuginfo_find(s->debuginfo, address - 1, place_add, p);
    if (p->n == 0)
        find_by_module(p);
    if (p->n > 0)
        return p;
    free(p);
    return NULL;
}

/* -ENOMEM. */
static int place_keep(struct symbols *s, struct place *p, uint64_t hash)
{
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 64;
        struct place **list = reallocarray(s->list, capacity, sizeof(struct place *));

        if (!list)
            return -ENOMEM;
        s->list = list;
        s->capacity = capacity;
    }
    if (table_add(&s->places, &p->node, hash) < 0)
        return -ENOMEM;
    s->list[s->n++] = p;
    return 0;
}

size_t symbols_find(struct symbols *s, uintptr_t address, char *const **ret)
{
    uint64_t hash = table_hash_int(address);
    struct table_node *node = table_first(&s->places, hash);
    struct place *p;

    while (node && table_entry(node, struct place, node)->address != address)
        node = table_next(node);
    p = node ? table_entry(node, struct place, node) : place_new(s, address);
    if (!node && p && place_keep(s, p, hash) < 0) {
        place_free(p);
        p = NULL;
    }
    *ret = p ? p->texts : NULL;
    return p ? p->n : 0;
}
