/*
 * clang: calling function 'naps' requires holding coroutine 'co_inside' exclusively
 */
#include "daemon/co/co.h"

CO_SUSPENDS static int naps(void *arg)
{
    return arg ? co_yield() : co_sleep(1);
}

int misuse(void)
{
    return naps(NULL);
}
