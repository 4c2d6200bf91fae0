/*
 * The colour of functions that suspend: CO_SUSPENDS before the declaration of each, and of each
 * function that calls one. clang -Wthread-safety reports plain code that does so; it can't see
 * through function pointers. To other compilers it is a word for people.
 */
#pragma once

#ifdef __clang__
extern struct __attribute__((capability("coroutine"))) co_colour {
    char none;
} co_inside;
#define CO_SUSPENDS __attribute__((requires_capability(co_inside)))
#else
#define CO_SUSPENDS
#endif
