#include "daemon/transfer/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/transfer/address.h"

#define NAME_BYTES "abcdefghijklmnopqrstuvwxyz0123456789-._"
#define V6_BYTES   "0123456789abcdef:."

int target_parse(const char *url, struct target *ret)
{
    struct target t = { .https = strncmp(url, "https://", 8) == 0 };
    const char *host = url + (t.https ? 8 : 7), *after;
    union address address;
    unsigned long port;
    bool v6;
    char *end;
    size_t n;

    if (!t.https && strncmp(url, "http://", 7) != 0)
        return -EINVAL;
    v6 = *host == '[';
    host += v6;
    n = strspn(host, v6 ? V6_BYTES : NAME_BYTES);
    if (n == 0 || n >= sizeof(t.host) || (v6 && host[n] != ']'))
        return -EINVAL;
    memcpy(t.host, host, n);
    after = host + n + v6;
    t.port = t.https ? 443 : 80;
    if (*after == ':') {
        port = strtoul(after + 1, &end, 10);
        if (end == after + 1 || port == 0 || port > UINT16_MAX)
            return -EINVAL;
        t.port = (uint16_t)port;
        after = end;
    }
    if (*after != '/')
        return -EINVAL;
    t.literal = address_parse(t.host, t.port, &address);
    if (v6 != (t.literal && address.any.sa_family == AF_INET6))
        return -EINVAL;
    *ret = t;
    return 0;
}
