/*
 * Switches through pointers, in memory where a branch may only go to a landing pad: the linker is told
 * to mark the program with BTI, which qemu-user obeys. No libc: Debian 12's has no landing pads. Exits
 * with 0; without a pad, SIGILL.
 */
#include "daemon/co/switch.h"

#define STACK_SIZE 65536

void begin(void) __attribute__((noreturn));

static char stack[STACK_SIZE] __attribute__((aligned(16)));
static void *home, *side;
static int (*volatile change)(void **ret_from, void *to, int rc) = co_switch;
static void *(*volatile make)(
        void *base, void *top, void (*fn)(void *arg), void *arg) = co_switch_make;

__asm__(".globl _start\n"
        "_start:\n"
        "        hint    #34\n" /* bti c */
        "        mov     x29, #0\n"
        "        bl      begin\n");

static void go_back(void *arg)
{
    for (;;)
        change(&side, home, *(int *)arg);
}

static void end(int status)
{
    register long result __asm__("x0") = status;
    register long number __asm__("x8") = 93; /* exit */

    __asm__ volatile("svc #0" : : "r"(result), "r"(number));
}

void begin(void)
{
    int value = 42;

    side = make(stack, stack + STACK_SIZE, go_back, &value);
    end(change(&home, side, 0) != 42 || change(&home, side, 0) != 42);
    __builtin_trap();
}
