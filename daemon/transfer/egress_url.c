/*
 * libcurl parses, so that what is vetted is what will be called; then everything is refused that
 * another parser might read in another way. What is left is lower case and has one spelling.
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

static int host_check_name(const char *host, struct error *ret_why)
{
    if (strlen(host) > HOST_MAX_BYTES)
        return error_set(ret_why, -EINVAL, "the host is longer than %d bytes", HOST_MAX_BYTES);
    if (host[0] == '.' || strstr(host, "..") ||
            strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-._") != strlen(host))
        return error_set(ret_why, -EINVAL, "\"%s\" is not a host name", host);
    if (host_ends_in_number(host))
        return error_set(ret_why, -EINVAL, "\"%s\" is neither a host name nor an address", host);
    return 0;
}

/* Lower case; addresses in their one form, without brackets. */
static int host_read(CURLU *curl, struct egress_url *u, struct error *ret_why)
{
    char *zone CLEANUP(cleanup_curl_string) = NULL;
    char *host CLEANUP(cleanup_curl_string) = NULL;
    char text[INET6_ADDRSTRLEN], *bracket;
    struct in6_addr a6;
    struct in_addr a4;

    if (curl_url_get(curl, CURLUPART_ZONEID, &zone, 0) == CURLUE_OK)
        return error_set(ret_why, -EINVAL, "the address in the URL has a zone");
    if (curl_url_get(curl, CURLUPART_HOST, &host, 0) != CURLUE_OK || !*host)
        return error_set(ret_why, -EINVAL, "the URL has no host");
    for (char *p = host; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    if (*host == '[') {
        bracket = strchr(host, ']');
        if (!bracket || bracket[1])
            return error_set(ret_why, -EINVAL, "\"%s\" is not an address", host);
        *bracket = '\0';
        if (inet_pton(AF_INET6, host + 1, &a6) != 1)
            return error_set(ret_why, -EINVAL, "\"%s\" is not an address", host + 1);
        inet_ntop(AF_INET6, &a6, text, sizeof(text));
        u->literal = true;
    } else if (inet_pton(AF_INET, host, &a4) == 1) {
        inet_ntop(AF_INET, &a4, text, sizeof(text));
        u->literal = true;
    } else if (host_check_name(host, ret_why) < 0) {
        return -EINVAL;
    }
    u->host = strdup(u->literal ? text : host);
    return u->host ? 0 : error_set(ret_why, -ENOMEM, "out of memory");
}

static int port_read(CURLU *curl, struct egress_url *u, struct error *ret_why)
{
    char *port CLEANUP(cleanup_curl_string) = NULL;
    long n;

    if (curl_url_get(curl, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
        return error_set(ret_why, -EINVAL, "the URL has no port that is a number");
    n = strtol(port, NULL, 10);
    if (n < 1 || n > UINT16_MAX)
        return error_set(ret_why, -EINVAL, "port %s is not between 1 and 65535", port);
    u->port = (uint16_t)n;
    return 0;
}

static int url_compose(CURLU *curl, struct egress_url *u, struct error *ret_why)
{
    char *url CLEANUP(cleanup_curl_string) = NULL;
    bool v6 = strchr(u->host, ':') != NULL;
    char host[HOST_MAX_BYTES + 3];

    snprintf(host, sizeof(host), v6 ? "[%s]" : "%s", u->host);
    if (curl_url_set(curl, CURLUPART_HOST, host, 0) != CURLUE_OK ||
            curl_url_set(curl, CURLUPART_FRAGMENT, NULL, 0) != CURLUE_OK ||
            curl_url_get(curl, CURLUPART_URL, &url, CURLU_NO_DEFAULT_PORT) != CURLUE_OK)
        return error_set(ret_why, -EINVAL, "the URL can't be read");
    if (strlen(url) > JOB_URL_MAX_BYTES)
        return error_set(ret_why, -EINVAL, "the URL is longer than %d bytes", JOB_URL_MAX_BYTES);
    u->url = strdup(url);
    if (!u->url ||
            asprintf(&u->origin, "%s://%s:%u", u->https ? "https" : "http", host, u->port) < 0) {
        u->origin = NULL;
        return error_set(ret_why, -ENOMEM, "out of memory");
    }
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
