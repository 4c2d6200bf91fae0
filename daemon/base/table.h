/*
 * Intrusive hash table: the nodes are members of what they find, the table owns only its buckets.
 * A lookup walks the nodes of one hash: table_first(), then table_next() until the caller's own
 * comparison holds.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"

struct table_node {
    struct table_node *next;
    uint64_t hash;
};

struct table {
    struct table_node **buckets;
    size_t n_buckets; /* a power of two, or 0 */
    size_t n;
};

/* Frees the buckets; the nodes are the caller's. */
void table_done(struct table *t);
/* -ENOMEM: nothing was added. */
int table_add(struct table *t, struct table_node *node, uint64_t hash);
void table_remove(struct table *t, struct table_node *node);
struct table_node *table_first(const struct table *t, uint64_t hash);
struct table_node *table_next(const struct table_node *node);

/* Well mixed hashes for the two kinds of keys that are used. */
uint64_t table_hash_int(uint64_t key);
uint64_t table_hash_bytes(const void *bytes, size_t n);

#define table_entry(node, type, member) CONTAINER_OF(node, type, member)
