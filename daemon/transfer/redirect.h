/* Where a Location leads. */
#pragma once

/*
 * `reference` of RFC 3986 resolved against the canonical URL `base` (section 5.2). One that can't
 * be resolved is given back as it is. Owned; NULL: no memory.
 */
char *redirect_resolve(const char *base, const char *reference);
