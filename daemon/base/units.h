/* Durations and sizes as people write them. */
#pragma once

#include <stdint.h>

#define UNITS_TEXT_SIZE 32

/* "250ms" "10s" "1.5s" "5min" "2h" "7d" to microseconds. -EINVAL, -ERANGE past 64 bits. */
int units_parse_duration(const char *text, int64_t *ret_us);
/* "512B" "64KiB" "8MiB" "1GiB" "2TiB" to bytes. -EINVAL, -ERANGE past 64 bits. */
int units_parse_bytes(const char *text, int64_t *ret_bytes);
/* In the greatest unit that loses nothing, so that the parsers read the same value again. */
void units_format_duration(int64_t us, char text[UNITS_TEXT_SIZE]);
void units_format_bytes(int64_t bytes, char text[UNITS_TEXT_SIZE]);
