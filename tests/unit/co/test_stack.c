#include "tests/unit/co/fixture.h"

#include <string.h>
#include <unistd.h>

#include "daemon/co/stack.h"

#define N 1500 /* more than an arena has */

static void *stacks[N];

static int setup(void **state)
{
    static struct co_stacks s;
    static struct loop *loop;

    assert_int_equal(loop_new(&loop), 0);
    assert_int_equal(co_stacks_init(&s, loop), 0);
    *state = &s;
    return 0;
}

static int teardown(void **state)
{
    struct co_stacks *s = *state;
    struct loop *loop = s->trim.loop;

    co_stacks_done(s);
    loop_free(loop);
    return 0;
}

static void stacks_are_apart_and_writable(void **state)
{
    struct co_stacks *s = *state;

    for (size_t i = 0; i < N; i++) {
        stacks[i] = co_stack_get(s);
        assert_non_null(stacks[i]);
        assert_ptr_equal(co_stack_of(stacks[i]), stacks[i]);
        assert_ptr_equal(co_stack_of((char *)co_stack_top(stacks[i]) - 1), stacks[i]);
        assert_int_equal((uintptr_t)co_stack_top(stacks[i]) % 64, 0);
        *((size_t *)co_stack_top(stacks[i]) - 1) = i;
    }
    for (size_t i = 0; i < N; i++)
        assert_int_equal(*((size_t *)co_stack_top(stacks[i]) - 1), i);
    for (size_t i = 0; i < N; i++)
        co_stack_put(s, stacks[i]);
}

static void tops_have_different_colours(void **state)
{
    struct co_stacks *s = *state;
    bool seen[CO_STACK_COLOURS] = { false };
    int n = 0;

    for (size_t i = 0; i < CO_STACK_COLOURS; i++) {
        uintptr_t colour;

        stacks[i] = co_stack_get(s);
        colour = (uintptr_t)co_stack_top(stacks[i]) / CO_CACHE_LINE % CO_STACK_COLOURS;
        n += !seen[colour];
        seen[colour] = true;
    }
    assert_int_equal(n, CO_STACK_COLOURS);
    for (size_t i = 0; i < CO_STACK_COLOURS; i++)
        co_stack_put(s, stacks[i]);
}

static void the_guard_is_no_memory(void **state)
{
    struct co_stacks *s = *state;
    char *base = co_stack_get(s);
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], base, 1), -1);
    assert_int_equal(errno, EFAULT);
    assert_int_equal(write(fds[1], base + s->guard_size - 1, 1), -1);
    assert_int_equal(write(fds[1], base + s->guard_size, 1), 1);
    assert_true(co_stack_guards(s, base));
    assert_true(co_stack_guards(s, base + s->guard_size - 1));
    assert_false(co_stack_guards(s, base + s->guard_size));
    assert_false(co_stack_guards(s, base - 1));
    assert_false(co_stack_guards(s, &base));
    close(fds[0]);
    close(fds[1]);
    co_stack_put(s, base);
}

static void without_markers_guards_are_protected_pages(void **state)
{
    struct co_stacks *s = *state;
    char *before = co_stack_get(s), *base;
    int fds[2];

    s->guard = CO_GUARD_PROTECT;
    s->max_protected = s->n_protected + 2;
    assert_int_equal(pipe(fds), 0);
    for (int i = 0; i < 2; i++) {
        stacks[i] = base = co_stack_get(s);
        assert_int_equal(write(fds[1], base, 1), -1);
        assert_int_equal(write(fds[1], base + s->guard_size, 1), 1);
    }
    /* There is a limit to the number of mappings; past it, stacks go without. */
    stacks[2] = base = co_stack_get(s);
    assert_int_equal(s->guard, CO_GUARD_NONE);
    assert_int_equal(write(fds[1], base, 1), 1);
    close(fds[0]);
    close(fds[1]);
    for (int i = 0; i < 3; i++)
        co_stack_put(s, stacks[i]);
    co_stack_put(s, before);
}

static char *stack_word(void *base)
{
    return (char *)co_stack_top(base) - 64;
}

static void the_last_one_put_is_the_next_one_got(void **state)
{
    struct co_stacks *s = *state;
    void *a = co_stack_get(s), *b = co_stack_get(s);

    co_stack_put(s, a);
    co_stack_put(s, b);
    assert_ptr_equal(co_stack_get(s), b);
    assert_ptr_equal(co_stack_get(s), a);
    co_stack_put(s, b);
    co_stack_put(s, a);
}

static void unused_stacks_give_their_memory_back(void **state)
{
    struct co_stacks *s = *state;
    size_t kept = 0;

    for (size_t i = 0; i < N; i++) {
        stacks[i] = co_stack_get(s);
        *stack_word(stacks[i]) = 1;
    }
    for (size_t i = 0; i < N; i++)
        co_stack_put(s, stacks[i]);
    assert_true(s->trim_set);
    /* Two periods: what was put back in the first one was not free all that time. */
    for (int i = 0; i < 10 && s->trim_set; i++)
        s->trim.expired(&s->trim);
    assert_false(s->trim_set); /* nothing is left to do: no timer */
    for (size_t i = 0; i < N; i++)
        kept += *stack_word(stacks[i]) == 1;
    assert_in_range(kept, 1, 64);

    assert_ptr_equal(co_stack_get(s), stacks[N - 1]);
    co_stack_put(s, stacks[N - 1]);
    for (size_t i = 0; i < N; i++)
        assert_ptr_equal(co_stack_get(s), stacks[N - 1 - i]);
    for (size_t i = 0; i < N; i++)
        co_stack_put(s, stacks[N - 1 - i]);
}

static void used_stacks_keep_their_memory(void **state)
{
    struct co_stacks *s = *state;

    for (size_t i = 0; i < N; i++) {
        stacks[i] = co_stack_get(s);
        *stack_word(stacks[i]) = 1;
    }
    for (size_t i = 0; i < N; i++)
        co_stack_put(s, stacks[i]);
    s->trim.expired(&s->trim);
    /* In this period a thousand are in use. */
    for (size_t i = 0; i < 1000; i++)
        assert_ptr_equal(co_stack_get(s), stacks[N - 1 - i]);
    for (size_t i = 0; i < 1000; i++)
        co_stack_put(s, stacks[N - 1000 + i]);
    s->trim.expired(&s->trim);
    for (size_t i = N - 1000; i < N; i++)
        assert_int_equal(*stack_word(stacks[i]), 1);
    assert_int_equal(*stack_word(stacks[0]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(stacks_are_apart_and_writable, setup, teardown),
        cmocka_unit_test_setup_teardown(tops_have_different_colours, setup, teardown),
        cmocka_unit_test_setup_teardown(the_guard_is_no_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(
                without_markers_guards_are_protected_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_one_put_is_the_next_one_got, setup, teardown),
        cmocka_unit_test_setup_teardown(unused_stacks_give_their_memory_back, setup, teardown),
        cmocka_unit_test_setup_teardown(used_stacks_keep_their_memory, setup, teardown),
    };

    return cmocka_run_group_tests_name("co/stack", tests, NULL, NULL);
}
