/* A growable run of bytes. `{0}` is an empty one. Every append may say -ENOMEM and then adds nothing. */
#pragma once

#include <stddef.h>

struct buf {
    char *data; /* NULL while empty */
    size_t n, capacity;
};

void buf_done(struct buf *b);
/* Room for `more` bytes behind the end: data + n may be written up to that many, then n raised. */
int buf_reserve(struct buf *b, size_t more);
int buf_append(struct buf *b, const void *data, size_t n);
int buf_append_str(struct buf *b, const char *s);
__attribute__((format(printf, 2, 3))) int buf_printf(struct buf *b, const char *format, ...);
/* Drops the first `n` bytes. */
void buf_consume(struct buf *b, size_t n);
