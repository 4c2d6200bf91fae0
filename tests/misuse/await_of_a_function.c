/*
 * Somebody forgot to spawn.
 *
 * gcc: '_Generic' selector of type 'int \(\*\)\(void \*\)' is not compatible with any association
 * clang: controlling expression type 'co_fn' \(aka 'int \(\*\)\(void \*\)'\) not compatible
 */
#include "daemon/co/co.h"

CO_SUSPENDS int misuse(co_fn work, int *ret_result)
{
    return co_await(work, ret_result);
}
