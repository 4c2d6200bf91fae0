/*
 * gcc: incompatible type for argument 1 of 'co_future_set'
 * clang: passing 'struct co_task' to parameter of incompatible type 'struct co_future'
 */
#include "daemon/co/co.h"

int misuse(struct co_task t)
{
    return co_future_set(t, 1);
}
