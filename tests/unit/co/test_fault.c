/* What is seen when a task needs more stack than there is. Each case ends a process of its own. */
#include "tests/unit/co/fixture.h"

#include <alloca.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static __attribute__((noinline)) int deeper(int n)
{
    volatile char page[3000];

    page[0] = (char)n;
    return n > 1000000 ? 0 : deeper(n + 1) + page[0];
}

static int overflow(void *arg)
{
    (void)arg;
    return deeper(0) ? 0 : 1;
}

static int overflow_by_one_frame(void *arg)
{
    volatile char *large = alloca(arg ? 1 : 1 << 20);

    *large = 1;
    return *large;
}

static int read_nothing(void *arg)
{
    volatile int *nothing = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)arg;
    return *nothing;
}

static int overflow_beside_others(void *arg)
{
    struct co_task t;
    int rc = 0;

    for (int i = 0; i < 20; i++)
        assert_int_equal(co_spawn_detached("innocent", test_sleep_for_ever, NULL), 0);
    assert_int_equal(co_spawn("guilty", *(co_fn *)arg, NULL, &t), 0);
    assert_int_equal(co_await(t, &rc), 0);
    return 0;
}

static int kill_self(void *arg)
{
    (void)arg;
    kill(getpid(), SIGSEGV);
    return 0;
}

/* How the process ended; what it wrote to stderr. */
static int die(co_fn fn, char *text, size_t size)
{
    size_t n = 0;
    int fds[2], status;
    ssize_t got;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
        signal(SIGSEGV, SIG_DFL); /* cmocka, or a sanitizer, has a handler of its own */
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        test_run(100, 0, overflow_beside_others, &fn);
        _exit(0);
    }
    close(fds[1]);
    while ((got = read(fds[0], text + n, size - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = 0;
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_died(int status)
{
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

static void an_overflow_names_the_task(void **state)
{
    static char text[65536];

    (void)state;
    assert_died(die(overflow, text, sizeof(text)));
    assert_string_equal(text, "stack overflow in task guilty\n");
}

static void a_frame_larger_than_the_stack_does_not_jump_the_guard(void **state)
{
    static char text[65536];

    (void)state;
    assert_died(die(overflow_by_one_frame, text, sizeof(text)));
    assert_string_equal(text, "stack overflow in task guilty\n");
}

static void other_faults_are_left_alone(void **state)
{
    static char text[65536];

    (void)state;
    assert_died(die(read_nothing, text, sizeof(text)));
    assert_string_equal(text, "");
    assert_died(die(kill_self, text, sizeof(text)));
    assert_string_equal(text, "");
}

static int nothing(void *arg)
{
    return arg ? 1 : 0;
}

static void the_handler_goes_with_the_loop(void **state)
{
    struct sigaction before, after;

    (void)state;
    assert_int_equal(sigaction(SIGSEGV, NULL, &before), 0);
    assert_int_equal(test_run(1, 0, nothing, NULL), 0);
    assert_int_equal(sigaction(SIGSEGV, NULL, &after), 0);
    assert_ptr_equal(before.sa_handler, after.sa_handler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_overflow_names_the_task),
        cmocka_unit_test(a_frame_larger_than_the_stack_does_not_jump_the_guard),
        cmocka_unit_test(other_faults_are_left_alone),
        cmocka_unit_test(the_handler_goes_with_the_loop),
    };

    return cmocka_run_group_tests_name("co/fault", tests, NULL, NULL);
}
