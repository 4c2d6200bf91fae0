/*
 * The change from one stack to another. A parked context is one pointer: where on its own stack
 * the rest of it was saved. Callee-saved registers only: no signal mask, no floating point control
 * words, so code on coroutines must leave fesetround() and the mask alone.
 */
#pragma once

#include <stdint.h>
#ifdef CO_SWITCH_UCONTEXT
#include <ucontext.h>
#endif

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

/* Where a parked context goes on, and its frame there: both words at `fp` are the next such pair, fp and pc. */
static inline void co_switch_place(const void *context, uintptr_t *ret_pc, uintptr_t *ret_fp)
{
#ifdef CO_SWITCH_UCONTEXT
    const ucontext_t *u = context;

#if defined __x86_64__
    *ret_pc = (uintptr_t)u->uc_mcontext.gregs[REG_RIP];
    *ret_fp = (uintptr_t)u->uc_mcontext.gregs[REG_RBP];
#elif defined __aarch64__
    *ret_pc = u->uc_mcontext.pc;
    *ret_fp = u->uc_mcontext.regs[29];
#else
    (void)u;
    *ret_pc = *ret_fp = 0;
#endif
#else
    const uintptr_t *saved = context;

#if defined __x86_64__
    *ret_pc = saved[6];
    *ret_fp = saved[5];
#else
    *ret_pc = saved[11];
    *ret_fp = saved[10];
#endif
#endif
}
