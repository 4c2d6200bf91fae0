/*
 * clang: calling function 'co_yield' requires holding coroutine 'co_inside' exclusively
 */
#include "daemon/co/co.h"

static void ended(struct co_hook *h, int result)
{
    (void)h;
    if (result < 0)
        co_yield();
}

int misuse(struct co_task t, struct co_hook *h)
{
    h->ended = ended;
    return co_on_done(t, h);
}
