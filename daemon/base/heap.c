#include "daemon/base/heap.h"

#include <errno.h>
#include <stdlib.h>

#define HEAP_ARITY 4

void heap_done(struct heap *h)
{
    free(h->slots);
    *h = (struct heap){ 0 };
}

int heap_reserve(struct heap *h, size_t n)
{
    size_t capacity = h->capacity ? h->capacity : 64;
    struct heap_slot *slots;

    if (n < h->capacity)
        return 0;
    while (capacity <= n)
        capacity *= 2;
    slots = reallocarray(h->slots, capacity, sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    h->slots = slots;
    h->capacity = capacity;
    return 0;
}

static void heap_put(struct heap *h, size_t i, struct heap_slot slot)
{
    h->slots[i] = slot;
    slot.item->index = i;
}

static void heap_up(struct heap *h, size_t i, struct heap_slot slot)
{
    while (i > 0) {
        size_t parent = (i - 1) / HEAP_ARITY;

        if (h->slots[parent].key <= slot.key)
            break;
        heap_put(h, i, h->slots[parent]);
        i = parent;
    }
    heap_put(h, i, slot);
}

static void heap_down(struct heap *h, size_t i, struct heap_slot slot)
{
    for (;;) {
        size_t child = i * HEAP_ARITY + 1, end = child + HEAP_ARITY, least = child;

        if (child >= h->n)
            break;
        if (end > h->n)
            end = h->n;
        while (++child < end)
            if (h->slots[child].key < h->slots[least].key)
                least = child;
        if (h->slots[least].key >= slot.key)
            break;
        heap_put(h, i, h->slots[least]);
        i = least;
    }
    heap_put(h, i, slot);
}

int heap_add(struct heap *h, struct heap_item *item, int64_t key)
{
    int rc;

    heap_remove(h, item);
    rc = heap_reserve(h, h->n + 1);
    if (rc < 0)
        return rc;
    heap_up(h, h->n++, (struct heap_slot){ key, item });
    return 0;
}

void heap_remove(struct heap *h, struct heap_item *item)
{
    size_t i = item->index;
    struct heap_slot last;

    if (i == HEAP_NONE)
        return;
    item->index = HEAP_NONE;
    last = h->slots[--h->n];
    if (i == h->n)
        return;
    if (i > 0 && last.key < h->slots[(i - 1) / HEAP_ARITY].key)
        heap_up(h, i, last);
    else
        heap_down(h, i, last);
}

struct heap_item *heap_first(const struct heap *h, int64_t *ret_key)
{
    if (h->n == 0)
        return NULL;
    if (ret_key)
        *ret_key = h->slots[0].key;
    return h->slots[0].item;
}
