#include "daemon/transfer/egress.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/buf.h"

#define V4_OFFSET 12 /* where an IPv4 address lies in its v4-mapped form */
#define V4_BITS   96

/* Both families as 16 bytes, IPv4 in the v4-mapped form, so that ::ffff:10.0.0.1 is 10.0.0.1. */
struct network {
    uint8_t bytes[16];
    unsigned bits;
    bool v4;
};

struct special {
    struct network network;
    const char *what;
};

struct network_list {
    struct network *networks;
    size_t n;
};

/* RFC 6890 and the registries it made, and what cloud providers put in the way. */
static const struct {
    const char *network, *what;
} egress_table[] = {
    { "0.0.0.0/8", "this network" },
    { "10.0.0.0/8", "private network" },
    { "100.64.0.0/10", "shared address space" },
    { "127.0.0.0/8", "loopback" },
    { "168.63.129.16/32", "metadata of a cloud" },
    { "169.254.0.0/16", "link-local" },
    { "172.16.0.0/12", "private network" },
    { "192.0.0.0/24", "protocol assignments" },
    { "192.0.2.0/24", "documentation" },
    { "192.88.99.0/24", "6to4 relays" },
    { "192.168.0.0/16", "private network" },
    { "198.18.0.0/15", "benchmarking" },
    { "198.51.100.0/24", "documentation" },
    { "203.0.113.0/24", "documentation" },
    { "224.0.0.0/4", "multicast" },
    { "240.0.0.0/4", "reserved" },
    /* Outside of 2000::/3 everything is refused; these have a better name than "special address". */
    { "::/128", "unspecified" },
    { "::1/128", "loopback" },
    { "64:ff9b::/96", "translated to IPv4" },
    { "64:ff9b:1::/48", "translated to IPv4" },
    { "fc00::/7", "private network" },
    { "fe80::/10", "link-local" },
    { "ff00::/8", "multicast" },
    { "2001::/23", "protocol assignments" },
    { "2001:db8::/32", "documentation" },
    { "2002::/16", "6to4" },
    { "3fff::/20", "documentation" },
};

struct egress {
    atomic_uint refs;
    struct network_list allow, deny;
    struct special special[ARRAY_LEN(egress_table)];
    struct network global; /* 2000::/3 */
};

static bool network_has(const struct network *n, const struct network *address)
{
    unsigned whole = n->bits / 8, rest = n->bits % 8;

    if (n->v4 != address->v4 || memcmp(n->bytes, address->bytes, whole) != 0)
        return false;
    return rest == 0 || (n->bytes[whole] ^ address->bytes[whole]) >> (8 - rest) == 0;
}

static bool network_list_has(const struct network_list *l, const struct network *address)
{
    for (size_t i = 0; i < l->n; i++)
        if (network_has(&l->networks[i], address))
            return true;
    return false;
}

static void network_set_v4(struct network *n, const void *address)
{
    memset(n->bytes, 0, 10);
    memset(n->bytes + 10, 0xff, 2);
    memcpy(n->bytes + V4_OFFSET, address, 4);
    n->v4 = true;
}

static void network_set_v6(struct network *n, const struct in6_addr *address)
{
    memcpy(n->bytes, address, 16);
    n->v4 = IN6_IS_ADDR_V4MAPPED(address);
}

static int network_parse_bits(const char *text, unsigned most, unsigned *ret)
{
    char *end;
    unsigned long bits;

    if (*text < '0' || *text > '9')
        return -EINVAL;
    bits = strtoul(text, &end, 10);
    if (*end || bits > most)
        return -EINVAL;
    *ret = (unsigned)bits;
    return 0;
}

static bool network_is_clean(const struct network *n)
{
    struct network masked = *n;

    for (unsigned bit = n->bits; bit < 128; bit++)
        masked.bytes[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
    return memcmp(masked.bytes, n->bytes, sizeof(masked.bytes)) == 0;
}

/* "10.0.0.0/8", "::1" */
static int network_parse(const char *text, struct network *ret, struct error *ret_why)
{
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    char address[INET6_ADDRSTRLEN];
    struct in6_addr a6;
    struct in_addr a4;
    struct network n = { .bits = 128 };
    bool is_v4;

    if (length >= sizeof(address))
        return error_set(ret_why, -EINVAL, "\"%s\" is not an address", text);
    memcpy(address, text, length);
    address[length] = '\0';
    is_v4 = inet_pton(AF_INET, address, &a4) == 1;
    if (is_v4)
        network_set_v4(&n, &a4);
    else if (inet_pton(AF_INET6, address, &a6) == 1)
        network_set_v6(&n, &a6);
    else
        return error_set(ret_why, -EINVAL, "\"%s\" is not an address", text);
    if (slash && network_parse_bits(slash + 1, is_v4 ? 32 : 128, &n.bits) < 0)
        return error_set(ret_why, -EINVAL, "\"%s\" has no prefix length of 0 to %d after the /",
                text, is_v4 ? 32 : 128);
    if (slash && is_v4)
        n.bits += V4_BITS;
    if (n.bits < V4_BITS)
        n.v4 = false;
    if (!network_is_clean(&n))
        return error_set(ret_why, -EINVAL, "\"%s\" has bits set behind its prefix", text);
    *ret = n;
    return 0;
}

static int network_list_parse(
        const char *const *texts, struct network_list *ret, struct error *ret_why)
{
    size_t n = 0;
    int rc = 0;

    while (texts && texts[n])
        n++;
    if (n == 0)
        return 0;
    ret->networks = calloc(n, sizeof(*ret->networks));
    if (!ret->networks)
        return error_set(ret_why, -ENOMEM, "out of memory");
    for (; rc == 0 && ret->n < n; ret->n++)
        rc = network_parse(texts[ret->n], &ret->networks[ret->n], ret_why);
    return rc;
}

static int egress_fill_table(struct egress *e, struct error *ret_why)
{
    int rc = network_parse("2000::/3", &e->global, ret_why);

    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(egress_table); i++) {
        e->special[i].what = egress_table[i].what;
        rc = network_parse(egress_table[i].network, &e->special[i].network, ret_why);
    }
    return rc;
}

int egress_new(const struct egress_options *options, struct egress **ret, struct error *ret_why)
{
    struct egress *e CLEANUP(cleanup_egress) = calloc(1, sizeof(*e));
    int rc;

    if (!e)
        return error_set(ret_why, -ENOMEM, "out of memory");
    atomic_init(&e->refs, 1);
    rc = egress_fill_table(e, ret_why);
    if (rc == 0)
        rc = network_list_parse(options->allow, &e->allow, ret_why);
    if (rc == 0)
        rc = network_list_parse(options->deny, &e->deny, ret_why);
    if (rc == 0)
        *ret = TAKE_PTR(e);
    return rc;
}

static int network_list_pack(const struct network_list *l, struct buf *b)
{
    int rc = buf_append(b, &l->n, sizeof(l->n));

    return rc < 0 ? rc : buf_append(b, l->networks, l->n * sizeof(*l->networks));
}

static int network_list_unpack(const char **at, size_t *left, struct network_list *ret)
{
    size_t n, bytes;

    if (*left < sizeof(n))
        return -EPROTO;
    memcpy(&n, *at, sizeof(n));
    *left -= sizeof(n);
    if (n > *left / sizeof(*ret->networks))
        return -EPROTO;
    bytes = n * sizeof(*ret->networks);
    ret->networks = malloc(bytes + !bytes);
    if (!ret->networks)
        return -ENOMEM;
    memcpy(ret->networks, *at + sizeof(n), bytes);
    ret->n = n;
    *at += sizeof(n) + bytes;
    *left -= bytes;
    return 0;
}

int egress_pack(const struct egress *e, struct buf *b)
{
    int rc = network_list_pack(&e->allow, b);

    return rc < 0 ? rc : network_list_pack(&e->deny, b);
}

int egress_unpack(const void *data, size_t n, struct egress **ret)
{
    struct egress_options none = { NULL };
    struct egress *e CLEANUP(cleanup_egress) = NULL;
    const char *at = data;
    int rc = egress_new(&none, &e, NULL);

    if (rc == 0)
        rc = network_list_unpack(&at, &n, &e->allow);
    if (rc == 0)
        rc = network_list_unpack(&at, &n, &e->deny);
    if (rc == 0 && n > 0)
        rc = -EPROTO;
    if (rc == 0)
        *ret = TAKE_PTR(e);
    return rc;
}

struct egress *egress_ref(struct egress *e)
{
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    return e;
}

struct egress *egress_unref(struct egress *e)
{
    if (e && atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) == 1) {
        free(e->allow.networks);
        free(e->deny.networks);
        free(e);
    }
    return NULL;
}

static bool egress_read(const struct sockaddr *address, struct network *ret)
{
    if (address->sa_family == AF_INET) {
        network_set_v4(ret, &((const struct sockaddr_in *)(const void *)address)->sin_addr);
        return true;
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const void *)address;

        network_set_v6(ret, &a->sin6_addr);
        return a->sin6_scope_id == 0;
    }
    return false;
}

const char *egress_refusal(const struct egress *e, const struct sockaddr *address)
{
    struct network a = { .bits = 128 };

    if (!egress_read(address, &a))
        return "not a plain internet address";
    if (network_list_has(&e->deny, &a))
        return "denied by the configuration";
    if (network_list_has(&e->allow, &a))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(e->special); i++)
        if (network_has(&e->special[i].network, &a))
            return e->special[i].what;
    return a.v4 || network_has(&e->global, &a) ? NULL : "special address";
}

bool egress_allows(const struct egress *e, const struct sockaddr *address)
{
    return !egress_refusal(e, address);
}

static int egress_vet_local(
        const struct egress *e, const struct egress_url *u, struct error *ret_why)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

    if (egress_allows(e, (struct sockaddr *)&v4) || egress_allows(e, (struct sockaddr *)&v6))
        return 0;
    return error_set(ret_why, -EACCES, "%s may not be called (loopback)", u->host);
}

int egress_url_vet(const struct egress *e, const struct egress_url *u, struct error *ret_why)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    const char *why;

    if (!u->literal)
        return egress_host_is_local(u->host) ? egress_vet_local(e, u, ret_why) : 0;
    if (inet_pton(AF_INET, u->host, &v4.sin_addr) == 1)
        why = egress_refusal(e, (struct sockaddr *)&v4);
    else if (inet_pton(AF_INET6, u->host, &v6.sin6_addr) == 1)
        why = egress_refusal(e, (struct sockaddr *)&v6);
    else
        why = "not a plain internet address";
    return why ? error_set(ret_why, -EACCES, "%s may not be called (%s)", u->host, why) : 0;
}
