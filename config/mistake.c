#include "config/mistake.h"

#include <stdarg.h>

void mistake_at(struct mistakes *m, const char *file, unsigned line, const char *format, ...)
{
    va_list args;

    m->n++;
    if (line)
        fprintf(m->out, "%s:%u: ", file, line);
    else
        fprintf(m->out, "%s: ", file);
    va_start(args, format);
    vfprintf(m->out, format, args);
    va_end(args);
    fputc('\n', m->out);
}
