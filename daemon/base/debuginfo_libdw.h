/*
 * What libdw knows of this process, for a process that may die of it: without memory libdw exits or
 * crashes, in its own code and in that of what it loads. Nothing is ever given back.
 */
#pragma once

#include "daemon/base/debuginfo.h"

struct debuginfo_libdw;

/* NULL: the library is not there, or it could not read which modules are mapped. */
struct debuginfo_libdw *debuginfo_libdw_open(void);
/* As debuginfo_find(). */
void debuginfo_libdw_find(
        struct debuginfo_libdw *d, uintptr_t at, debuginfo_found found, void *arg);
