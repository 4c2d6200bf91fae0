/*
 * A stack overflow leaves no stack to report it on: the handler has one of its own. It runs at most
 * once and puts the default action back, so the fault that repeats when it returns ends the process
 * with the core dump it would have left anyway.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/co/runtime.h"

#define FAULT_STACK_SIZE 65536

static void fault_write(const char *text)
{
    (void)!write(STDERR_FILENO, text, strlen(text));
}

static void fault_raised(int number, siginfo_t *info, void *context)
{
    const struct co_loop *l = co_current();

    (void)context;
    if (info->si_code <= 0) { /* sent by somebody: it will not repeat */
        raise(number);
        return;
    }
    if (l && co_stack_guards(&l->stacks, info->si_addr)) {
        fault_write("stack overflow in task ");
        fault_write(l->current->name);
        fault_write("\n");
    }
}

static void fault_stack_init(struct co_loop *l)
{
    stack_t old, own = { .ss_size = FAULT_STACK_SIZE };

    if (sigaltstack(NULL, &old) < 0 || !(old.ss_flags & SS_DISABLE))
        return;
    own.ss_sp = malloc(FAULT_STACK_SIZE);
    if (!own.ss_sp)
        return;
    sigaltstack(&own, NULL);
    l->fault_stack = own.ss_sp;
}

void co_fault_init(struct co_loop *l)
{
    struct sigaction old, own = { .sa_sigaction = fault_raised,
        .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND };

    fault_stack_init(l);
    if (sigaction(SIGSEGV, NULL, &old) < 0 || (old.sa_flags & SA_SIGINFO) ||
            old.sa_handler != SIG_DFL)
        return;
    sigemptyset(&own.sa_mask);
    l->fault_handler = sigaction(SIGSEGV, &own, NULL) == 0;
}

void co_fault_done(struct co_loop *l)
{
    struct sigaction now;

    if (l->fault_handler && sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction == fault_raised)
        signal(SIGSEGV, SIG_DFL);
    if (l->fault_stack)
        sigaltstack(&(stack_t){ .ss_flags = SS_DISABLE }, NULL);
    free(l->fault_stack);
}
