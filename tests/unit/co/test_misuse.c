/* What a program gets that uses the runtime in ways that the compiler can't refuse. */
#include "tests/unit/co/fixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/co/runtime.h"

/* Every call that takes a task's handle, and what it says to this one. */
static void assert_refused(struct co_task t, int rc)
{
    struct co_completed completed;
    struct co_hook hook = { 0 };
    int result = 0;

    assert_int_equal(co_await(t, NULL), rc);
    assert_int_equal(co_shield(t, NULL), rc);
    assert_int_equal(co_wait_for(t, CO_NEVER, NULL), rc);
    assert_int_equal(co_wait(&t, 1, CO_ALL_DONE, CO_NEVER, NULL), rc);
    assert_int_equal(co_gather(&t, 1, NULL, 0), rc);
    assert_int_equal(co_gather(&t, 1, &result, CO_KEEP_ERRORS), 0);
    assert_int_equal(result, rc);
    assert_int_equal(co_completed_open(&completed, &t, 1), rc);
    if (rc == -EDEADLK)
        return;
    assert_int_equal(co_on_done(t, &hook), rc);
    assert_int_equal(co_done(t), rc);
    assert_int_equal(co_keep(t), rc);
    assert_int_equal(co_detach(t), rc);
    assert_int_equal(co_cancel(t), rc);
    assert_int_equal(co_cancelling(t), 0);
}

CO_TEST(a_stale_handle_stays_stale_however_often_its_slot_is_used)
{
    struct co_task old = test_spawn(test_return, NULL), t;
    struct co_future f;

    assert_int_equal(test_await(old), 0);
    for (unsigned uses = 1, next = 1; uses <= 1 << 16; uses++) {
        t = test_spawn(test_return, NULL);
        assert_int_equal(t.slot, old.slot);
        if (uses == next) {
            assert_refused(old, -ESRCH);
            next *= 2;
        }
        assert_int_equal(test_await(t), 0);
    }
    assert_int_equal(co_future_new(&f), 0);
    assert_int_equal(f.slot, old.slot);
    assert_refused(old, -ESRCH);
    assert_int_equal(co_future_drop(f), 0);
    assert_int_equal(co_await(f, NULL), -ESRCH);
    assert_int_equal(co_future_set(f, 1), -ESRCH);
    assert_int_equal(co_future_drop(f), -ESRCH);
    return 0;
}

/* A slot's generations are counted in 32 bits, so a busy program comes to their end. */
CO_TEST(a_slot_without_generations_left_is_used_no_more)
{
    struct co_task first = test_spawn(test_return, NULL), last = first, t;
    struct co_slot *slots = co_current()->slots;

    assert_int_equal(test_await(first), 0);
    slots[first.slot].gen = UINT32_MAX - 2;
    while ((t = test_spawn(test_return, NULL)).slot == first.slot) {
        assert_true(t.gen > last.gen);
        last = t;
        assert_int_equal(test_await(t), 0);
    }
    assert_refused(first, -ESRCH);
    assert_refused(last, -ESRCH);
    assert_refused((struct co_task){ 0 }, -ESRCH);
    assert_refused((struct co_task){ .slot = first.slot }, -ESRCH);
    assert_int_equal(test_await(t), 0);
    return 0;
}

CO_TEST(a_cast_from_the_other_type_is_refused)
{
    struct co_task t = test_spawn(test_sleep_for_ever, NULL);
    struct co_future f;

    assert_int_equal(co_future_new(&f), 0);
    assert_refused((struct co_task){ f.slot, f.gen }, -EINVAL);
    assert_int_equal(co_await(((struct co_future){ t.slot, t.gen }), NULL), -EINVAL);
    assert_int_equal(co_future_set((struct co_future){ t.slot, t.gen }, 1), -EINVAL);
    assert_int_equal(co_future_drop((struct co_future){ t.slot, t.gen }), -EINVAL);
    assert_int_equal(co_done(t), 0);
    assert_int_equal(co_future_set(f, 7), 0);
    assert_int_equal(co_future_drop(f), 0);
    assert_int_equal(co_detach(t), 0);
    return 0;
}

CO_TEST(no_task_awaits_itself)
{
    assert_refused(co_self(), -EDEADLK);
    return 0;
}

/* What suspend_plainly() saw. */
struct seen {
    struct co_hook hook;
    struct co_task other;
    int spawned, awaited, slept, yielded, gathered, threaded;
    bool ended;
};

static void suspend_plainly(struct seen *s)
{
    struct co_task t;

    s->spawned = co_spawn("plain", test_return, NULL, &t);
    if (s->spawned == 0)
        co_detach(t);
    s->awaited = co_await(s->other, NULL);
    s->slept = co_sleep(1);
    s->yielded = co_yield();
    s->gathered = co_gather(&s->other, 1, NULL, 0);
    s->threaded = co_to_thread(test_return, NULL, NULL);
    s->ended = true;
}

static void assert_all_refused(const struct seen *s, int spawned)
{
    assert_true(s->ended);
    assert_int_equal(s->spawned, spawned);
    assert_int_equal(s->awaited, -EPERM);
    assert_int_equal(s->slept, -EPERM);
    assert_int_equal(s->yielded, -EPERM);
    assert_int_equal(s->gathered, -EPERM);
    assert_int_equal(s->threaded, -EPERM);
}

static void hook_ended(struct co_hook *h, int result)
{
    (void)result;
    suspend_plainly(CONTAINER_OF(h, struct seen, hook));
}

CO_TEST(a_hook_spawns_and_does_not_suspend)
{
    struct co_task t = test_spawn(test_return, NULL);
    struct seen s = { .hook.ended = hook_ended, .other = co_self() };

    assert_int_equal(co_on_done(t, &s.hook), 0);
    assert_int_equal(test_await(t), 0);
    assert_all_refused(&s, 0);
    return 0;
}

static void *suspend_elsewhere(void *arg)
{
    suspend_plainly(arg);
    return NULL;
}

CO_TEST(another_thread_does_neither)
{
    struct seen s = { .other = co_self() };
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, suspend_elsewhere, &s), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_all_refused(&s, -EPERM);
    return 0;
}

/* How a process ends whose first task is `fn`, in debug mode or not; what it wrote to stderr. */
static int run_in_child(const char *debug, co_fn fn, char *text, size_t size)
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
        signal(SIGABRT, SIG_DFL); /* cmocka, or a sanitizer, has a handler of its own */
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        setenv("CO_DEBUG", debug, 1);
        _exit(co_run(NULL, NULL, fn, NULL));
    }
    close(fds[1]);
    while ((got = read(fds[0], text + n, size - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = 0;
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void call_yield(void *arg)
{
    (void)arg;
    co_yield();
}

static int suspend_on_the_loop(void *arg)
{
    co_on_loop(call_yield, arg);
    return 0;
}

static int spoil_a_future(void *arg)
{
    struct co_future f;

    (void)arg;
    if (co_future_new(&f) < 0)
        return 1;
    co_cancel((struct co_task){ f.slot, f.gen });
    co_future_drop(f);
    return 0;
}

static int spoil_a_task(void *arg)
{
    struct co_task t = co_self();

    (void)arg;
    co_future_set((struct co_future){ t.slot, t.gen }, 1);
    return 0;
}

static void in_debug_mode_misuse_ends_the_process(void **state)
{
    static const struct {
        co_fn fn;
        const char *says;
    } cases[] = {
        { suspend_on_the_loop, "a call that suspends was made outside of a task" },
        { spoil_a_future, "a future's handle was given for a task's" },
        { spoil_a_task, "a task's handle was given for a future's" },
    };
    static char text[65536];
    int status;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        status = run_in_child("1", cases[i].fn, text, sizeof(text));
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
        assert_non_null(strstr(text, cases[i].says));
        status = run_in_child("0", cases[i].fn, text, sizeof(text));
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_string_equal(text, "");
    }
}

static int work_for_ms(int64_t ms)
{
    int64_t end_ns = clock_mono_ns() + ms * MS;

    while (clock_mono_ns() < end_ns)
        ;
    co_name_set("worker");
    return co_yield();
}

static int work_long(void *arg)
{
    (void)arg;
    return work_for_ms(120);
}

/* Waiting is no work. */
static int work_short(void *arg)
{
    int rc = co_sleep(120 * MS);

    (void)arg;
    return rc < 0 ? rc : work_for_ms(1);
}

static void in_debug_mode_long_slices_are_warned_of(void **state)
{
    static char text[65536];

    (void)state;
    assert_int_equal(run_in_child("1", work_long, text, sizeof(text)), 0);
    assert_non_null(strstr(text, "task worker ran for "));
    assert_non_null(strstr(text, " ms without waiting"));
    assert_int_equal(run_in_child("1", work_short, text, sizeof(text)), 0);
    assert_string_equal(text, "");
    assert_int_equal(run_in_child("0", work_long, text, sizeof(text)), 0);
    assert_string_equal(text, "");
}

static int shield_for(int64_t deadline_ns)
{
    struct co_scope s;

    co_scope_open(&s, deadline_ns, CO_SHIELD);
    return co_scope_close(&s, 0);
}

static int shield_for_ever(void *arg)
{
    (void)arg;
    return shield_for(CO_NEVER);
}

static int shield_for_a_second(void *arg)
{
    (void)arg;
    return shield_for(co_deadline(1000 * MS));
}

static void in_debug_mode_endless_shields_are_warned_of(void **state)
{
    static char text[65536];

    (void)state;
    assert_int_equal(run_in_child("1", shield_for_ever, text, sizeof(text)), 0);
    assert_non_null(strstr(text, "task main is shielded from cancellation without a deadline"));
    assert_int_equal(run_in_child("1", shield_for_a_second, text, sizeof(text)), 0);
    assert_string_equal(text, "");
    assert_int_equal(run_in_child("0", shield_for_ever, text, sizeof(text)), 0);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stale_handle_stays_stale_however_often_its_slot_is_used),
        cmocka_unit_test(a_slot_without_generations_left_is_used_no_more),
        cmocka_unit_test(a_cast_from_the_other_type_is_refused),
        cmocka_unit_test(no_task_awaits_itself),
        cmocka_unit_test(a_hook_spawns_and_does_not_suspend),
        cmocka_unit_test(another_thread_does_neither),
        cmocka_unit_test(in_debug_mode_misuse_ends_the_process),
        cmocka_unit_test(in_debug_mode_long_slices_are_warned_of),
        cmocka_unit_test(in_debug_mode_endless_shields_are_warned_of),
    };

    return cmocka_run_group_tests_name("co/misuse", tests, NULL, NULL);
}
