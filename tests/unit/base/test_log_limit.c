/* A second has its first lines and a count of the others; none is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/log_limit.h"

static struct {
    struct loop *loop;
    struct log_limit limit;
    int stderr_fd, log_fd;
    char log[4096];
} seen;

static int setup(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    log_setup(&(struct log_options){ .level = LOG_LEVEL_INFO });
    seen.log_fd = memfd_create("log", 0);
    log_limit_done(&seen.limit);
    return loop_new(&seen.loop);
}

static int teardown(void **state)
{
    (void)state;
    log_limit_done(&seen.limit);
    loop_free(seen.loop);
    close(seen.log_fd);
    return 0;
}

static void begin_log(void)
{
    seen.stderr_fd = dup(STDERR_FILENO);
    dup2(seen.log_fd, STDERR_FILENO);
}

/* The lines so far, without their times. */
static void end_log(const char *expected)
{
    char lines[sizeof(seen.log)] = "", *line, *rest;
    ssize_t n;

    dup2(seen.stderr_fd, STDERR_FILENO);
    close(seen.stderr_fd);
    n = pread(seen.log_fd, seen.log, sizeof(seen.log) - 1, 0);
    assert_true(n >= 0);
    seen.log[n] = 0;
    for (line = strtok_r(seen.log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        strcat(lines, strchr(line, ' ') + 1);
        strcat(lines, "\n");
    }
    assert_string_equal(lines, expected);
}

static unsigned pass(unsigned n)
{
    unsigned passed = 0;

    for (unsigned i = 0; i < n; i++)
        passed += log_limit_pass(&seen.limit);
    return passed;
}

/* As if so much more time had gone by. */
static void age(int64_t us)
{
    seen.limit.begin_us -= us;
}

static void a_second_has_its_first_lines_and_a_count(void **state)
{
    (void)state;
    log_limit_init(&seen.limit, seen.loop, LOG_LEVEL_INFO, "jobs failed");
    begin_log();
    assert_int_equal(pass(LOG_LIMIT_LINES), LOG_LIMIT_LINES);
    age(CLOCK_US_PER_S - 100000);
    assert_int_equal(pass(20005), 0);
    assert_int_equal(loop_turn(seen.loop, -1), 0);
    assert_int_equal(pass(LOG_LIMIT_LINES + 1), LOG_LIMIT_LINES);
    end_log("info    20005 more jobs failed in the last second\n");
}

static void few_of_them_are_all_there(void **state)
{
    (void)state;
    log_limit_init(&seen.limit, seen.loop, LOG_LEVEL_INFO, "jobs failed");
    begin_log();
    for (int i = 0; i < 5; i++) {
        assert_int_equal(pass(LOG_LIMIT_LINES), LOG_LIMIT_LINES);
        age(CLOCK_US_PER_S);
    }
    assert_int_equal(loop_turn(seen.loop, 0), 0);
    end_log("");
}

static void the_end_tells_of_the_rest(void **state)
{
    (void)state;
    log_limit_init(&seen.limit, seen.loop, LOG_LEVEL_WARNING, "of them");
    begin_log();
    assert_int_equal(pass(LOG_LIMIT_LINES + 1), LOG_LIMIT_LINES);
    log_limit_done(&seen.limit);
    end_log("warning 1 more of them in the last second\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_second_has_its_first_lines_and_a_count, setup, teardown),
        cmocka_unit_test_setup_teardown(few_of_them_are_all_there, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_tells_of_the_rest, setup, teardown),
    };

    return cmocka_run_group_tests_name("base/log_limit", tests, NULL, NULL);
}
