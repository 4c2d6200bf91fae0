/* The header of an answer, line by line as libcurl hands it over. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct flight;

#define HEAD_MAX_BYTES 65536
#define HEAD_MAX_LINES 128

/* False: the record says why the exchange must stop. */
bool head_take(struct flight *f, const char *line, size_t n);
