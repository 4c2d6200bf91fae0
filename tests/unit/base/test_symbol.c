#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/symbol.h"

/* The reader of debug information: the last one, and whether there can be one. */
static struct {
    pid_t pid;
    bool refused;
} reader;

pid_t __real_fork(void);
pid_t __wrap_fork(void);
pid_t __wrap_fork(void)
{
    errno = ENOMEM;
    reader.pid = reader.refused ? -1 : __real_fork();
    return reader.pid;
}

/* Where it was called from. */
__attribute__((noinline)) static uintptr_t here(void)
{
    return (uintptr_t)__builtin_return_address(0);
}

/* Something follows the call, or that would be a jump. */
static inline __attribute__((always_inline)) uintptr_t inlined(void)
{
    volatile uintptr_t address = here();

    return address;
}

static const int outer_calls = __LINE__ + 4;

__attribute__((noinline)) static uintptr_t outer(void)
{
    uintptr_t address = inlined();

    return address;
}

static int setup(void **state)
{
    struct symbols *s;

    assert_int_equal(symbols_new(&s), 0);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    symbols_free(*state);
    return 0;
}

static void a_return_address_is_the_line_of_its_call(void **state)
{
    uintptr_t address = here();
    int line = __LINE__ - 1;
    char *const *texts, *end;

    assert_int_equal(symbols_find(*state, address, &texts), 1);
    end = strrchr(texts[0], ':');
    assert_int_equal(strncmp(texts[0], "a_return_address_is_the_line_of_its_call (", 42), 0);
    assert_non_null(strstr(texts[0], "tests/unit/base/test_symbol.c:"));
    assert_int_equal(strtol(end + 1, NULL, 10), line);
}

static void inlined_functions_are_told_apart(void **state)
{
    char *const *texts;

    assert_int_equal(symbols_find(*state, outer(), &texts), 2);
    assert_int_equal(strncmp(texts[0], "inlined (", 9), 0);
    assert_int_equal(strncmp(texts[1], "outer (", 7), 0);
    assert_non_null(strstr(texts[1], "test_symbol.c:"));
    assert_int_equal(strtol(strrchr(texts[1], ':') + 1, NULL, 10), outer_calls);
}

static void what_was_found_is_kept(void **state)
{
    uintptr_t address = outer();
    char *const *first, *const *again;

    assert_int_equal(symbols_find(*state, address, &first), 2);
    for (uintptr_t i = 1; i < 200; i++)
        assert_true(symbols_find(*state, address + i * 16, &again) > 0);
    assert_int_equal(symbols_find(*state, address, &again), 2);
    assert_ptr_equal(first, again);
}

/* A library without debug information, and addresses in nothing at all. */
static void an_address_is_told_somehow(void **state)
{
    char *const *texts;

    assert_int_equal(symbols_find(*state, (uintptr_t)strtol + 5, &texts), 1);
    assert_true(texts[0][0] && strchr(texts[0], ' ') == NULL ? strstr(texts[0], "+0x") != NULL
                                                             : strchr(texts[0], ':') != NULL);
    assert_int_equal(symbols_find(*state, 16, &texts), 1);
    assert_string_equal(texts[0], "?+0x10");
    assert_int_equal(symbols_find(*state, 0, &texts), 1);
}

static void expect_no_debuginfo(struct symbols *s, uintptr_t address)
{
    char *const *texts;

    assert_int_equal(symbols_find(s, address, &texts), 1);
    assert_non_null(strstr(texts[0], "test-base_symbol+0x"));
}

static void a_reader_that_dies_takes_only_its_knowledge_with_it(void **state)
{
    uintptr_t address = outer();
    char *const *texts;

    assert_int_equal(symbols_find(*state, address, &texts), 2);
    assert_true(reader.pid > 0);
    kill(reader.pid, SIGSEGV);
    assert_int_equal(waitid(P_PID, (id_t)reader.pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
    for (uintptr_t i = 1; i < 5; i++)
        expect_no_debuginfo(*state, address + i);
    assert_int_equal(symbols_find(*state, address, &texts), 2);
}

static void no_reader_is_left_behind(void **state)
{
    struct symbols *s;
    char *const *texts;

    (void)state;
    assert_int_equal(symbols_new(&s), 0);
    assert_int_equal(symbols_find(s, outer(), &texts), 2);
    symbols_free(s);
    assert_int_equal(waitpid(-1, NULL, 0), -1);
    assert_int_equal(errno, ECHILD);
}

static void no_reader_is_no_debuginfo(void **state)
{
    struct symbols *s;

    (void)state;
    reader.refused = true;
    assert_int_equal(symbols_new(&s), 0);
    reader.refused = false;
    expect_no_debuginfo(s, outer());
    symbols_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_return_address_is_the_line_of_its_call, setup, teardown),
        cmocka_unit_test_setup_teardown(inlined_functions_are_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_found_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(an_address_is_told_somehow, setup, teardown),
        cmocka_unit_test_setup_teardown(
                a_reader_that_dies_takes_only_its_knowledge_with_it, setup, teardown),
        cmocka_unit_test(no_reader_is_left_behind),
        cmocka_unit_test(no_reader_is_no_debuginfo),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
