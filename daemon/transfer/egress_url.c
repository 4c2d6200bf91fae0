/*
 * libcurl parses, so that what is vetted is what will be called; then everything is refused that
 * another parser might read in another way. What is left is lower case and has one spelling: it is
 * put together from the parts that libcurl read, which costs less than to let it do that.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/model/job.h"
#include "daemon/transfer/address.h"
#include "daemon/transfer/egress.h"

#define HOST_MAX_BYTES 253 /* RFC 1035 section 2.3.4, as text */

static inline void cleanup_curl_string(char **p)
{
    curl_free(*p);
}

CLEANUP_DEFINE(CURLU, curl_url_cleanup, cleanup_curl_url)

void egress_url_done(struct egress_url *u)
{
    free(u->url);
    free(u->origin);
    free(u->host);
    *u = (struct egress_url){ 0 };
}

bool egress_host_is_local(const char *host)
{
    static const char local[] = "localhost";
    size_t n = strlen(host), n_local = sizeof(local) - 1;

    if (n > 0 && host[n - 1] == '.')
        n--;
    if (n < n_local || strncasecmp(host + n - n_local, local, n_local) != 0)
        return false;
    return n == n_local || host[n - n_local - 1] == '.';
}

static int url_check_text(const char *text, struct error *ret_why)
{
    const char *rest = strncasecmp(text, "http://", 7) == 0    ? text + 7
                       : strncasecmp(text, "https://", 8) == 0 ? text + 8
                                                               : NULL;

    if (strlen(text) > JOB_URL_MAX_BYTES)
        return error_set(ret_why, -EINVAL, "the URL is longer than %d bytes", JOB_URL_MAX_BYTES);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p <= ' ' || *p >= 0x7f || *p == '\\')
            return error_set(ret_why, -EINVAL,
                    *p >= 0x80 ? "the URL has a byte that is not ASCII: encode it (%%C3%%A9, xn--…)"
                               : "the URL has a space, a control character or a backslash in it");
    if (!rest)
        return error_set(ret_why, -EINVAL, "the URL does not begin with http:// or https://");
    if (!*rest || strchr("/?#:", *rest))
        return error_set(ret_why, -EINVAL, "the URL has no host");
    if (memchr(rest, '@', strcspn(rest, "/?#")))
        return error_set(ret_why, -EINVAL,
                "the URL has user information: send an Authorization header instead");
    return 0;
}

/* WHATWG URL, "ends in a number": what some parsers take for an IPv4 address. */
static bool host_ends_in_number(const char *host)
{
    size_t n = strlen(host), start;

    if (n > 0 && host[n - 1] == '.')
        n--;
    for (start = n; start > 0 && host[start - 1] != '.';)
        start--;
    if (n - start >= 2 && host[start] == '0' && host[start + 1] == 'x')
        return strspn(host + start + 2, "0123456789abcdef") >= n - start - 2;
    return n > start && strspn(host + start, "0123456789") >= n - start;
}

static bool host_is_name(const char *host)
{
    char before = '.';

    for (const char *p = host; *p; before = *p++) {
        bool in_label =
                (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '-' || *p == '_';

        if (!in_label && (*p != '.' || before == '.'))
            return false;
    }
    return true;
}

static int host_check_name(const char *host, struct error *ret_why)
{
    if (strlen(host) > HOST_MAX_BYTES)
        return error_set(ret_why, -EINVAL, "the host is longer than %d bytes", HOST_MAX_BYTES);
    if (!host_is_name(host))
        return error_set(ret_why, -EINVAL, "\"%s\" is not a host name", host);
    if (host_ends_in_number(host))
        return error_set(ret_why, -EINVAL, "\"%s\" is neither a host name nor an address", host);
    return 0;
}

/* *ret, NULL before, stays so where the URL has no such part. -ENOMEM. */
static int part_read(CURLU *curl, CURLUPart part, char **ret, struct error *ret_why)
{
    if (curl_url_get(curl, part, ret, 0) == CURLUE_OUT_OF_MEMORY)
        return error_set(ret_why, -ENOMEM, "out of memory");
    return 0;
}

/* `host` is in brackets; its one form goes to `text`. */
static int host_read_v6(CURLU *curl, char *host, char text[INET6_ADDRSTRLEN], struct error *ret_why)
{
    char *zone CLEANUP(cleanup_curl_string) = NULL;
    char *bracket = strchr(host, ']');
    struct in6_addr address;
    int rc = part_read(curl, CURLUPART_ZONEID, &zone, ret_why);

    if (rc < 0)
        return rc;
    if (zone)
        return error_set(ret_why, -EINVAL, "the address in the URL has a zone");
    if (!bracket || bracket[1])
        return error_set(ret_why, -EINVAL, "\"%s\" is not an address", host);
    *bracket = '\0';
    if (inet_pton(AF_INET6, host + 1, &address) != 1)
        return error_set(ret_why, -EINVAL, "\"%s\" is not an address", host + 1);
    inet_ntop(AF_INET6, &address, text, INET6_ADDRSTRLEN);
    return 0;
}

/* Lower case; addresses in their one form, without brackets. */
static int host_read(CURLU *curl, struct egress_url *u, struct error *ret_why)
{
    char *host CLEANUP(cleanup_curl_string) = NULL;
    char text[INET6_ADDRSTRLEN];
    struct in_addr address;
    bool v6;
    int rc = part_read(curl, CURLUPART_HOST, &host, ret_why);

    if (rc < 0)
        return rc;
    if (!host || !*host)
        return error_set(ret_why, -EINVAL, "the URL has no host");
    for (char *p = host; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    v6 = *host == '[';
    if (v6)
        rc = host_read_v6(curl, host, text, ret_why);
    if (rc < 0)
        return rc;
    /* Of an IPv4 address inet_pton() takes one form only. */
    u->literal = v6 || inet_pton(AF_INET, host, &address) == 1;
    if (!u->literal && host_check_name(host, ret_why) < 0)
        return -EINVAL;
    u->host = strdup(v6 ? text : host);
    return u->host ? 0 : error_set(ret_why, -ENOMEM, "out of memory");
}

static uint16_t port_of_scheme(const struct egress_url *u)
{
    return u->https ? 443 : 80;
}

static int port_read(CURLU *curl, struct egress_url *u, struct error *ret_why)
{
    char *port CLEANUP(cleanup_curl_string) = NULL;
    int rc = part_read(curl, CURLUPART_PORT, &port, ret_why);
    long n;

    if (rc < 0)
        return rc;
    n = port ? strtol(port, NULL, 10) : port_of_scheme(u);
    if (n < 1 || n > UINT16_MAX)
        return error_set(ret_why, -EINVAL, "port %s is not between 1 and 65535", port);
    u->port = (uint16_t)n;
    return 0;
}

/* scheme://host, IPv6 in brackets. */
static char *url_write_host(const struct egress_url *u, char *p)
{
    bool v6 = strchr(u->host, ':') != NULL;

    p = stpcpy(p, u->https ? "https://" : "http://");
    if (v6)
        *p++ = '[';
    p = stpcpy(p, u->host);
    return v6 ? stpcpy(p, "]") : p;
}

static int url_compose(CURLU *curl, struct egress_url *u, struct error *ret_why)
{
    char *path CLEANUP(cleanup_curl_string) = NULL;
    char *query CLEANUP(cleanup_curl_string) = NULL;
    size_t most = strlen(u->host) + sizeof("https://[]:65535");
    int rc = part_read(curl, CURLUPART_PATH, &path, ret_why);
    char *p;

    if (rc == 0)
        rc = part_read(curl, CURLUPART_QUERY, &query, ret_why);
    if (rc < 0)
        return rc;
    if (!path || *path != '/')
        return error_set(ret_why, -EINVAL, "the URL can't be read");
    u->origin = malloc(most);
    u->url = malloc(most + strlen(path) + (query ? 1 + strlen(query) : 0));
    if (!u->origin || !u->url)
        return error_set(ret_why, -ENOMEM, "out of memory");
    address_write_port(u->port, url_write_host(u, u->origin));
    p = url_write_host(u, u->url);
    if (u->port != port_of_scheme(u))
        p = address_write_port(u->port, p);
    p = stpcpy(p, path);
    if (query && *query)
        p = stpcpy(stpcpy(p, "?"), query);
    if (p - u->url > JOB_URL_MAX_BYTES)
        return error_set(ret_why, -EINVAL, "the URL is longer than %d bytes", JOB_URL_MAX_BYTES);
    return 0;
}

int egress_url_parse(const char *text, struct egress_url *ret, struct error *ret_why)
{
    CURLU *curl CLEANUP(cleanup_curl_url) = NULL;
    struct egress_url u CLEANUP(egress_url_done) = { 0 };
    CURLUcode code;
    int rc = url_check_text(text, ret_why);

    if (rc < 0)
        return rc;
    curl = curl_url();
    if (!curl)
        return error_set(ret_why, -ENOMEM, "out of memory");
    code = curl_url_set(curl, CURLUPART_URL, text, 0);
    if (code != CURLUE_OK)
        return error_set(ret_why, code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL,
                "the URL can't be read: %s", curl_url_strerror(code));
    u.https = tolower((unsigned char)text[4]) == 's';
    rc = host_read(curl, &u, ret_why);
    if (rc == 0)
        rc = port_read(curl, &u, ret_why);
    if (rc == 0)
        rc = url_compose(curl, &u, ret_why);
    if (rc < 0)
        return rc;
    *ret = u;
    u = (struct egress_url){ 0 };
    return 0;
}
