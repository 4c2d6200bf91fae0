#include "daemon/base/table.h"

#include <errno.h>
#include <stdlib.h>

#define TABLE_MIN_BUCKETS 64

void table_done(struct table *t)
{
    free(t->buckets);
    *t = (struct table){ 0 };
}

static struct table_node **table_bucket(const struct table *t, uint64_t hash)
{
    return &t->buckets[hash & (t->n_buckets - 1)];
}

static int table_grow(struct table *t)
{
    struct table bigger = { .n_buckets = t->n_buckets ? t->n_buckets * 2 : TABLE_MIN_BUCKETS,
        .n = t->n };

    bigger.buckets = calloc(bigger.n_buckets, sizeof(struct table_node *));
    if (!bigger.buckets)
        return -ENOMEM;
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct table_node *node = t->buckets[i], *next; node; node = next) {
            struct table_node **bucket = table_bucket(&bigger, node->hash);

            next = node->next;
            node->next = *bucket;
            *bucket = node;
        }
    free(t->buckets);
    *t = bigger;
    return 0;
}

int table_add(struct table *t, struct table_node *node, uint64_t hash)
{
    struct table_node **bucket;

    /* A table that can't grow goes on with longer chains; only the first buckets are a must. */
    if (t->n >= t->n_buckets && table_grow(t) < 0 && t->n_buckets == 0)
        return -ENOMEM;
    bucket = table_bucket(t, hash);
    node->hash = hash;
    node->next = *bucket;
    *bucket = node;
    t->n++;
    return 0;
}

void table_remove(struct table *t, struct table_node *node)
{
    for (struct table_node **p = table_bucket(t, node->hash); *p; p = &(*p)->next)
        if (*p == node) {
            *p = node->next;
            node->next = NULL;
            t->n--;
            return;
        }
}

static struct table_node *table_match(struct table_node *node, uint64_t hash)
{
    while (node && node->hash != hash)
        node = node->next;
    return node;
}

struct table_node *table_first(const struct table *t, uint64_t hash)
{
    return t->n_buckets ? table_match(*table_bucket(t, hash), hash) : NULL;
}

struct table_node *table_next(const struct table_node *node)
{
    return table_match(node->next, node->hash);
}

/* The finalizer of MurmurHash3 (public domain, Austin Appleby). */
uint64_t table_hash_int(uint64_t key)
{
    key ^= key >> 33;
    key *= 0xff51afd7ed558ccdULL;
    key ^= key >> 33;
    key *= 0xc4ceb9fe1a85ec53ULL;
    return key ^ key >> 33;
}

/* FNV-1a, 64 bits, then mixed, because the low bits choose the bucket. */
uint64_t table_hash_bytes(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint64_t hash = 0xcbf29ce484222325ULL;

    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * 0x100000001b3ULL;
    return table_hash_int(hash);
}
