/*
 * The small grammars of the API: durations, sizes, statuses, tokens. Pure; they come from JSON, from
 * query parameters and from request headers alike.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ten years: every duration of a job fits daemon time with room to spare. */
#define FIELD_DURATION_MAX_US (3650LL * 86400 * 1000000)
#define FIELD_SIZE_MAX        (1LL << 50)

/*
 * "250ms", "10s", "5min", "2h", "1d", "500us", or a bare number of seconds; a decimal fraction is
 * allowed. -EINVAL, -ERANGE past FIELD_DURATION_MAX_US.
 */
int field_duration(const char *text, int64_t *ret_us);
/* The same from a JSON number of seconds. */
int field_duration_seconds(double seconds, int64_t *ret_us);
/* Bytes, or with B, KiB, MiB, GiB. -EINVAL, -ERANGE past FIELD_SIZE_MAX. */
int field_size(const char *text, int64_t *ret_bytes);
/* Decimal digits only. -EINVAL, -ERANGE past `max`. */
int field_unsigned(const char *text, uint64_t max, uint64_t *ret);
/* "2xx", "404", "200-204". -EINVAL. */
int field_status_range(const char *text, uint16_t *ret_first, uint16_t *ret_last);

/* RFC 9110 section 5.6.2; not empty. */
bool field_is_token(const char *text, size_t n);
/* RFC 9110 section 5.5: no control characters but the tab. */
bool field_is_header_value(const char *text, size_t n);
/* No control characters at all. */
bool field_is_plain(const char *text);
/* UTF-8 without NUL. */
bool field_is_utf8_text(const char *text, size_t n);
/* The length of the well-formed UTF-8 sequence at `text` (RFC 3629); 0: there is none. */
size_t field_utf8_length(const unsigned char *text, size_t n);
/* Headers that the daemon sets itself and a job may not (name in lower case). */
bool field_header_is_owned(const char *name);
/* Request headers whose values are not shown (name in lower case). */
bool field_header_is_secret(const char *name);
