/*
 * gcc: passing argument 1 of 'co_gather' from incompatible pointer type
 * clang: incompatible pointer types passing 'struct co_future \*' to parameter of type
 */
#include "daemon/co/co.h"

CO_SUSPENDS int misuse(struct co_future *futures, size_t n)
{
    return co_gather(futures, n, NULL, 0);
}
