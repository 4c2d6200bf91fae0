/*
 * gcc: '_Generic' selector of type 'void \*' is not compatible with any association
 * clang: controlling expression type 'void \*' not compatible with any generic association type
 */
#include "daemon/co/co.h"

CO_SUSPENDS int misuse(void *task, int *ret_result)
{
    return co_await(task, ret_result);
}
