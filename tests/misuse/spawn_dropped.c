/*
 * gcc: ignoring return value of 'co_spawn' declared with attribute 'warn_unused_result'
 * clang: ignoring return value of function declared with 'warn_unused_result' attribute
 */
#include "daemon/co/co.h"

struct co_task misuse(co_fn work)
{
    struct co_task t = { 0 };

    co_spawn("work", work, NULL, &t);
    return t;
}
