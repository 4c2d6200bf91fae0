/*
 * Functions and lines from debug information and symbol tables: of this process, from files only,
 * never from the network.
 */
#pragma once

#include <stdint.h>

struct debuginfo;

/* One function; `file` NULL: it is not known, and `function` has an offset. */
typedef void (*debuginfo_found)(void *arg, const char *function, const char *file, int line);

/*
 * Starts a process that reads, a copy of this one. NULL: this was built without who could read, or
 * there is no memory. Whatever happens to the reader, nothing is found any more then.
 */
struct debuginfo *debuginfo_new(void);
/* Ends the reader. Takes NULL. */
struct debuginfo *debuginfo_free(struct debuginfo *d);
/*
 * Calls found() for the function that the address is in, and before it for those that were inlined
 * there, innermost first; not at all when nothing is known of it. Blocks. Needs a large stack
 * where debuginfo_new() is called: the reader goes on upon a copy of it.
 */
void debuginfo_find(struct debuginfo *d, uintptr_t at, debuginfo_found found, void *arg);
