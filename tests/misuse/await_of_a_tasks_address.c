/*
 * gcc: '_Generic' selector of type 'struct co_task \*' is not compatible with any association
 * clang: controlling expression type 'struct co_task \*' not compatible
 */
#include "daemon/co/co.h"

CO_SUSPENDS int misuse(struct co_task t, int *ret_result)
{
    return co_await(&t, ret_result);
}
