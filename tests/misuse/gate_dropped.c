/*
 * Whether there is a permit is not known then.
 *
 * gcc: ignoring return value of 'co_gate_enter' declared with attribute 'warn_unused_result'
 * clang: ignoring return value of function declared with 'warn_unused_result' attribute
 */
#include "daemon/co/co.h"

CO_SUSPENDS void misuse(struct co_gate *g)
{
    co_gate_enter(g);
    co_gate_leave(g);
}
