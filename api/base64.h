/* Base64 with padding (RFC 4648 section 4), strict: no line breaks, no bits left over. */
#pragma once

#include <stddef.h>

#include "daemon/base/buf.h"

/* Appends the text of `n` bytes. -ENOMEM. */
int base64_encode(const void *data, size_t n, struct buf *out);
/* Appends the bytes of the text. -EINVAL, then nothing was added; -ENOMEM. */
int base64_decode(const char *text, size_t n, struct buf *out);
