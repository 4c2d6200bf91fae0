/*
 * Writes compact JSON text, value by value, into a buffer. Strings that are no UTF-8 get U+FFFD in
 * the place of each bad byte. The first error sticks in `rc`; the calls after it do nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/buf.h"

struct writer {
    struct buf *out;
    bool comma; /* the next value or key follows another */
    int rc;     /* 0 or -ENOMEM */
};

static inline struct writer writer_to(struct buf *out)
{
    return (struct writer){ .out = out };
}

/* One of { [ ] }. */
void writer_open(struct writer *w, char bracket);
void writer_close(struct writer *w, char bracket);
void writer_key(struct writer *w, const char *key);
void writer_null(struct writer *w);
void writer_bool(struct writer *w, bool value);
void writer_int(struct writer *w, int64_t value);
/* `value` / 1000 with three decimals at most: microseconds as milliseconds, and the like. */
void writer_thousandths(struct writer *w, int64_t value);
void writer_string(struct writer *w, const char *text, size_t n);
/* NULL is null. */
void writer_text(struct writer *w, const char *text);
