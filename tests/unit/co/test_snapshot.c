#include "tests/unit/co/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct co_task children[3];

static int await_all(void *arg)
{
    (void)arg;
    return co_wait(children, 3, CO_ALL_DONE, CO_NEVER, NULL);
}

static void stop(struct co_task t)
{
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(co_await(t, NULL), 0);
}

/* The text of a snapshot; the caller's to free. */
static void write_tree(void *arg)
{
    char **text = arg;
    struct co_snapshot s;
    size_t n;
    FILE *f = open_memstream(text, &n);

    assert_int_equal(co_snapshot(&s), 0);
    assert_int_equal(co_snapshot_write(&s, f), 0);
    fclose(f);
    co_snapshot_done(&s);
}

static char *tree_text(void)
{
    char *text;

    co_on_loop(write_tree, &text);
    return text;
}

static size_t occurrences(const char *text, const char *what)
{
    size_t n = 0;

    while ((text = strstr(text, what))) {
        n++;
        text += strlen(what);
    }
    return n;
}

CO_TEST(the_tree_shows_each_task_once_below_those_that_wait)
{
    struct co_task both[2];
    char *text;

    for (size_t i = 0; i < 3; i++)
        children[i] = test_spawn(test_sleep_for_ever, NULL);
    for (size_t i = 0; i < 2; i++)
        both[i] = test_spawn(await_all, NULL);
    test_settle();
    text = tree_text();
    assert_true(strncmp(text, "6 tasks\n", 8) == 0);
    assert_int_equal(occurrences(text, ": waits for time since "), 3);
    assert_int_equal(occurrences(text, ": waits for tasks since "), 2);
    assert_int_equal(occurrences(text, ": see above\n"), 3);
    assert_int_equal(occurrences(text, "\n  "), 6);
#if __has_include(<elfutils/libdwfl.h>) /* the runtime alone can be built without libdw */
    assert_int_equal(occurrences(text, ", in await_all ("), 2);
#endif
    assert_int_equal(occurrences(text, " main: running"), 1);
    free(text);
    for (size_t i = 0; i < 2; i++)
        stop(both[i]);
    for (size_t i = 0; i < 3; i++)
        stop(children[i]);
    return 0;
}

/* A deadline makes a circle possible: neither is bound to wait for ever. */
static int await_other(void *arg)
{
    const struct co_task *other = arg;

    return co_wait(other, 1, CO_ALL_DONE, co_deadline(10000 * MS), NULL);
}

CO_TEST(a_circle_is_shown_once)
{
    char *text;

    children[0] = test_spawn(await_other, &children[1]);
    children[1] = test_spawn(await_other, &children[0]);
    test_settle();
    text = tree_text();
    assert_true(strncmp(text, "3 tasks\n", 8) == 0);
    assert_int_equal(occurrences(text, ": waits for tasks"), 2);
    assert_int_equal(occurrences(text, ": see above\n"), 1);
    free(text);
    stop(children[0]);
    stop(children[1]);
    return 0;
}

static int await_next_of_chain(void *arg)
{
    return co_await(*(struct co_task *)arg, NULL);
}

/* As long as there are tasks: nothing here recurses. */
CO_TEST(a_long_chain_is_no_problem)
{
    static struct co_task chain[10000];
    char *text;

    chain[0] = test_spawn(test_sleep_for_ever, NULL);
    for (size_t i = 1; i < ARRAY_LEN(chain); i++)
        chain[i] = test_spawn(await_next_of_chain, &chain[i - 1]);
    test_settle();
    text = tree_text();
    assert_int_equal(occurrences(text, ": waits for task since"), ARRAY_LEN(chain) - 1);
    free(text);
    stop(chain[ARRAY_LEN(chain) - 1]);
    return 0;
}

CO_TEST(edges_stand_in_the_order_of_the_tasks)
{
    struct co_task waiter;
    struct co_snapshot s;

    for (size_t i = 0; i < 3; i++)
        children[i] = test_spawn(test_sleep_for_ever, NULL);
    waiter = test_spawn(await_all, NULL);
    test_settle();
    assert_int_equal(co_snapshot(&s), 0);
    assert_int_equal(s.n, 5);
    for (size_t i = 0; i < s.n; i++) {
        assert_int_equal(s.tasks[i].n_awaited, s.tasks[i].task.slot == waiter.slot ? 3 : 0);
        assert_true(i == 0 || s.tasks[i].task.slot > s.tasks[i - 1].task.slot);
    }
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(s.awaited[i].slot, children[i].slot);
    co_snapshot_done(&s);
    stop(waiter);
    for (size_t i = 0; i < 3; i++)
        stop(children[i]);
    return 0;
}

static void there_is_none_outside(void **state)
{
    struct co_snapshot s;

    (void)state;
    assert_int_equal(co_snapshot(&s), -EPERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tree_shows_each_task_once_below_those_that_wait),
        cmocka_unit_test(a_circle_is_shown_once),
        cmocka_unit_test(a_long_chain_is_no_problem),
        cmocka_unit_test(edges_stand_in_the_order_of_the_tasks),
        cmocka_unit_test(there_is_none_outside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
