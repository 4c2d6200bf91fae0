/*
 * A lane exists while something queues in it or holds a permit. It is in `turns` exactly while it
 * has both somebody waiting for a slot and a free permit; each admission moves it to the end.
 */
#include "daemon/engine/lane.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/engine/service.h"

#define PLACE_BITS 48 /* of a queue key; the priority is above them */

struct lane {
    struct table_node node;
    struct list turn;
    struct list hops;     /* entries that have a slot */
    struct heap queue;    /* entries that need one */
    unsigned limit, used; /* permits */
    int64_t key;          /* lane_key() */
    char origin[];
};

static struct lane *lane_new(const char *origin, unsigned limit)
{
    size_t size = strlen(origin) + 1;
    struct lane *lane = calloc(1, sizeof(*lane) + size);

    if (!lane)
        return NULL;
    list_init(&lane->turn);
    list_init(&lane->hops);
    lane->limit = limit;
    lane->key = lane_key(origin);
    memcpy(lane->origin, origin, size);
    return lane;
}

static void lane_free(struct lane *lane)
{
    assert(lane->used == 0 && lane->queue.n == 0 && list_empty(&lane->hops));
    list_remove(&lane->turn);
    heap_done(&lane->queue);
    free(lane);
}

static int lane_compare_options(const void *a, const void *b)
{
    const struct lane_options *x = a, *y = b;

    return strcmp(x->origin, y->origin);
}

static void lane_options_free(const struct lane_options *options, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((char *)options[i].origin);
    free((struct lane_options *)options);
}

static int lane_options_copy(
        const struct lane_options *from, size_t n, const struct lane_options **ret)
{
    struct lane_options *to = calloc(n ? n : 1, sizeof(*to));

    if (!to)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        to[i] = from[i];
        to[i].origin = strdup(from[i].origin);
        if (!to[i].origin) {
            lane_options_free(to, i);
            return -ENOMEM;
        }
    }
    qsort(to, n, sizeof(*to), lane_compare_options);
    *ret = to;
    return 0;
}

static unsigned lane_limit(const struct lanes *l, const char *origin)
{
    struct lane_options key = { .origin = origin };
    const struct lane_options *found =
            bsearch(&key, l->options, l->n_options, sizeof(key), lane_compare_options);

    return found ? found->concurrency : l->concurrency;
}

int lanes_init(struct lanes *l, unsigned slots, unsigned concurrency,
        const struct lane_options *options, size_t n_options)
{
    *l = (struct lanes){ .free_slots = slots };
    list_init(&l->turns);
    return lanes_set_limits(l, concurrency, options, n_options);
}

void lanes_done(struct lanes *l)
{
    assert(l->by_origin.n == 0);
    table_done(&l->by_origin);
    lane_options_free(l->options, l->n_options);
    l->options = NULL;
    l->n_options = 0;
}

static void lane_take_turn(struct lanes *l, struct lane *lane)
{
    if (lane->queue.n > 0 && lane->used < lane->limit) {
        if (list_empty(&lane->turn))
            list_append(&l->turns, &lane->turn);
    } else {
        list_remove(&lane->turn);
    }
}

static void lane_admit_hops(struct lane *lane)
{
    struct lane_entry *e;

    while (lane->used < lane->limit && !list_empty(&lane->hops)) {
        e = list_entry(list_pop(&lane->hops), struct lane_entry, hop);
        lane->used++;
        e->admit(e);
    }
}

static void lanes_pump(struct lanes *l)
{
    struct heap_item *first;
    struct lane_entry *e;
    struct lane *lane;
    int64_t key;
    bool low;

    while (l->open && l->free_slots > 0 && !list_empty(&l->turns)) {
        lane = list_entry(list_pop(&l->turns), struct lane, turn);
        first = heap_first(&lane->queue, NULL);
        heap_remove(&lane->queue, first);
        l->free_slots--;
        lane->used++;
        lane_take_turn(l, lane);
        e = CONTAINER_OF(first, struct lane_entry, place);
        key = lane->key;
        low = lane->queue.n < l->low_mark;
        e->admit(e);
        if (low)
            l->low(l, key);
    }
}

int lanes_set_limits(
        struct lanes *l, unsigned concurrency, const struct lane_options *options, size_t n_options)
{
    const struct lane_options *copy;
    int rc = lane_options_copy(options, n_options, &copy);

    if (rc < 0)
        return rc;
    lane_options_free(l->options, l->n_options);
    l->options = copy;
    l->n_options = n_options;
    l->concurrency = concurrency;
    for (size_t i = 0; i < l->by_origin.n_buckets; i++)
        for (struct table_node *n = l->by_origin.buckets[i]; n; n = n->next) {
            struct lane *lane = table_entry(n, struct lane, node);

            lane->limit = lane_limit(l, lane->origin);
            lane_admit_hops(lane);
            lane_take_turn(l, lane);
        }
    lanes_pump(l);
    return 0;
}

void lanes_set_low(struct lanes *l, unsigned low_mark, void (*low)(struct lanes *l, int64_t key))
{
    l->low_mark = low_mark;
    l->low = low;
}

int64_t lane_key_of(const struct table_node *node)
{
    return table_entry(node, const struct lane, node)->key;
}

size_t lanes_queued(const struct lanes *l, int64_t key)
{
    struct table_node *n = table_first(&l->by_origin, table_hash_int((uint64_t)key));
    size_t queued = 0;

    for (; n; n = table_next(n))
        if (table_entry(n, struct lane, node)->key == key)
            queued += table_entry(n, struct lane, node)->queue.n;
    return queued;
}

bool lanes_is_idle(const struct lanes *l, int64_t key)
{
    struct table_node *n = table_first(&l->by_origin, table_hash_int((uint64_t)key));

    /* A lane exists while it is not. */
    for (; n; n = table_next(n))
        if (table_entry(n, struct lane, node)->key == key)
            return false;
    return true;
}

bool lanes_want_more(const struct lanes *l, int64_t key)
{
    struct table_node *n = table_first(&l->by_origin, table_hash_int((uint64_t)key));
    const struct lane *lane;

    for (; n; n = table_next(n)) {
        lane = table_entry(n, struct lane, node);
        if (lane->key == key && (lane->queue.n > 0 || lane->used >= lane->limit))
            return false;
    }
    return true;
}

void lanes_open(struct lanes *l)
{
    l->open = true;
    lanes_pump(l);
}

void lanes_close(struct lanes *l)
{
    l->open = false;
}

void lane_entry_init(struct lane_entry *e, void (*admit)(struct lane_entry *e))
{
    *e = (struct lane_entry){ .admit = admit };
    heap_item_init(&e->place);
    list_init(&e->hop);
}

static int lane_find(struct lanes *l, const char *origin, struct lane **ret)
{
    uint64_t hash = table_hash_int((uint64_t)lane_key(origin));
    struct lane *lane;
    int rc;

    for (struct table_node *n = table_first(&l->by_origin, hash); n; n = table_next(n)) {
        lane = table_entry(n, struct lane, node);
        if (strcmp(lane->origin, origin) == 0) {
            *ret = lane;
            return 0;
        }
    }
    lane = lane_new(origin, lane_limit(l, origin));
    if (!lane)
        return -ENOMEM;
    rc = table_add(&l->by_origin, &lane->node, hash);
    if (rc < 0) {
        lane_free(lane);
        return rc;
    }
    *ret = lane;
    return 0;
}

static void lane_drop_unused(struct lanes *l, struct lane *lane)
{
    if (lane->used > 0 || lane->queue.n > 0 || !list_empty(&lane->hops))
        return;
    table_remove(&l->by_origin, &lane->node);
    lane_free(lane);
}

/* It may be over with it now; others of it may be out. */
static void lane_unused(struct lanes *l, struct lane *lane)
{
    int64_t key = lane->key;
    bool low = lane->queue.n < l->low_mark;

    lane_drop_unused(l, lane);
    if (low)
        l->low(l, key);
}

int lane_enter(
        struct lanes *l, struct lane_entry *e, const char *origin, int priority, bool has_slot)
{
    struct lane *lane;
    int64_t key;
    int rc;

    assert(!e->lane);
    rc = lane_find(l, origin, &lane);
    if (rc < 0)
        return rc;
    e->since_us = clock_mono_us();
    if (has_slot) {
        list_append(&lane->hops, &e->hop);
        e->lane = lane;
        lane_admit_hops(lane);
        return 0;
    }
    key = ((int64_t)(JOB_PRIORITY_MAX - priority) << PLACE_BITS) + (int64_t)l->next_place++;
    rc = heap_add(&lane->queue, &e->place, key);
    if (rc < 0) {
        lane_drop_unused(l, lane);
        return rc;
    }
    e->lane = lane;
    lane_take_turn(l, lane);
    lanes_pump(l);
    return 0;
}

void lane_withdraw(struct lanes *l, struct lane_entry *e)
{
    struct lane *lane = e->lane;

    if (!lane || (e->place.index == HEAP_NONE && list_empty(&e->hop)))
        return;
    heap_remove(&lane->queue, &e->place);
    list_remove(&e->hop);
    e->lane = NULL;
    lane_take_turn(l, lane);
    lane_unused(l, lane);
}

void lane_leave(struct lanes *l, struct lane_entry *e)
{
    struct lane *lane = e->lane;

    if (!lane)
        return;
    assert(e->place.index == HEAP_NONE && list_empty(&e->hop) && lane->used > 0);
    e->lane = NULL;
    lane->used--;
    lane_admit_hops(lane);
    lane_take_turn(l, lane);
    lane_unused(l, lane);
    lanes_pump(l);
}

void lanes_return_slot(struct lanes *l)
{
    l->free_slots++;
    lanes_pump(l);
}
