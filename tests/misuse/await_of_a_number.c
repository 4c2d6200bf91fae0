/*
 * gcc: '_Generic' selector of type 'int' is not compatible with any association
 * clang: controlling expression type 'int' not compatible with any generic association type
 */
#include "daemon/co/co.h"

CO_SUSPENDS int misuse(int *ret_result)
{
    return co_await(42, ret_result);
}
