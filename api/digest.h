/* SHA-256 (FIPS 180-4), from libcrypto. Not for the stack of a coroutine. */
#pragma once

#include <stddef.h>

#define DIGEST_BYTES 32

/* -ENOMEM. */
int digest_sha256(const void *data, size_t n, unsigned char ret[DIGEST_BYTES]);
