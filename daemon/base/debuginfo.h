/*
 * Functions and lines from debug information and symbol tables: of this process, from files only,
 * never from the network.
 */
#pragma once

#include <stdint.h>

struct debuginfo;

/* One function; `file` NULL: it is not known, and `function` has an offset. */
typedef void (*debuginfo_found)(void *arg, const char *function, const char *file, int line);

/* Reads which modules are mapped. NULL: there is nobody who could read more, or no memory. */
struct debuginfo *debuginfo_new(void);
/* Takes NULL. */
struct debuginfo *debuginfo_free(struct debuginfo *d);
/*
 * Calls found() for the function that the address is in, and before it for those that were inlined
 * there, innermost first; not at all when nothing is known of it. Needs a large stack.
 */
void debuginfo_find(struct debuginfo *d, uintptr_t at, debuginfo_found found, void *arg);
