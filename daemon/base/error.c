#include "daemon/base/error.h"

#include <stdarg.h>
#include <stdio.h>

int error_set(struct error *e, int rc, const char *format, ...)
{
    va_list args;

    if (!e)
        return rc;

    va_start(args, format);
    vsnprintf(e->text, sizeof(e->text), format, args);
    va_end(args);
    return rc;
}
