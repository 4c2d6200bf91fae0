/*
 * JSON on its way out: jansson's values and their text. A value that is NULL was not made for lack
 * of memory, and what it should have gone into becomes NULL too, so only the end need be checked.
 * Like all of jansson, not for the stack of a coroutine.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/buf.h"

/* Each byte that is no UTF-8 gives place to U+FFFD. */
json_t *shape_string(const char *text, size_t n);
/* NULL is null. */
json_t *shape_text(const char *text);
/* `value` / 1000: microseconds as milliseconds, and the like. */
json_t *shape_thousandths(int64_t value);
/* These take the value over. */
void shape_set(json_t **object, const char *key, json_t *value);
void shape_push(json_t **array, json_t *value);
/* Appends compact text; the value stays the caller's. -ENOMEM. */
int shape_write(const json_t *value, struct buf *out);
/* The same and a line's end; takes the value over. */
int shape_write_line(json_t *value, struct buf *out);
