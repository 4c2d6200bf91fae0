#include "daemon/base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_done(struct buf *b)
{
    free(b->data);
    *b = (struct buf){ 0 };
}

int buf_reserve(struct buf *b, size_t more)
{
    size_t need = b->n + more, capacity = b->capacity ? b->capacity : 64;
    char *data;

    if (need < more)
        return -ENOMEM;
    if (need <= b->capacity)
        return 0;
    while (capacity < need)
        capacity = capacity < 1 << 20 ? capacity * 2 : capacity + capacity / 2;
    data = realloc(b->data, capacity);
    if (!data)
        return -ENOMEM;
    b->data = data;
    b->capacity = capacity;
    return 0;
}

int buf_append(struct buf *b, const void *data, size_t n)
{
    int rc = buf_reserve(b, n);

    if (rc < 0)
        return rc;
    if (n > 0)
        memcpy(b->data + b->n, data, n);
    b->n += n;
    return 0;
}

int buf_append_str(struct buf *b, const char *s)
{
    return buf_append(b, s, strlen(s));
}

int buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    int n, rc;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        return -EINVAL;
    rc = buf_reserve(b, (size_t)n + 1);
    if (rc < 0)
        return rc;
    va_start(args, format);
    vsnprintf(b->data + b->n, (size_t)n + 1, format, args);
    va_end(args);
    b->n += (size_t)n;
    return 0;
}

void buf_consume(struct buf *b, size_t n)
{
    if (n < b->n)
        memmove(b->data, b->data + n, b->n - n);
    b->n -= n;
}
