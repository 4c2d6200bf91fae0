/* Content negotiation by the Accept header (RFC 9110 section 12.5.1). Pure. */
#pragma once

#include <stdbool.h>

/* Whether `type` is wanted rather than `usual`, both as "text/plain". `accept` NULL: no such header. */
bool accept_prefers(const char *accept, const char *type, const char *usual);
