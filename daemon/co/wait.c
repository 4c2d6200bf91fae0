#include "daemon/co/wait.h"

#include <errno.h>

#include "daemon/base/clock.h"
#include "daemon/co/ready.h"

int co_yield(void)
{
    struct fiber *f = fiber_self();
    int rc = fiber_check(f);

    return rc < 0 ? rc : fiber_yield(f);
}

/* A sleep is a scope that nothing but its deadline ends well. */
static int wait_until(int64_t deadline_ns)
{
    struct co_scope s;
    struct fiber *f = fiber_self();
    int rc = fiber_check(f);

    if (rc < 0)
        return rc;
    rc = co_scope_enter(&s, f, deadline_ns, 0);
    if (rc == 0)
        rc = fiber_park(f, false);
    rc = co_scope_close(&s, rc);
    return rc == -ETIMEDOUT ? 0 : rc;
}

int co_sleep(int64_t ns)
{
    int64_t deadline_ns;

    if (ns <= 0)
        return co_yield();
    if (__builtin_add_overflow(clock_mono_ns(), ns, &deadline_ns))
        deadline_ns = CO_NEVER;
    return wait_until(deadline_ns);
}

int co_sleep_until(int64_t deadline_ns)
{
    return deadline_ns <= clock_mono_ns() ? co_yield() : wait_until(deadline_ns);
}
