/*
 * clang: calling function 'co_await_task' requires holding coroutine 'co_inside' exclusively
 */
#include "daemon/co/co.h"

int misuse(struct co_task t, int *ret_result)
{
    return co_await(t, ret_result);
}
