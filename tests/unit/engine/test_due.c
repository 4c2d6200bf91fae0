/* Due times come in order, not early, and what is removed does not come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/engine/due.h"

#define ITEMS 600 /* more than one pass takes */

struct item {
    struct due_item due;
    int64_t at_us;
};

static struct clock now;
static struct item items[ITEMS];
static size_t n_come;
static int64_t last_us;

static void note_due(struct due_item *i)
{
    const struct item *item = CONTAINER_OF(i, struct item, due);

    assert_true(clock_now_us(&now) >= item->at_us);
    assert_true(item->at_us >= last_us);
    last_us = item->at_us;
    n_come++;
}

static int setup(void **state)
{
    (void)state;
    now = clock_start();
    n_come = 0;
    last_us = 0;
    return 0;
}

static void they_come_in_order_and_not_early(void **state)
{
    struct loop *loop;
    struct due d;
    int64_t begin_us;

    (void)state;
    assert_int_equal(loop_new(&loop), 0);
    due_init(&d, loop, &now);
    begin_us = clock_now_us(&now);
    for (size_t i = 0; i < ITEMS; i++) {
        items[i].at_us = begin_us + (int64_t)(i * 37 % ITEMS) * 10;
        due_item_init(&items[i].due, note_due);
        assert_int_equal(due_add(&d, &items[i].due, items[i].at_us), 0);
    }
    due_remove(&d, &items[17].due);
    due_remove(&d, &items[17].due);
    while (n_come < ITEMS - 1)
        assert_int_equal(loop_turn(loop, -1), 0);
    assert_int_equal(d.heap.n, 0);
    assert_int_equal(d.armed_us, CLOCK_NEVER);
    due_done(&d);
    loop_free(loop);
}

static void an_earlier_one_moves_the_timer(void **state)
{
    struct loop *loop;
    struct due d;

    (void)state;
    assert_int_equal(loop_new(&loop), 0);
    due_init(&d, loop, &now);
    for (size_t i = 0; i < 2; i++)
        due_item_init(&items[i].due, note_due);
    items[0].at_us = clock_now_us(&now) + 3600 * CLOCK_US_PER_S;
    items[1].at_us = clock_now_us(&now) + 1000;
    assert_int_equal(due_add(&d, &items[0].due, items[0].at_us), 0);
    assert_int_equal(due_add(&d, &items[1].due, items[1].at_us), 0);
    while (n_come < 1)
        assert_int_equal(loop_turn(loop, -1), 0);
    assert_int_equal(last_us, items[1].at_us);
    due_remove(&d, &items[0].due);
    assert_int_equal(d.armed_us, CLOCK_NEVER);
    due_done(&d);
    loop_free(loop);
}

/* The machine slept: daemon time is an hour further, and no timer has noticed. */
static void what_came_due_in_a_sleep_comes_at_once(void **state)
{
    struct loop *loop;
    struct due d;

    (void)state;
    assert_int_equal(loop_new(&loop), 0);
    due_init(&d, loop, &now);
    due_recheck(&d);
    for (size_t i = 0; i < 2; i++) {
        due_item_init(&items[i].due, note_due);
        items[i].at_us = clock_now_us(&now) + (int64_t)(i + 1) * 3000 * CLOCK_US_PER_S;
        assert_int_equal(due_add(&d, &items[i].due, items[i].at_us), 0);
    }
    now.offset_us += 3600 * CLOCK_US_PER_S;
    due_recheck(&d);
    assert_int_equal(loop_turn(loop, 10 * CLOCK_US_PER_S), 0);
    assert_int_equal(n_come, 1);
    assert_int_equal(d.armed_us, items[1].at_us);
    due_remove(&d, &items[1].due);
    due_done(&d);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(they_come_in_order_and_not_early, setup),
        cmocka_unit_test_setup(an_earlier_one_moves_the_timer, setup),
        cmocka_unit_test_setup(what_came_due_in_a_sleep_comes_at_once, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
