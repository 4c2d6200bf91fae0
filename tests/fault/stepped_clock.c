/*
 * Preloaded into the daemon: a wall clock that the test steps through a file that both map, as
 * setting the time would, with timerfds that are cancelled by it. All other clocks are true. What is
 * in that file is one int64_t: nanoseconds that the wall clock is ahead.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000
#define LOOK_NS  (5 * 1000000)

static atomic_int_least64_t *ahead_ns; /* NULL: no clock of the test */
static atomic_int watched_fd = -1;     /* the timerfd that a step cancels */
static atomic_int cancelled;           /* it was, and nobody has read that yet */

static void __attribute__((constructor)) stepped_clock_open(void)
{
    const char *path = getenv("BAEDAL_TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *at;

    if (fd < 0)
        return;
    at = mmap(NULL, sizeof(*ahead_ns), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        ahead_ns = at;
}

int clock_gettime(clockid_t id, struct timespec *ret)
{
    static __typeof__(&clock_gettime) next;
    int64_t ns;
    int rc;

    if (!next)
        next = (__typeof__(&clock_gettime))dlsym(RTLD_NEXT, "clock_gettime");
    rc = next(id, ret);
    if (rc != 0 || !ahead_ns || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
        return rc;
    ns = (int64_t)ret->tv_sec * NS_PER_S + ret->tv_nsec + atomic_load(ahead_ns);
    *ret = (struct timespec){ ns / NS_PER_S, ns % NS_PER_S };
    return 0;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *ret = (struct timeval){ now.tv_sec, now.tv_nsec / 1000 };
    return 0;
}

time_t time(time_t *ret)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (ret)
        *ret = now.tv_sec;
    return now.tv_sec;
}

/* Has the watched timerfd become readable at each step of the clock. */
static void *watch(void *arg)
{
    static const struct itimerspec at_once = { .it_value = { 0, 1 } };
    const struct timespec look = { 0, LOOK_NS };
    int64_t known = atomic_load(ahead_ns);

    for (;;) {
        int64_t now = atomic_load(ahead_ns);

        if (now != known) {
            known = now;
            atomic_store(&cancelled, 1);
            syscall(SYS_timerfd_settime, atomic_load(&watched_fd), 0, &at_once, NULL);
        }
        nanosleep(&look, NULL);
    }
    return arg;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
    pthread_t thread;

    if (ahead_ns && flags & TFD_TIMER_CANCEL_ON_SET && atomic_exchange(&watched_fd, fd) < 0 &&
            pthread_create(&thread, NULL, watch, NULL) == 0)
        pthread_detach(thread);
    return (int)syscall(SYS_timerfd_settime, fd, flags, new, old);
}

ssize_t read(int fd, void *ret, size_t size)
{
    ssize_t n = syscall(SYS_read, fd, ret, size);

    if (fd != atomic_load(&watched_fd) || !atomic_exchange(&cancelled, 0))
        return n;
    errno = ECANCELED;
    return -1;
}
