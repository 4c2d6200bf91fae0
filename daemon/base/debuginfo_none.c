/* Where the runtime alone is built, without libdw's headers: addresses keep their module and offset. */
#include "daemon/base/debuginfo.h"

#include <stddef.h>

struct debuginfo *debuginfo_new(void)
{
    return NULL;
}

struct debuginfo *debuginfo_free(struct debuginfo *d)
{
    return d;
}

void debuginfo_find(struct debuginfo *d, uintptr_t at, debuginfo_found found, void *arg)
{
    (void)d;
    (void)at;
    (void)found;
    (void)arg;
}
