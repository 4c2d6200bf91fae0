#include "config/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define ADDRESS_HOST_MAX_BYTES 253 /* RFC 1035 section 2.3.4, as text */

static bool address_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Decimal without leading zeros, up to `max`, to the end of the text. */
static int address_parse_number(const char *text, unsigned max, unsigned *ret)
{
    unsigned value = 0;

    if (!address_is_digit(*text) || (*text == '0' && text[1]))
        return -EINVAL;
    for (; *text; text++) {
        if (!address_is_digit(*text))
            return -EINVAL;
        value = value * 10 + (unsigned)(*text - '0');
        if (value > max)
            return -EINVAL;
    }
    *ret = value;
    return 0;
}

int address_check_path(const char *text, struct error *ret_why)
{
    if (text[0] != '/')
        return error_set(ret_why, -EINVAL, "\"%s\" is no absolute path", text);
    return 0;
}

static int address_check_unix(const char *text, const char *path, struct error *ret_why)
{
    if (path[0] != '/')
        return error_set(ret_why, -EINVAL, "\"%s\": unix: wants an absolute path", text);
    if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return error_set(ret_why, -EINVAL, "\"%s\": the path of a socket has at most %zu bytes",
                text, sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
    return 0;
}

static int address_check_loopback(
        const char *text, const char *host, bool six, struct error *ret_why)
{
    struct in6_addr v6;
    struct in_addr v4;
    bool loopback;

    if (inet_pton(six ? AF_INET6 : AF_INET, host, six ? (void *)&v6 : (void *)&v4) != 1)
        return error_set(ret_why, -EINVAL, "\"%s\": \"%s\" is no IP%s address", text, host,
                six ? "v6" : "v4");
    loopback = six ? IN6_IS_ADDR_LOOPBACK(&v6) : (ntohl(v4.s_addr) >> 24) == 127;
    if (!loopback)
        return error_set(ret_why, -EINVAL,
                "\"%s\" is no loopback address: the API has no tokens and listens on loopback and "
                "unix: only",
                text);
    return 0;
}

int address_check_listen(const char *text, struct error *ret_why)
{
    const char *colon = strrchr(text, ':');
    char host[64];
    bool six = text[0] == '[';
    unsigned port;
    int n;

    if (strncmp(text, "unix:", 5) == 0)
        return address_check_unix(text, text + 5, ret_why);
    if (!colon || colon == text || address_parse_number(colon + 1, 65535, &port) < 0)
        return error_set(ret_why, -EINVAL,
                "\"%s\" is no address to listen on (write \"127.0.0.1:8470\", \"[::1]:8470\" or "
                "\"unix:/path\")",
                text);
    if (six && colon[-1] != ']')
        return error_set(ret_why, -EINVAL, "\"%s\": no ] before the port", text);
    n = snprintf(host, sizeof(host), "%.*s", (int)(colon - text) - 2 * six, text + six);
    if (n < 0 || (size_t)n >= sizeof(host))
        return error_set(ret_why, -EINVAL, "\"%s\": the host is no address", text);
    return address_check_loopback(text, host, six, ret_why);
}

static bool address_host_bits_zero(const uint8_t *bytes, unsigned n_bytes, unsigned prefix)
{
    for (unsigned bit = prefix; bit < n_bytes * 8; bit++)
        if (bytes[bit / 8] & (0x80 >> bit % 8))
            return false;
    return true;
}

int address_check_network(const char *text, struct error *ret_why)
{
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    char address[INET6_ADDRSTRLEN];
    uint8_t bytes[16];
    unsigned n_bytes, prefix;

    if (length >= sizeof(address))
        return error_set(ret_why, -EINVAL, "\"%s\" is no address or network", text);
    memcpy(address, text, length);
    address[length] = 0;
    if (inet_pton(AF_INET, address, bytes) == 1)
        n_bytes = 4;
    else if (inet_pton(AF_INET6, address, bytes) == 1)
        n_bytes = 16;
    else
        return error_set(ret_why, -EINVAL,
                "\"%s\" is no address or network (write \"10.0.0.0/8\" or \"::1\")", text);
    if (!slash)
        return 0;
    if (address_parse_number(slash + 1, n_bytes * 8, &prefix) < 0)
        return error_set(
                ret_why, -EINVAL, "\"%s\": the prefix length is 0 to %u", text, n_bytes * 8);
    if (!address_host_bits_zero(bytes, n_bytes, prefix))
        return error_set(ret_why, -EINVAL, "\"%s\" has bits set behind its /%u", text, prefix);
    return 0;
}

/* A bracketed IPv6 address as inet_ntop() writes it. */
static bool address_is_canonical_six(const char *host, size_t n)
{
    char text[INET6_ADDRSTRLEN], again[INET6_ADDRSTRLEN];
    struct in6_addr v6;

    if (n < 4 || n - 2 >= sizeof(text) || host[n - 1] != ']')
        return false;
    memcpy(text, host + 1, n - 2);
    text[n - 2] = 0;
    return inet_pton(AF_INET6, text, &v6) == 1 && inet_ntop(AF_INET6, &v6, again, sizeof(again)) &&
           strcmp(text, again) == 0;
}

/* WHATWG URL: a host whose last label begins with a digit is an IPv4 address, or nothing. */
static bool address_is_canonical_name(const char *host, size_t n)
{
    char text[ADDRESS_HOST_MAX_BYTES + 1];
    const char *last;
    struct in_addr v4;

    if (n == 0 || n > ADDRESS_HOST_MAX_BYTES || host[0] == '.')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!(host[i] >= 'a' && host[i] <= 'z') && !address_is_digit(host[i]) &&
                !strchr("-._", host[i]))
            return false;
    memcpy(text, host, n);
    text[n] = 0;
    last = strrchr(text, '.');
    last = last ? last + 1 : text;
    return !address_is_digit(*last) || inet_pton(AF_INET, text, &v4) == 1;
}

int address_parse_origin(const char *text, char ret[ADDRESS_ORIGIN_SIZE], struct error *ret_why)
{
    bool https = strncmp(text, "https://", 8) == 0;
    const char *host = text + (https ? 8 : 7), *port;
    unsigned number = https ? 443 : 80;
    size_t n;

    if (!https && strncmp(text, "http://", 7) != 0)
        return error_set(ret_why, -EINVAL,
                "\"%s\" is no origin (write \"https://host\", \"http://host:port\" or \"default\")",
                text);
    n = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    port = strlen(host) > n ? host + n : "";
    if (strchr(host, '/') || strchr(host, '@') || strchr(host, '?') || strchr(host, '#'))
        return error_set(ret_why, -EINVAL,
                "\"%s\": an origin is scheme://host:port, without user, path or query", text);
    if (*port && (*port != ':' || address_parse_number(port + 1, 65535, &number) < 0 || !number))
        return error_set(ret_why, -EINVAL, "\"%s\": the port is 1 to 65535", text);
    if (host[0] == '[' ? !address_is_canonical_six(host, n) : !address_is_canonical_name(host, n))
        return error_set(ret_why, -EINVAL,
                "\"%s\": the host is no name in lower case and no address in its usual form", text);
    snprintf(ret, ADDRESS_ORIGIN_SIZE, "http%s://%.*s:%u", https ? "s" : "", (int)n, host, number);
    return 0;
}
