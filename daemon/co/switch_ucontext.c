/* co_switch() where there is no assembly for it: two system calls a switch, for the signal mask. */
#include "daemon/co/switch.h"

#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

struct context {
    ucontext_t ucontext;
    int rc; /* that it goes on with */
};

/* makecontext(3) passes ints only. */
static void co_switch_entry(unsigned fn_high, unsigned fn_low, unsigned arg_high, unsigned arg_low)
{
    uint64_t fn = (uint64_t)fn_high << 32 | fn_low, arg = (uint64_t)arg_high << 32 | arg_low;

    ((void (*)(void *))(uintptr_t)fn)((void *)(uintptr_t)arg);
    __builtin_trap();
}

void *co_switch_make(void *base, void *top, void (*fn)(void *arg), void *arg)
{
    uintptr_t place = ((uintptr_t)top - sizeof(struct context)) & ~(uintptr_t)63;
    uint64_t f = (uintptr_t)fn, a = (uintptr_t)arg;
    struct context *context = (struct context *)place;
    ucontext_t *u = &context->ucontext;

    getcontext(u);
    u->uc_link = NULL;
    u->uc_stack.ss_sp = base;
    u->uc_stack.ss_size = place - (uintptr_t)base;
    makecontext(u, (void (*)(void))co_switch_entry, 4, (unsigned)(f >> 32), (unsigned)f,
            (unsigned)(a >> 32), (unsigned)a);
    return context;
}

int co_switch(void **ret_from, void *to, int rc)
{
    struct context here = { 0 };
    struct context *there = to;

    *ret_from = &here;
    there->rc = rc;
    swapcontext(&here.ucontext, &there->ucontext);
    return here.rc;
}
