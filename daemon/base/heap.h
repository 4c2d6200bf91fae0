/*
 * Min-heap of (key, item) with four children a node: keys sit beside each other in one array, so
 * a sift touches one cache line per level. An item knows its place and can be removed anywhere.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HEAP_NONE SIZE_MAX

struct heap_item {
    size_t index; /* place in the array; HEAP_NONE while in no heap */
};

struct heap_slot {
    int64_t key;
    struct heap_item *item;
};

struct heap {
    struct heap_slot *slots;
    size_t n, capacity;
};

static inline void heap_item_init(struct heap_item *item)
{
    item->index = HEAP_NONE;
}

/* Frees the array; the items are the caller's. */
void heap_done(struct heap *h);
/* Makes room for one more than `n` items, so that the next heap_add() of each can't fail. -ENOMEM. */
int heap_reserve(struct heap *h, size_t n);
/* Adds the item, or moves it when it is in the heap already. -ENOMEM. */
int heap_add(struct heap *h, struct heap_item *item, int64_t key);
/* Idempotent. */
void heap_remove(struct heap *h, struct heap_item *item);
/* The item with the smallest key, still in the heap, or NULL; its key in *ret_key (may be NULL). */
struct heap_item *heap_first(const struct heap *h, int64_t *ret_key);
