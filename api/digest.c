#include "api/digest.h"

#include <errno.h>
#include <openssl/evp.h>

int digest_sha256(const void *data, size_t n, unsigned char ret[DIGEST_BYTES])
{
    return EVP_Digest(data, n, ret, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}
