#include "api/base64.h"

#include <errno.h>
#include <stdint.h>

int base64_encode(const void *data, size_t n, struct buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = data;
    char *to;
    int rc = buf_reserve(out, (n + 2) / 3 * 4);

    if (rc < 0 || n == 0)
        return rc;
    to = out->data + out->n;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t three = (uint32_t)p[i] << 16 | (uint32_t)(left > 1 ? p[i + 1] : 0) << 8 |
                         (left > 2 ? p[i + 2] : 0);

        *to++ = digits[three >> 18];
        *to++ = digits[three >> 12 & 63];
        *to++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[three & 63] : '=';
    }
    out->n = (size_t)(to - out->data);
    return 0;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(const char *text, size_t n, struct buf *out)
{
    size_t padding = n > 0 && text[n - 1] == '=' ? 1 + (n > 1 && text[n - 2] == '=') : 0;
    size_t digits = n - padding;
    uint32_t bits = 0;
    unsigned n_bits = 0;
    char *to;
    int rc;

    if (n % 4 != 0)
        return -EINVAL;
    rc = buf_reserve(out, n / 4 * 3);
    if (rc < 0 || n == 0)
        return rc;
    to = out->data + out->n;
    for (size_t i = 0; i < digits; i++) {
        int value = base64_value(text[i]);

        if (value < 0)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)value;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            *to++ = (char)(bits >> n_bits);
            bits &= (1U << n_bits) - 1;
        }
    }
    if (bits != 0)
        return -EINVAL;
    out->n = (size_t)(to - out->data);
    return 0;
}
