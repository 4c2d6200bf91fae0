/* Where a parked task is. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct fiber;

/*
 * Return addresses, innermost first, of the program's frames: those of the suspending call, and
 * what is below the task's body, are left out. `f` is not running. How many were written, at least 1:
 * the body itself, as if it had just been called, when it has no frame, as before it has begun.
 */
unsigned co_backtrace(const struct fiber *f, uintptr_t *ret, unsigned max);
