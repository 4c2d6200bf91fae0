#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/loop.h"

#define PATIENCE_US 10000000

static struct {
    struct loop *loop;
    struct loop_watch watch;
    struct loop_timer timer;
    int calls, signal;
    unsigned events;
} seen;

static int setup(void **state)
{
    (void)state;
    seen = (__typeof__(seen)){ 0 };
    return loop_new(&seen.loop);
}

static int teardown(void **state)
{
    (void)state;
    assert_null(loop_free(seen.loop));
    return 0;
}

static void ready(struct loop_watch *w, unsigned events)
{
    assert_ptr_equal(w, &seen.watch);
    seen.calls++;
    seen.events |= events;
}

static void expired(struct loop_timer *t)
{
    assert_ptr_equal(t, &seen.timer);
    seen.calls++;
}

static void turn_until(int calls)
{
    for (int i = 0; i < 1000 && seen.calls < calls; i++)
        assert_int_equal(loop_turn(seen.loop, PATIENCE_US), 0);
    assert_int_equal(seen.calls, calls);
}

static void a_watch_says_what_is_ready(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    loop_watch_init(&seen.watch, seen.loop, fds[0], ready);
    assert_int_equal(loop_watch_set(&seen.watch, LOOP_READ), 0);
    assert_int_equal(loop_turn(seen.loop, 0), 0);
    assert_int_equal(seen.calls, 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    turn_until(1);
    turn_until(2); /* level triggered */
    assert_int_equal(seen.events, LOOP_READ);
    assert_int_equal(loop_watch_set(&seen.watch, LOOP_WRITE), 0);
    seen.events = 0;
    turn_until(3);
    assert_int_equal(seen.events, LOOP_WRITE);
    assert_int_equal(loop_watch_set(&seen.watch, 0), 0);
    assert_int_equal(loop_turn(seen.loop, 0), 0);
    assert_int_equal(seen.calls, 3);
    assert_int_equal(loop_watch_set(&seen.watch, LOOP_CLOSED), 0);
    seen.events = 0;
    close(fds[1]);
    turn_until(4);
    assert_int_equal(seen.events, LOOP_CLOSED);
    loop_watch_done(&seen.watch);
    close(fds[0]);
}

static void a_timer_expires_once_and_not_early(void **state)
{
    int64_t begin = clock_mono_us();

    (void)state;
    loop_timer_init(&seen.timer, seen.loop, expired);
    loop_timer_set(&seen.timer, PATIENCE_US);
    loop_timer_set(&seen.timer, 3000);
    turn_until(1);
    assert_true(clock_mono_us() - begin >= 3000);
    loop_timer_set(&seen.timer, 0);
    turn_until(2);
    loop_timer_set(&seen.timer, 1000);
    loop_timer_stop(&seen.timer);
    loop_timer_stop(&seen.timer);
    assert_int_equal(loop_turn(seen.loop, 5000), 0);
    assert_int_equal(seen.calls, 2);
}

static void a_turn_ends_in_time(void **state)
{
    int64_t begin = clock_mono_us();

    (void)state;
    assert_int_equal(loop_turn(seen.loop, 0), 0);
    assert_int_equal(loop_turn(seen.loop, 2000), 0);
    assert_true(clock_mono_us() - begin >= 2000);
}

static void raised(struct loop_signal *s, int number)
{
    (void)s;
    seen.signal = number;
    seen.calls++;
}

static void signals_are_taken_on_the_loop(void **state)
{
    static const int numbers[] = { SIGUSR1, SIGUSR2 };
    struct loop_signal s;

    (void)state;
    assert_int_equal(loop_signal_init(&s, seen.loop, numbers, ARRAY_LEN(numbers), raised), 0);
    assert_int_equal(kill(getpid(), SIGUSR2), 0);
    turn_until(1);
    assert_int_equal(seen.signal, SIGUSR2);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    turn_until(2);
    assert_int_equal(seen.signal, SIGUSR1);
    loop_signal_done(&s);
    loop_signal_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_watch_says_what_is_ready, setup, teardown),
        cmocka_unit_test_setup_teardown(a_timer_expires_once_and_not_early, setup, teardown),
        cmocka_unit_test_setup_teardown(a_turn_ends_in_time, setup, teardown),
        cmocka_unit_test_setup_teardown(signals_are_taken_on_the_loop, setup, teardown),
    };

    return cmocka_run_group_tests_name("base/loop", tests, NULL, NULL);
}
