/* Each jump of the wall clock is told of, and nothing else wakes the loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/clock_watch.h"

#define A_WHILE_US 2000
#define HOUR_US    (3600 * CLOCK_US_PER_S)

/* With `injected` set, the kernel's timer is a descriptor that the test makes readable. */
static struct {
    struct loop *loop;
    struct clock_watch watch;
    int jumps;
    int injected; /* -1: the kernel's own */
    int error;    /* of timerfd_settime() */
    int closed;
} seen;

int __real_timerfd_create(clockid_t clock, int flags);
int __wrap_timerfd_create(clockid_t clock, int flags);
int __real_timerfd_settime(
        int fd, int flags, const struct itimerspec *fresh, struct itimerspec *old);
int __wrap_timerfd_settime(
        int fd, int flags, const struct itimerspec *fresh, struct itimerspec *old);
ssize_t __real_read(int fd, void *data, size_t n);
ssize_t __wrap_read(int fd, void *data, size_t n);
int __real_close(int fd);
int __wrap_close(int fd);

int __wrap_timerfd_create(clockid_t clock, int flags)
{
    assert_int_equal(clock, CLOCK_REALTIME);
    return seen.injected >= 0 ? seen.injected : __real_timerfd_create(clock, flags);
}

int __wrap_timerfd_settime(
        int fd, int flags, const struct itimerspec *fresh, struct itimerspec *old)
{
    assert_int_equal(flags, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET);
    assert_true(fresh->it_value.tv_sec > 4102444800); /* 2100 */
    errno = seen.error;
    if (seen.error)
        return -1;
    return fd == seen.injected ? 0 : __real_timerfd_settime(fd, flags, fresh, old);
}

ssize_t __wrap_read(int fd, void *data, size_t n)
{
    ssize_t got = __real_read(fd, data, n);

    if (fd != seen.injected || got < 0)
        return got;
    errno = ECANCELED;
    return -1;
}

int __wrap_close(int fd)
{
    seen.closed += fd == seen.injected;
    return __real_close(fd);
}

static void note_jump(struct clock_watch *w)
{
    assert_ptr_equal(w, &seen.watch);
    seen.jumps++;
}

static int setup(void **state)
{
    (void)state;
    seen = (__typeof__(seen)){ .injected = -1 };
    return loop_new(&seen.loop);
}

static int setup_injected(void **state)
{
    int rc = setup(state);

    seen.injected = eventfd(0, EFD_NONBLOCK);
    return rc < 0 || seen.injected < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_watch_done(&seen.watch);
    clock_watch_done(&seen.watch);
    loop_free(seen.loop);
    return 0;
}

static void each_jump_is_told_of(void **state)
{
    (void)state;
    assert_int_equal(clock_watch_init(&seen.watch, seen.loop, note_jump), 0);
    assert_int_equal(loop_turn(seen.loop, A_WHILE_US), 0);
    assert_int_equal(seen.jumps, 0);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(eventfd_write(seen.injected, 1), 0);
        assert_int_equal(loop_turn(seen.loop, -1), 0);
        assert_int_equal(seen.jumps, i);
        assert_int_equal(loop_turn(seen.loop, A_WHILE_US), 0);
        assert_int_equal(seen.jumps, i);
    }
    clock_watch_done(&seen.watch);
    assert_int_equal(seen.closed, 1);
}

static void a_failure_leaves_nothing_behind(void **state)
{
    (void)state;
    seen.error = ENOSYS;
    assert_int_equal(clock_watch_init(&seen.watch, seen.loop, note_jump), -ENOSYS);
    assert_int_equal(seen.closed, 1);
    assert_null(seen.watch.watch.loop);
}

/* The wall clock goes by one nanosecond: a jump for the kernel, and for nobody else. */
static int nudge(long ns)
{
    struct timex t = { .modes = ADJ_SETOFFSET | ADJ_NANO };

    t.time.tv_sec = ns < 0 ? -1 : 0;
    t.time.tv_usec = ns < 0 ? 1000000000 + ns : ns;
    return clock_adjtime(CLOCK_REALTIME, &t) < 0 ? -errno : 0;
}

/* Somebody else may make it jump, too. */
static void the_kernel_tells_of_each_jump(void **state)
{
    int jumps;

    (void)state;
    assert_int_equal(clock_watch_init(&seen.watch, seen.loop, note_jump), 0);
    if (nudge(1) < 0)
        skip();
    while (seen.jumps == 0)
        assert_int_equal(loop_turn(seen.loop, -1), 0);
    assert_int_equal(nudge(-1), 0);
    for (jumps = seen.jumps; seen.jumps == jumps;)
        assert_int_equal(loop_turn(seen.loop, -1), 0);
}

/* Daemon time stays where it is while the wall clock goes elsewhere. */
static void the_wall_clock_is_ahead_by_what_it_jumped(void **state)
{
    struct clock c = clock_start();
    int64_t ahead_us = clock_wall_ahead_us(&c);

    (void)state;
    assert_in_range(ahead_us + CLOCK_US_PER_S, 0, 2 * CLOCK_US_PER_S);
    c.offset_us -= HOUR_US;
    ahead_us = clock_wall_ahead_us(&c);
    assert_in_range(ahead_us, HOUR_US - CLOCK_US_PER_S, HOUR_US + CLOCK_US_PER_S);
    c.offset_us += 2 * HOUR_US;
    ahead_us = clock_wall_ahead_us(&c);
    assert_in_range(-ahead_us, HOUR_US - CLOCK_US_PER_S, HOUR_US + CLOCK_US_PER_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_jump_is_told_of, setup_injected, teardown),
        cmocka_unit_test_setup_teardown(a_failure_leaves_nothing_behind, setup_injected, teardown),
        cmocka_unit_test_setup_teardown(the_kernel_tells_of_each_jump, setup, teardown),
        cmocka_unit_test(the_wall_clock_is_ahead_by_what_it_jumped),
    };

    return cmocka_run_group_tests_name("base/clock_watch", tests, NULL, NULL);
}
