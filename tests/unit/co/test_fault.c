/* What is seen when a task needs more stack than there is. Each case ends a process of its own. */
#include "tests/unit/co/fixture.h"

#include <alloca.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/co/stack.h"

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

/* What the project is warned of when it is compiled; others' code may do it all the same. */
#pragma GCC diagnostic ignored "-Wframe-larger-than="

static int overflow_by_one_array(void *arg)
{
    volatile char large[CO_STACK_SIZE * 3];

    large[(size_t)arg] = 1; /* NULL: the end that is farthest from the stack */
    return large[(size_t)arg];
}

/*
 * Frames larger than a page, of which only the lowest bytes are touched, step over the guard: the last
 * two are beyond it. Each hands its own memory down, so no compiler makes a loop of it.
 */
#define STRIDE 20000

static __attribute__((noinline)) int stride(const volatile char *above, size_t n)
{
    volatile char pages[STRIDE];

    pages[0] = *above;
    return n == 0 ? 0 : stride(pages, n - 1) + pages[0];
}

static int overflow_by_strides(void *arg)
{
    return stride(&(const char){ arg ? 1 : 0 }, CO_STACK_SIZE / STRIDE + 1);
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

/* How the process ended; what it wrote to stderr. An emulator adds a line of its own, qemu: … */
static int die(co_fn fn, char *text, size_t size)
{
    char *emulator;
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
    if ((emulator = strstr(text, "qemu: uncaught target signal")))
        *emulator = 0;
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

static void large_frames_do_not_jump_the_guard(void **state)
{
    static const co_fn overflows[] = { overflow_by_one_frame, overflow_by_one_array,
        overflow_by_strides };
    static char text[65536];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(overflows); i++) {
        assert_died(die(overflows[i], text, sizeof(text)));
        assert_string_equal(text, "stack overflow in task guilty\n");
    }
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
        cmocka_unit_test(large_frames_do_not_jump_the_guard),
        cmocka_unit_test(other_faults_are_left_alone),
        cmocka_unit_test(the_handler_goes_with_the_loop),
    };

    return cmocka_run_group_tests_name("co/fault", tests, NULL, NULL);
}
