/*
 * The runtime when the kernel or the heap says no: each call that it makes, failing in its turn. The
 * linker's --wrap gives this program the calls of the runtime, and of nobody else.
 */
#include "tests/unit/co/fixture.h"

#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/co/stack.h"

#define N_TASKS  1100 /* more than an arena has stacks */
#define N_MANY   10000
#define NO_LIMIT 77 /* of memory can be set */

enum call { NONE, MMAP, MADVISE, MPROTECT, EVENTFD, THREAD, ALLOCATION };

static struct {
    enum call call;
    int error;           /* that it fails with */
    bool for_ever;       /* not only once */
    atomic_int left;     /* calls until it does */
    atomic_llong mapped; /* bytes that were and are not unmapped */
} fault;

static bool fault_is_due(enum call call)
{
    int left;

    if (fault.call != call)
        return false;
    left = atomic_fetch_sub(&fault.left, 1);
    if (left != 1 && (left > 1 || !fault.for_ever))
        return false;
    errno = fault.error;
    return true;
}

static void fault_set(enum call call, int error, int nth, bool for_ever)
{
    fault.call = call;
    fault.error = error;
    fault.for_ever = for_ever;
    atomic_store(&fault.left, nth);
}

static void fault_clear(void)
{
    fault_set(NONE, 0, 0, false);
}

#define WRAPPED(type, name, ...)     \
    type __real_##name(__VA_ARGS__); \
    type __wrap_##name(__VA_ARGS__); \
    type __wrap_##name(__VA_ARGS__)

/* The linker's name of mmap() with _FILE_OFFSET_BITS=64. */
WRAPPED(void *, mmap64, void *at, size_t n, int prot, int flags, int fd, off_t from)
{
    void *map = fault_is_due(MMAP) ? MAP_FAILED : __real_mmap64(at, n, prot, flags, fd, from);

    if (map != MAP_FAILED)
        atomic_fetch_add(&fault.mapped, (long long)n);
    return map;
}

WRAPPED(int, munmap, void *at, size_t n)
{
    atomic_fetch_sub(&fault.mapped, (long long)n);
    return __real_munmap(at, n);
}

WRAPPED(int, madvise, void *at, size_t n, int advice)
{
    return fault_is_due(MADVISE) ? -1 : __real_madvise(at, n, advice);
}

WRAPPED(int, mprotect, void *at, size_t n, int prot)
{
    return fault_is_due(MPROTECT) ? -1 : __real_mprotect(at, n, prot);
}

WRAPPED(int, eventfd, unsigned count, int flags)
{
    return fault_is_due(EVENTFD) ? -1 : __real_eventfd(count, flags);
}

WRAPPED(int, pthread_create, pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *),
        void *arg)
{
    return fault_is_due(THREAD) ? errno : __real_pthread_create(t, attr, fn, arg);
}

WRAPPED(void *, malloc, size_t n)
{
    return fault_is_due(ALLOCATION) ? NULL : __real_malloc(n);
}

WRAPPED(void *, calloc, size_t n, size_t size)
{
    return fault_is_due(ALLOCATION) ? NULL : __real_calloc(n, size);
}

WRAPPED(void *, reallocarray, void *old, size_t n, size_t size)
{
    return fault_is_due(ALLOCATION) ? NULL : __real_reallocarray(old, n, size);
}

static int first_error(int a, int b)
{
    return a < 0 ? a : b;
}

static int nap(void *arg)
{
    (void)arg;
    return co_sleep(MS / 10);
}

/* Both use all handles up. */
static int join_all(const struct co_task *tasks, size_t n)
{
    int rc = co_gather(tasks, n, NULL, 0), result;

    if (rc != -ENOMEM)
        return rc;
    for (size_t i = 0; i < n; i++) {
        result = co_await(tasks[i], NULL);
        assert_true(result == 0 || result == -ESRCH);
    }
    return rc;
}

/* More sleepers than there are places for timers at first, more tasks than an arena has stacks. */
static int use_tasks(void)
{
    static struct co_task tasks[N_TASKS];
    int rc = 0, joined;
    size_t n = 0;

    while (n < N_TASKS && rc == 0) {
        rc = co_spawn("test", n < 100 ? nap : test_return, NULL, &tasks[n]);
        n += rc == 0;
    }
    joined = join_all(tasks, n);
    return first_error(rc, joined);
}

static int use_future(void)
{
    struct co_future f;
    int rc = co_future_new(&f), result = 0;

    if (rc < 0)
        return rc;
    assert_int_equal(co_future_set(f, 7), 0);
    assert_int_equal(co_await(f, &result), 0);
    assert_int_equal(result, 7);
    return co_future_drop(f);
}

static int use_channel(void)
{
    struct co_channel c;
    void *item = NULL;
    int rc = co_channel_init(&c, 4);

    if (rc < 0)
        return rc;
    assert_int_equal(co_channel_send(&c, &c), 0);
    assert_int_equal(co_channel_receive(&c, &item), 0);
    assert_ptr_equal(item, &c);
    co_channel_done(&c);
    return 0;
}

static int use_completed(void)
{
    struct co_completed c;
    struct co_task t;
    size_t index;
    int rc = co_spawn("test", test_return, NULL, &t);

    if (rc < 0)
        return rc;
    rc = co_completed_open(&c, &t, 1);
    if (rc < 0)
        return first_error(co_detach(t), rc);
    assert_int_equal(co_completed_next(&c, &index, NULL), 0);
    co_completed_close(&c);
    return 0;
}

static int use_group(void)
{
    struct co_group g;
    int rc;

    co_group_open(&g);
    rc = co_group_spawn(&g, "test", nap, NULL, NULL);
    return co_group_close(&g, rc);
}

static int call_elsewhere(void *arg)
{
    (*(atomic_int *)arg)++;
    return 5;
}

static void abandoned(void *arg)
{
    (void)arg;
    fail();
}

static int use_thread(void)
{
    atomic_int calls = 0;
    int result = 0, rc = co_to_thread(call_elsewhere, &calls, &result), others;

    assert_int_equal(result, rc < 0 ? 0 : 5);
    result = 0;
    others = co_to_thread_abandoning(call_elsewhere, &calls, abandoned, &result);
    assert_int_equal(result, others < 0 ? 0 : 5);
    assert_int_equal(calls, (rc == 0) + (others == 0));
    return first_error(rc, others);
}

/* A bit of everything; what follows a failure is done all the same. 0, or the first error. */
static int use_all(void *arg)
{
    static int (*const uses[])(
            void) = { use_tasks, use_future, use_channel, use_completed, use_group, use_thread };
    int rc = 0;

    *(bool *)arg = true;
    for (size_t i = 0; i < ARRAY_LEN(uses); i++)
        rc = first_error(rc, uses[i]());
    return rc;
}

static int run_all(bool *ret_began)
{
    struct co_options options = { .max_tasks = 2 * N_TASKS, .max_threads = 2 };

    *ret_began = false;
    return co_run(NULL, &options, use_all, ret_began);
}

static int free_descriptor(void)
{
    int fd = dup(STDERR_FILENO);

    close(fd);
    return fd;
}

/*
 * The 1st, 2nd, 3rd … call fails, until there is no call of that number. Each time the error comes out,
 * but for `n_harmless` calls that can be done without, nothing is left behind, and the next run works.
 */
static void fail_each(enum call call, int error, int n_least, int n_harmless)
{
    int fd = free_descriptor(), nth, n_good = 0;
    bool came = true, began;

    for (nth = 1; came; nth += nth < 30 ? 1 : 300) {
        int rc;

        fault_set(call, error, nth, false);
        rc = run_all(&began);
        came = atomic_load(&fault.left) <= 0;
        fault_clear();
        if (came && rc != 0)
            assert_int_equal(rc, -error);
        n_good += came && rc == 0;
        assert_int_equal(atomic_load(&fault.mapped), 0);
        assert_int_equal(free_descriptor(), fd);
        assert_int_equal(run_all(&began), 0);
    }
    assert_true(nth > n_least);
    assert_true(n_good <= n_harmless);
}

/* That for the signal handler's stack can be done without. */
static void any_allocation_may_fail(void **state)
{
    (void)state;
    fail_each(ALLOCATION, ENOMEM, 15, 1);
}

static void any_mapping_may_fail(void **state)
{
    (void)state;
    fail_each(MMAP, ENOMEM, 2, 0);
}

/* There are other guards, and what else is advised is only better than nothing. */
static void any_advice_may_be_refused(void **state)
{
    (void)state;
    fail_each(MADVISE, EINVAL, 3, INT_MAX);
}

static void without_an_eventfd_nothing_begins(void **state)
{
    bool began;

    (void)state;
    fail_each(EVENTFD, EMFILE, 1, 0);
    fault_set(EVENTFD, EMFILE, 1, false);
    assert_int_equal(run_all(&began), -EMFILE);
    assert_false(began);
    fault_clear();
}

/* The second thread can be done without. */
static void without_a_thread_the_call_is_not_made(void **state)
{
    (void)state;
    fail_each(THREAD, EAGAIN, 1, 1);
}

static sem_t go;

static int wait_for_go(void *arg)
{
    sem_wait(&go);
    return call_elsewhere(arg);
}

static int call_waiting(void *arg)
{
    return co_to_thread(wait_for_go, arg, NULL);
}

/* The second thread can't be started: the first one does what it was for. */
CO_TEST(a_thread_less_is_no_error)
{
    atomic_int calls = 0;
    struct co_task t[2];

    sem_init(&go, 0, 0);
    fault_set(THREAD, EAGAIN, 2, true);
    for (int i = 0; i < 2; i++)
        t[i] = test_spawn(call_waiting, &calls);
    test_settle();
    assert_true(atomic_load(&fault.left) <= 0);
    fault_clear();
    for (int i = 0; i < 2; i++)
        sem_post(&go);
    for (int i = 0; i < 2; i++)
        assert_int_equal(test_await(t[i]), 0);
    assert_int_equal(calls, 2);
    return 0;
}

static size_t most_protected(void)
{
    FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
    unsigned long maps;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu", &maps), 1);
    fclose(f);
    return (maps - 5000) / 2; /* two a stack, and some for the rest of the process */
}

static void assert_guarded(const struct co_stacks *s, const char *base, bool guarded)
{
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], base, 1), guarded ? -1 : 1);
    assert_int_equal(write(fds[1], base + s->guard_size, 1), 1);
    close(fds[0]);
    close(fds[1]);
}

/* An older kernel, and one that has no more mappings from the third stack on. */
static void without_markers_pages_are_protected_while_that_works(void **state)
{
    struct co_stacks s;
    struct loop *loop;
    char *stacks[4];

    (void)state;
    assert_int_equal(loop_new(&loop), 0);
    fault_set(MADVISE, EINVAL, 1, true);
    assert_int_equal(co_stacks_init(&s, loop), 0);
    assert_int_equal(s.guard, CO_GUARD_PROTECT);
    assert_int_equal(s.max_protected, most_protected());
    fault_set(MPROTECT, ENOMEM, 2, true);
    for (int i = 0; i < 4; i++) {
        stacks[i] = co_stack_get(&s);
        assert_guarded(&s, stacks[i], i < 2);
    }
    assert_int_equal(s.guard, CO_GUARD_NONE);
    assert_int_equal(s.n_protected, 2);
    fault_clear();
    for (int i = 0; i < 4; i++)
        co_stack_put(&s, stacks[i]);
    co_stacks_done(&s);
    loop_free(loop);
    assert_int_equal(atomic_load(&fault.mapped), 0);
}

/* Each frame hands its own memory down, so no compiler makes a loop of it. */
static __attribute__((noinline)) int deeper(const volatile char *above)
{
    volatile char page[3000];

    page[0] = *above;
    return page[0] == 1 ? 0 : deeper(page) + page[0];
}

static int overflow(void *arg)
{
    return deeper(&(const char){ arg ? 1 : 0 });
}

static int overflow_beside_others(void *arg)
{
    struct co_task t[3];

    (void)arg;
    for (int i = 0; i < 3; i++)
        if (co_spawn(i == 1 ? "guilty" : "innocent", i == 1 ? overflow : nap, NULL, &t[i]) < 0)
            return 1;
    return co_gather(t, 3, NULL, 0);
}

static void an_overflow_into_a_protected_page_names_the_task(void **state)
{
    static const char expected[] = "stack overflow in task guilty\n";
    char text[512] = "";
    int fds[2], status;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
        signal(SIGSEGV, SIG_DFL); /* cmocka, or a sanitizer, has a handler of its own */
        dup2(fds[1], STDERR_FILENO);
        fault_set(MADVISE, EINVAL, 1, true);
        _exit(co_run(NULL, NULL, overflow_beside_others, NULL) ? 1 : 0);
    }
    close(fds[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
    close(fds[0]);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
    assert_memory_equal(text, expected, strlen(expected));
}

static int spawn_until_there_is_no_memory(void *arg)
{
    static struct co_task tasks[N_MANY];
    int n = 0, rc;

    (void)arg;
    while ((rc = co_spawn("test", test_sleep_for_ever, NULL, &tasks[n])) == 0)
        n++;
    assert_int_equal(rc, -ENOMEM);
    for (int i = 0; i < n; i++)
        assert_int_equal(co_cancel(tasks[i]), 0);
    assert_int_equal(co_gather(tasks, (size_t)n, NULL, CO_KEEP_ERRORS), 0);
    return test_await(test_spawn(test_return, (void *)(intptr_t)n));
}

/* qemu-user does not: the limit would be its own as well. */
static bool limits_memory(const struct rlimit *limit)
{
    struct rlimit now;

    return setrlimit(RLIMIT_AS, limit) == 0 && getrlimit(RLIMIT_AS, &now) == 0 &&
           now.rlim_cur == limit->rlim_cur;
}

/* In a process of its own, with room for a few arenas of stacks. */
static void without_memory_there_are_no_more_tasks(void **state)
{
    struct rlimit limit = { 400 << 20, 400 << 20 };
    int status;
    pid_t pid;

    (void)state;
#if defined(SANITIZER_ADDRESS) || defined(SANITIZER_THREAD)
    skip(); /* they need terabytes of addresses */
#endif
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (!limits_memory(&limit))
            _exit(NO_LIMIT);
        _exit(test_run(N_MANY, 0, spawn_until_there_is_no_memory, NULL) >= 1024 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_LIMIT) {
        print_message("RLIMIT_AS has no effect here\n");
        skip();
    }
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(any_mapping_may_fail),
        cmocka_unit_test(any_advice_may_be_refused),
        cmocka_unit_test(without_an_eventfd_nothing_begins),
        cmocka_unit_test(without_a_thread_the_call_is_not_made),
        cmocka_unit_test(a_thread_less_is_no_error),
        cmocka_unit_test(without_markers_pages_are_protected_while_that_works),
        cmocka_unit_test(an_overflow_into_a_protected_page_names_the_task),
        cmocka_unit_test(without_memory_there_are_no_more_tasks),
    };

    return cmocka_run_group_tests_name("co/starved", tests, NULL, NULL);
}
