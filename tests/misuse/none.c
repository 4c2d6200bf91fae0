/*
 * Everything that the others get wrong, and right here.
 *
 * compiles
 */
#include "daemon/co/co.h"

CO_SUSPENDS static int naps(void *arg)
{
    return arg ? co_yield() : co_sleep(1);
}

static void ended(struct co_hook *h, int result)
{
    h->ended = result < 0 ? NULL : ended;
}

CO_SUSPENDS static int spawn_and_await(struct co_hook *h, int *ret_result)
{
    struct co_task t;
    int rc = co_spawn("naps", naps, NULL, &t);

    if (rc < 0)
        return rc;
    h->ended = ended;
    rc = co_on_done(t, h);
    return rc < 0 ? rc : co_await(t, ret_result);
}

CO_SUSPENDS static int set_and_await(int *ret_result)
{
    struct co_future f;
    int rc = co_future_new(&f);

    if (rc < 0)
        return rc;
    rc = co_future_set(f, 1);
    if (rc == 0)
        rc = co_await(f, ret_result);
    co_future_drop(f);
    return rc;
}

CO_SUSPENDS static int all(void *arg)
{
    struct co_hook h;
    int result, rc = spawn_and_await(&h, &result);

    if (rc == 0)
        rc = set_and_await(&result);
    return rc == 0 ? naps(arg) : rc;
}

int main(void)
{
    return co_run(NULL, NULL, all, NULL) < 0;
}
