/*
 * What return addresses of this process are called. libdw, which a process of its own loads, need not
 * be there: addresses then keep their module and offset. Files only, never the network.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"

struct symbols;

/*
 * Starts a process that reads debug information, by fork(); that has a few MB while `s` lives.
 * Used by one thread at a time, on a large stack, from symbols_new() on; each may have its own. -ENOMEM.
 */
int symbols_new(struct symbols **ret);
/* NULL. */
struct symbols *symbols_free(struct symbols *s);
CLEANUP_DEFINE(struct symbols, symbols_free, symbols_freep)
/*
 * The functions at a return address, innermost first: those that were inlined, and the one that they
 * are in. Each is "function (file.c:123)", or without debug information one of "function+0x12" and
 * "module+0x123". At least one; valid as long as `s`. 0 is -ENOMEM.
 */
size_t symbols_find(struct symbols *s, uintptr_t address, char *const **ret);
