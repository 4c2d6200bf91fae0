/*
 * Lists as one versioned blob: what the store keeps in a column and the daemon keeps in memory.
 * A blob that this version did not write is refused when it is read (-EBADMSG), never guessed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Owned bytes; `{0}` is none. */
struct blob {
    char *data;
    size_t n;
};

void blob_done(struct blob *b);
/* A copy; `{0}` stays so. -ENOMEM. */
int blob_copy(const void *data, size_t n, struct blob *ret);
/* For one that grows: `data` gets room for `more` bytes behind `n`. `*room` is how many it has in
 * all, 0 while there are none. -ENOMEM. */
int blob_reserve(struct blob *b, size_t *room, size_t more);

/* Headers: a version byte, then name NUL value NUL for each. Names are lower case. */
int pack_header(struct blob *headers, const char *name, const char *value);
/* The same for one of many: see blob_reserve(). */
int pack_header_n(struct blob *headers, size_t *room, const char *name, size_t n_name,
        const char *value, size_t n_value);
/* Walks a packed list: *at starts as 0; true while *ret_name and *ret_value were set. */
_Bool pack_header_next(
        const struct blob *headers, size_t *at, const char **ret_name, const char **ret_value);
/* The first value of `name` (lower case), or NULL. */
const char *pack_header_find(const struct blob *headers, const char *name);
/* Checks a blob that comes from outside the process. */
int pack_headers_check(const struct blob *headers);

/* The statuses that a job calls success. */
#define STATUS_RANGES_MAX 8
struct status_ranges {
    unsigned n;
    struct {
        uint16_t first, last;
    } range[STATUS_RANGES_MAX];
};

_Bool status_ranges_has(const struct status_ranges *s, unsigned status);
int pack_status_ranges(const struct status_ranges *s, struct blob *ret);
int unpack_status_ranges(const void *data, size_t n, struct status_ranges *ret);
