/*
 * What handles lead to. A task's slot outlives it until nobody is owed its result any more; a slot
 * that is free has a generation that no handle has.
 */
#include <errno.h>
#include <stdlib.h>

#include "daemon/co/runtime.h"

#define SLOTS_MIN 64
#define SLOT_NONE UINT32_MAX

static int slots_grow(struct co_loop *l)
{
    uint32_t n = l->n_slots ? l->n_slots * 2 : SLOTS_MIN;
    struct co_slot *slots = reallocarray(l->slots, n, sizeof(*slots));

    if (!slots)
        return -ENOMEM;
    for (uint32_t i = n; i-- > l->n_slots;) {
        slots[i] = (struct co_slot){ .gen = 1, .next_free = l->free_slot };
        l->free_slot = i;
    }
    l->slots = slots;
    l->n_slots = n;
    return 0;
}

int co_slot_new(struct co_loop *l, enum slot_kind kind, uint32_t *ret_slot)
{
    struct co_slot *slot;

    if (l->free_slot == SLOT_NONE && slots_grow(l) < 0)
        return -ENOMEM;
    *ret_slot = l->free_slot;
    slot = &l->slots[l->free_slot];
    l->free_slot = slot->next_free;
    slot->kind = (uint8_t)kind;
    slot->owed = 0;
    slot->telling = false;
    return 0;
}

void co_slot_free(struct co_loop *l, uint32_t i)
{
    struct co_slot *slot = &l->slots[i];

    slot->fiber = NULL;
    slot->kind = SLOT_FREE;
    if (++slot->gen == UINT32_MAX)
        return; /* or its first handles would be good again */
    slot->next_free = l->free_slot;
    l->free_slot = i;
}

void co_slot_misused(const struct co_loop *l)
{
    if (l->debug)
        co_debug_misuse("a future's handle was given for a task's", -EINVAL);
}
