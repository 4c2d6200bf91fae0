/*
 * The change from one stack to another. A parked context is one pointer: where on its own stack
 * the rest of it was saved. Callee-saved registers only: no signal mask, no floating point control
 * words, so code on coroutines must leave fesetround() and the mask alone.
 */
#pragma once

/*
 * A context that calls fn(arg) on a stack that ends below `top` (a multiple of 16) and does not
 * reach below `base`. `fn` must not return.
 */
void *co_switch_make(void *base, void *top, void (*fn)(void *arg), void *arg);
/*
 * Parks the caller, whose context is put into *ret_from, and goes on where `to` was parked: the
 * co_switch() there returns `rc`. A context is gone on with once.
 */
int co_switch(void **ret_from, void *to, int rc);
