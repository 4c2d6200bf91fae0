#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "daemon/base/heap.h"

#define N 1000

struct thing {
    int64_t key;
    struct heap_item item;
};

static struct thing things[N];

static int64_t first_key(const struct heap *h)
{
    int64_t key = -1;

    assert_non_null(heap_first(h, &key));
    return key;
}

static void comes_out_in_order(void **state)
{
    struct heap h = { 0 };
    int64_t last = INT64_MIN;

    (void)state;
    assert_null(heap_first(&h, NULL));
    for (int i = 0; i < N; i++) {
        things[i].key = (int64_t)i * 7919 % 500 - 250; /* some twice */
        heap_item_init(&things[i].item);
        assert_int_equal(heap_add(&h, &things[i].item, things[i].key), 0);
    }
    for (int i = 0; i < N; i++) {
        int64_t key = first_key(&h);
        struct heap_item *item = heap_first(&h, NULL);

        assert_true(key >= last);
        last = key;
        heap_remove(&h, item);
        assert_int_equal(item->index, HEAP_NONE);
    }
    assert_int_equal(h.n, 0);
    heap_done(&h);
}

static void assert_heap(const struct heap *h)
{
    for (size_t i = 0; i < h->n; i++) {
        assert_int_equal(h->slots[i].item->index, i);
        if (i > 0)
            assert_true(h->slots[(i - 1) / 4].key <= h->slots[i].key);
    }
}

static void removes_and_moves_anywhere(void **state)
{
    struct heap h = { 0 };

    (void)state;
    srand(1);
    for (int i = 0; i < N; i++)
        heap_item_init(&things[i].item);
    for (int round = 0; round < 20000; round++) {
        struct thing *t = &things[rand() % N];

        if (rand() % 3 == 0)
            heap_remove(&h, &t->item);
        else
            assert_int_equal(heap_add(&h, &t->item, rand() % 100), 0);
        if (round % 100 == 0)
            assert_heap(&h);
    }
    for (int i = 0; i < N; i++) {
        heap_remove(&h, &things[i].item);
        heap_remove(&h, &things[i].item);
    }
    assert_int_equal(h.n, 0);
    heap_done(&h);
}

static void reserved_room_is_enough(void **state)
{
    struct heap h = { 0 };
    const struct heap_slot *slots;

    (void)state;
    assert_int_equal(heap_reserve(&h, N), 0);
    slots = h.slots;
    for (int i = 0; i < N; i++) {
        heap_item_init(&things[i].item);
        assert_int_equal(heap_add(&h, &things[i].item, -i), 0);
    }
    assert_ptr_equal(h.slots, slots);
    assert_int_equal(first_key(&h), -(N - 1));
    heap_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_out_in_order),
        cmocka_unit_test(removes_and_moves_anywhere),
        cmocka_unit_test(reserved_room_is_enough),
    };

    return cmocka_run_group_tests_name("base/heap", tests, NULL, NULL);
}
