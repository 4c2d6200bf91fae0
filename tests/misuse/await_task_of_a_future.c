/*
 * gcc: incompatible type for argument 1 of 'co_await_task'
 * clang: passing 'struct co_future' to parameter of incompatible type 'struct co_task'
 */
#include "daemon/co/co.h"

CO_SUSPENDS int misuse(struct co_future f, int *ret_result)
{
    return co_await_task(f, ret_result);
}
