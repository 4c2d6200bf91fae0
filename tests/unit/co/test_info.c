#include "tests/unit/co/fixture.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/symbol.h"

/* The runtime alone can be built without libdw. */
#if __has_include(<elfutils/libdwfl.h>)
#define WITH_NAMES true
#else
#define WITH_NAMES false
#endif

#define STEP __attribute__((noinline)) static int

static struct co_event opened;
static struct co_gate gate;
static struct co_lock lock;
static struct co_condition condition;
static struct co_channel channel;
static struct co_future future;
static struct co_task children[3];
static int pipe_fds[2];

static struct co_info look(struct co_task t)
{
    struct co_info info;

    assert_int_equal(co_info(t, &info), 0);
    return info;
}

static void stop(struct co_task t)
{
    assert_int_equal(co_cancel(t), 0);
    assert_int_equal(co_await(t, NULL), 0);
}

/* Bodies that wait for one thing each. */

static int await_event(void *arg)
{
    (void)arg;
    return co_event_wait(&opened);
}

static int await_gate(void *arg)
{
    (void)arg;
    return co_gate_enter(&gate);
}

static int await_lock(void *arg)
{
    (void)arg;
    return co_lock_enter(&lock);
}

static int await_condition(void *arg)
{
    (void)arg;
    return co_condition_wait(&condition);
}

static int await_send(void *arg)
{
    return co_channel_send(&channel, arg);
}

static int await_receive(void *arg)
{
    return co_channel_receive(&channel, &arg);
}

static int await_future(void *arg)
{
    (void)arg;
    return co_await(future, NULL);
}

static int await_fd(void *arg)
{
    (void)arg;
    return co_wait_fd(pipe_fds[0], CO_READABLE);
}

static int await_task(void *arg)
{
    (void)arg;
    return co_await(children[0], NULL);
}

static int await_gather(void *arg)
{
    (void)arg;
    return co_gather(children, 3, NULL, 0);
}

static int await_any(void *arg)
{
    (void)arg;
    return co_wait(children, 3, CO_ALL_DONE, CO_NEVER, NULL);
}

static int await_next(void *arg)
{
    struct co_completed c;
    size_t i;
    int rc = co_completed_open(&c, children, 3);

    (void)arg;
    if (rc == 0)
        rc = co_completed_next(&c, &i, NULL);
    co_completed_close(&c);
    return rc;
}

static int await_group(void *arg)
{
    struct co_group g;

    (void)arg;
    co_group_open(&g);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(co_group_spawn(&g, "child", test_sleep_for_ever, NULL, &children[i]), 0);
    return co_group_close(&g, 0);
}

static int read_a_byte(void *arg)
{
    char byte;

    (void)arg;
    return (int)read(pipe_fds[0], &byte, 1);
}

static int await_thread(void *arg)
{
    (void)arg;
    return co_to_thread(read_a_byte, NULL, NULL);
}

static void check_wait(co_fn fn, enum co_awaits awaits, const void *object)
{
    struct co_task t = test_spawn(fn, NULL);
    struct co_info info = look(t);

    assert_int_equal(info.state, CO_READY);
    assert_int_equal(info.awaits, CO_AWAITS_NOTHING);
    assert_int_equal(info.since_ns, 0);
    test_settle();
    info = look(t);
    assert_int_equal(info.state, CO_WAITING);
    assert_string_equal(co_awaits_name(info.awaits), co_awaits_name(awaits));
    if (object)
        assert_ptr_equal(info.object, object);
    assert_string_equal(info.name, "test");
    stop(t);
    assert_int_equal(co_info(t, &info), -ESRCH);
}

CO_TEST(each_wait_has_its_name_and_object)
{
    co_event_init(&opened);
    co_gate_init(&gate, 0);
    co_lock_init(&lock);
    co_condition_init(&condition);
    assert_int_equal(co_channel_init(&channel, 0), 0);
    assert_int_equal(co_future_new(&future), 0);
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(co_lock_enter(&lock), 0);

    check_wait(test_sleep_for_ever, CO_AWAITS_TIME, NULL);
    check_wait(await_event, CO_AWAITS_EVENT, &opened);
    check_wait(await_gate, CO_AWAITS_GATE, &gate);
    check_wait(await_lock, CO_AWAITS_LOCK, &lock);
    check_wait(await_condition, CO_AWAITS_CONDITION, &condition);
    check_wait(await_send, CO_AWAITS_SEND, &channel);
    check_wait(await_receive, CO_AWAITS_RECEIVE, &channel);
    check_wait(await_future, CO_AWAITS_FUTURE, NULL);
    check_wait(await_fd, CO_AWAITS_FD, NULL);

    assert_int_equal(co_lock_leave(&lock), 0);
    assert_int_equal(co_future_drop(future), 0);
    co_channel_done(&channel);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return 0;
}

CO_TEST(a_wait_for_a_thread_has_its_name)
{
    struct co_task t;

    assert_int_equal(pipe(pipe_fds), 0);
    t = test_spawn(await_thread, NULL);
    test_settle();
    assert_int_equal(look(t).awaits, CO_AWAITS_THREAD);
    assert_int_equal(write(pipe_fds[1], "x", 1), 1);
    assert_int_equal(test_await(t), 0);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return 0;
}

static bool same(struct co_task a, struct co_task b)
{
    return a.slot == b.slot && a.gen == b.gen;
}

/* A task that waits for n children shows these edges, and no more one that has ended. */
static void check_edges(co_fn fn, enum co_awaits awaits, size_t n, bool spawn)
{
    struct co_task t, found[4];

    for (size_t i = 0; spawn && i < 3; i++)
        children[i] = test_spawn(test_sleep_for_ever, NULL);
    t = test_spawn(fn, NULL);
    test_settle();
    assert_string_equal(co_awaits_name(look(t).awaits), co_awaits_name(awaits));
    assert_int_equal(look(t).n_awaited, n);
    assert_int_equal(co_awaited(t, found, 4), n);
    for (size_t i = 0; i < n; i++)
        assert_true(same(found[i], children[i]));
    assert_int_equal(co_awaited(t, found, 1), 1);
    if (n == 3) {
        assert_int_equal(co_cancel(children[1]), 0);
        test_settle();
        if (awaits != CO_AWAITS_GATHER && co_done(t) == 0 && look(t).n_awaited > 0)
            assert_int_equal(co_awaited(t, found, 4), 2);
    }
    co_cancel(t);
    assert_int_equal(co_await(t, NULL), 0);
    for (size_t i = 0; spawn && i < 3; i++)
        co_cancel(children[i]);
    for (size_t i = 0; spawn && i < 3; i++)
        co_detach(children[i]);
    test_settle();
    assert_int_equal(co_count(), 1);
}

CO_TEST(edges_lead_to_the_awaited_tasks)
{
    check_edges(await_task, CO_AWAITS_TASK, 1, true);
    check_edges(await_gather, CO_AWAITS_GATHER, 3, true);
    check_edges(await_any, CO_AWAITS_TASKS, 3, true);
    check_edges(await_next, CO_AWAITS_TASKS, 3, true);
    check_edges(await_group, CO_AWAITS_GROUP, 3, false);
    return 0;
}

CO_TEST(ages_and_cancellations_are_told)
{
    struct co_task t = test_spawn(test_sleep_for_ever, NULL);
    int64_t before_ns = clock_mono_ns();
    struct co_snapshot s;
    struct co_info info;

    test_settle();
    info = look(t);
    assert_in_range(info.since_ns, before_ns - 1000 * MS, clock_mono_ns());
    assert_false(info.cancelled);
    assert_int_equal(co_sleep(5 * MS), 0);
    assert_int_equal(look(t).since_ns, info.since_ns);
    assert_int_equal(co_snapshot(&s), 0);
    assert_int_equal(s.n, 2);
    assert_true(co_snapshot_waited_ns(&s, &s.tasks[1]) >= 5 * MS);
    assert_int_equal(co_snapshot_waited_ns(&s, &s.tasks[0]), -1);
    co_snapshot_done(&s);

    co_cancel(t);
    co_cancel(t);
    info = look(t);
    assert_int_equal(info.state, CO_READY);
    assert_int_equal(info.cancels, 2);
    assert_true(info.cancelled);
    co_await(t, NULL);
    return 0;
}

CO_TEST(the_caller_runs_and_has_no_frames)
{
    struct co_info info = look(co_self());

    assert_int_equal(info.state, CO_RUNNING);
    assert_int_equal(info.n_frames, 0);
    assert_int_equal(info.stack_bytes, 0);
    return 0;
}

CO_TEST(handles_that_lead_nowhere_are_refused)
{
    struct co_info info;
    struct co_future f;

    assert_int_equal(co_info((struct co_task){ 0 }, &info), -ESRCH);
    assert_int_equal(co_info((struct co_task){ .slot = 77777, .gen = 1 }, &info), -ESRCH);
    assert_int_equal(co_future_new(&f), 0);
    assert_int_equal(co_info((struct co_task){ f.slot, f.gen }, &info), -EINVAL);
    assert_int_equal(co_awaited((struct co_task){ f.slot, f.gen }, NULL, 0), 0);
    co_future_drop(f);
    return 0;
}

/* --- places --- */

/* Each does something after the call, or its frame would make room for that of the next. */
STEP f3(void *arg)
{
    volatile int rc;

    memset(arg, 1, 8);
    rc = co_event_wait(&opened);
    return rc;
}

STEP f2(void *arg)
{
    volatile int rc = f3(arg);

    return rc;
}

STEP f1(void *arg)
{
    char room[3000];
    volatile int rc;

    (void)arg;
    rc = f2(room);
    return rc;
}

STEP deep(void *arg)
{
    intptr_t left = (intptr_t)arg;
    // NOLINTNEXTLINE(misc-no-recursion, performance-no-int-to-ptr)
    volatile int rc = left > 0 ? deep((void *)(left - 1)) : co_sleep_until(CO_NEVER);

    return rc;
}

/* The reader needs the loop's stack. */
static void open_symbols(void *arg)
{
    assert_int_equal(symbols_new(arg), 0);
}

/* The text of a return address. */
struct search {
    struct symbols *symbols;
    uintptr_t address;
    char text[200];
};

static void search(void *arg)
{
    struct search *s = arg;
    char *const *texts;

    assert_true(symbols_find(s->symbols, s->address, &texts) > 0);
    snprintf(s->text, sizeof(s->text), "%s", texts[0]);
}

static void check_place(struct symbols *symbols, uintptr_t address, const char *function)
{
    struct search s = { symbols, address, "" };

    co_on_loop(search, &s);
    if (!WITH_NAMES)
        return;
    assert_int_equal(strncmp(s.text, function, strlen(function)), 0);
    assert_non_null(strstr(s.text, "tests/unit/co/test_info.c:"));
}

CO_TEST(a_backtrace_begins_and_ends_in_the_program)
{
    static const char *const names[] = { "f3 (", "f2 (", "f1 (" };
    struct symbols *symbols;
    struct co_task t;
    struct co_info info;

    co_on_loop(open_symbols, &symbols);
    co_event_init(&opened);
    t = test_spawn(f1, NULL);
    assert_int_equal(look(t).n_frames, 1);
    check_place(symbols, look(t).frames[0], "f1 (");
    test_settle();
    info = look(t);
    assert_int_equal(info.n_frames, 3);
    for (size_t i = 0; i < 3; i++)
        check_place(symbols, info.frames[i], names[i]);
    assert_in_range(info.stack_bytes, 3000, 16384);
    co_event_set(&opened);
    assert_int_equal(look(t).n_frames, 3);
    assert_int_equal(test_await(t), 0);
    symbols_free(symbols);
    return 0;
}

CO_TEST(a_long_backtrace_keeps_the_innermost)
{
    struct co_task t = test_spawn(deep, (void *)40);
    struct symbols *symbols;
    struct co_info info;

    co_on_loop(open_symbols, &symbols);
    test_settle();
    info = look(t);
    assert_int_equal(info.n_frames, CO_FRAMES_MAX);
    for (size_t i = 0; i < CO_FRAMES_MAX; i++)
        check_place(symbols, info.frames[i], "deep (");
    stop(t);
    symbols_free(symbols);
    return 0;
}

static void check_first(struct symbols *s, co_fn fn, const char *name)
{
    struct co_task t = test_spawn(fn, NULL);
    struct co_info info;

    test_settle();
    info = look(t);
    assert_int_equal(info.n_frames, 1);
    check_place(s, info.frames[0], name);
    stop(t);
}

/* However deep in the runtime it waits, and also where its last call was a jump. */
CO_TEST(the_runtime_is_left_out_of_each_kind_of_wait)
{
    struct symbols *s;

    co_on_loop(open_symbols, &s);
    co_event_init(&opened);
    co_gate_init(&gate, 0);
    co_condition_init(&condition);
    assert_int_equal(co_channel_init(&channel, 0), 0);
    assert_int_equal(co_future_new(&future), 0);
    for (size_t i = 0; i < 3; i++)
        children[i] = test_spawn(test_sleep_for_ever, NULL);
    test_settle();
    check_first(s, await_event, "await_event (");
    check_first(s, await_gate, "await_gate (");
    check_first(s, await_condition, "await_condition (");
    check_first(s, await_receive, "await_receive (");
    check_first(s, await_send, "await_send (");
    check_first(s, await_future, "await_future (");
    check_first(s, await_next, "await_next (");
    check_first(s, await_any, "await_any (");
    check_first(s, await_gather, "await_gather (");
    check_first(s, await_group, "await_group (");
    co_channel_done(&channel);
    co_future_drop(future);
    symbols_free(s);
    return 0;
}

/* --- names --- */

static int named(void *arg)
{
    co_name_set(arg);
    return co_sleep_until(CO_NEVER);
}

CO_TEST(names_are_printable_and_cut)
{
    char longer[2 * CO_NAME_SIZE];
    struct co_task odd = test_spawn(named, "a\nb\x1b[31m \xc3\xa9"),
                   cut = test_spawn(named, longer);

    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = 0;
    test_settle();
    assert_string_equal(look(odd).name, "a?b?[31m ??");
    assert_int_equal(strlen(look(cut).name), CO_NAME_SIZE - 1);
    stop(odd);
    stop(cut);
    return 0;
}

static void the_number_of_guards_is_known_beforehand(void **state)
{
    (void)state;
    assert_true(co_guarded_max() > 1000);
}

static void there_is_nothing_to_see_outside(void **state)
{
    struct co_info info;

    (void)state;
    assert_int_equal(co_info((struct co_task){ 0, 1 }, &info), -ESRCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_wait_has_its_name_and_object),
        cmocka_unit_test(a_wait_for_a_thread_has_its_name),
        cmocka_unit_test(edges_lead_to_the_awaited_tasks),
        cmocka_unit_test(ages_and_cancellations_are_told),
        cmocka_unit_test(the_caller_runs_and_has_no_frames),
        cmocka_unit_test(handles_that_lead_nowhere_are_refused),
        cmocka_unit_test(a_backtrace_begins_and_ends_in_the_program),
        cmocka_unit_test(a_long_backtrace_keeps_the_innermost),
        cmocka_unit_test(the_runtime_is_left_out_of_each_kind_of_wait),
        cmocka_unit_test(names_are_printable_and_cut),
        cmocka_unit_test(the_number_of_guards_is_known_beforehand),
        cmocka_unit_test(there_is_nothing_to_see_outside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
