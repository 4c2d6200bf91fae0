/*
 * clang: calling function 'co_sleep' requires holding coroutine 'co_inside' exclusively
 */
#include "daemon/co/co.h"

int misuse(void)
{
    return co_sleep(1);
}
