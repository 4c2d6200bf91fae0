/*
 * The query of a request, and Prefer. The readers of single parameters add to request->faults what
 * is wrong with them; query_is_bad() then answers for all.
 */
#pragma once

#include "api/request.h"

/* The first of that name, or NULL. */
const char *query_parameter(const struct request *r, const char *name);
/* Lists what is not in `allowed` (NULL-terminated) and what came twice. */
void query_check(struct request *r, const char *const *allowed);
/* After all parameters were read: true when one of them is wrong, and then the reply says so. */
bool query_is_bad(const struct request *r, struct reply *reply);
/*
 * How long the client wants to wait: ?wait= or Prefer: wait=N (RFC 7240), capped by the options;
 * 0: not at all. *ret_preferred: by Prefer, so Preference-Applied is due.
 */
void query_wait_time(struct request *r, int64_t *ret_us, bool *ret_preferred);
/* True for "true" or "1"; false for "false", "0" and when it is not given. */
bool query_flag(struct request *r, const char *name);
/* ?limit= from 1 to `most`. */
size_t query_limit(struct request *r, size_t usual, size_t most);
/* ?cursor= of an earlier answer; 0 without one. */
int64_t query_cursor(struct request *r);
#define QUERY_CURSOR_SIZE 24
void query_format_cursor(int64_t from, char text[QUERY_CURSOR_SIZE]);
/* Appends Link: rel="next", this request's target with the cursor. -ENOMEM. */
int query_link_next(const struct request *r, const char *cursor, struct reply *reply);
