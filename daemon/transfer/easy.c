#include "daemon/transfer/easy.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/transfer/egress.h"
#include "daemon/transfer/flight.h"
#include "daemon/transfer/head.h"
#include "daemon/transfer/lines.h"
#include "daemon/transfer/outcome.h"
#include "daemon/transfer/redirect.h"
#include "daemon/transfer/sockets.h"

#define BUFFER_BYTES 4096L  /* a transfer's largest piece of memory */
#define UPLOAD_BYTES 16384L /* libcurl's least */
#define ORIGIN_SIZE  272    /* scheme, a host of 253 bytes, port */
/*
 * libcurl compares whole seconds: 1 means "idle for less than 2 s". A server may close a connection
 * that idles at any moment, and a request that meets this has an unknown outcome.
 */
#define IDLE_ONCE_S   1L
#define IDLE_REPEAT_S 60L
/* Pinned names older than this are forgotten by the exchange that is told to; others never look. */
#define NAMES_S 2L

static curl_socket_t easy_open_socket(
        void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct easy *e = arg;
    struct record *r = &e->flight->record;
    int fd;

    if (r->n_sends > 0) {
        r->resent = true;
        return CURL_SOCKET_BAD;
    }
    if (purpose != CURLSOCKTYPE_IPCXN || !address_copy(&address->addr, &r->peer) ||
            !egress_allows(e->flight->egress, &address->addr)) {
        r->blocked = true;
        return CURL_SOCKET_BAD;
    }
    fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0) {
        r->failed = -errno;
        return CURL_SOCKET_BAD;
    }
    r->failed = e->sockets->adopt(e->sockets, fd);
    if (r->failed < 0) {
        close(fd);
        return CURL_SOCKET_BAD;
    }
    r->n_opened++;
    return fd;
}

/* `arg` outlives the handle: libcurl keeps it with the connection. */
static int easy_close_socket(void *arg, curl_socket_t fd)
{
    struct socket_home *home = arg;

    return home->close(home, fd);
}

/* libcurl is about to send: on this connection, new or not, to this peer. */
static int easy_before_request(
        void *arg, char *remote, char *local, int remote_port, int local_port)
{
    struct easy *e = arg;
    struct record *r = &e->flight->record;

    (void)local;
    (void)local_port;
    if (r->n_sends > 0) {
        r->resent = true;
        return CURL_PREREQFUNC_ABORT;
    }
    if (!address_parse(remote, (uint16_t)remote_port, &r->peer) ||
            !egress_allows(e->flight->egress, &r->peer.any)) {
        r->blocked = true;
        return CURL_PREREQFUNC_ABORT;
    }
    r->n_sends = 1;
    r->asked_ns = clock_mono_ns();
    address_join(remote, (uint16_t)remote_port, e->flight->answer->attempt.remote);
    if (e->flight->asked)
        e->flight->asked(e->flight);
    return CURL_PREREQFUNC_OK;
}

static size_t easy_take_header(char *line, size_t size, size_t n, void *arg)
{
    struct easy *e = arg;

    return head_take(e->flight, line, size * n) ? size * n : 0;
}

static size_t easy_take_body(char *bytes, size_t size, size_t n, void *arg)
{
    struct flight *f = ((struct easy *)arg)->flight;
    int rc = body_sink_add(&f->body, bytes, size * n);

    if (rc == 0)
        return size * n;
    if (rc == -EFBIG)
        f->record.too_large = true;
    else
        record_body_failed(&f->record, rc);
    return 0;
}

static void easy_set_fixed(struct easy *e, int64_t connect_timeout_us)
{
    CURL *c = e->curl;

    curl_easy_setopt(c, CURLOPT_PRIVATE, e);
    curl_easy_setopt(c, CURLOPT_CURLU, e->origin);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, e->text);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(c, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(c, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    /* With a directory of certificates, libcurl would load the bundle for each connection. */
    curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)((connect_timeout_us + 999) / 1000));
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BYTES);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, easy_open_socket);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, e);
    curl_easy_setopt(c, CURLOPT_CLOSESOCKETFUNCTION, easy_close_socket);
    curl_easy_setopt(c, CURLOPT_CLOSESOCKETDATA, e->sockets);
    curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, easy_before_request);
    curl_easy_setopt(c, CURLOPT_PREREQDATA, e);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, easy_take_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, e);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, easy_take_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, e);
}

/* Those of the environment. The texts are copied. -ENOMEM. */
static int easy_refuse_proxies(struct easy *e)
{
    return curl_easy_setopt(e->curl, CURLOPT_PROXY, "") == CURLE_OK &&
                           curl_easy_setopt(e->curl, CURLOPT_NOPROXY, "*") == CURLE_OK
                   ? 0
                   : -ENOMEM;
}

struct easy *easy_new(struct socket_home *sockets, CURLSH *share, int64_t connect_timeout_us)
{
    struct easy *e = calloc(1, sizeof(*e));

    if (!e)
        return NULL;
    list_init(&e->idle);
    e->sockets = sockets;
    e->curl = curl_easy_init();
    e->origin = curl_url();
    if (!e->curl || !e->origin) {
        easy_free(e);
        return NULL;
    }
    easy_set_fixed(e, connect_timeout_us);
    curl_easy_setopt(e->curl, CURLOPT_SHARE, share);
    if (easy_refuse_proxies(e) == 0)
        return e;
    easy_free(e);
    return NULL;
}

void easy_set_authorities(struct easy *e, const void *pem, size_t n)
{
    struct curl_blob blob = { .data = (void *)pem, .len = n, .flags = CURL_BLOB_NOCOPY };

    curl_easy_setopt(e->curl, CURLOPT_CAINFO_BLOB, &blob);
}

void easy_free(struct easy *e)
{
    list_remove(&e->idle);
    curl_easy_cleanup(e->curl);
    curl_url_cleanup(e->origin);
    free(e->lines);
    free(e);
}

/* Whether a request without a body says so with "Content-Length: 0" (RFC 9110 section 8.6). */
static bool easy_method_has_body(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
           strcmp(method, "PATCH") == 0;
}

/* Each of these sets the ones before it back, so the order matters. */
static int easy_set_method(struct easy *e, const struct exchange *x)
{
    bool head = strcmp(x->method, "HEAD") == 0;
    bool body = !head && (x->body_bytes > 0 || easy_method_has_body(x->method));
    const char *usual = head ? "HEAD" : body ? "POST" : "GET";

    curl_easy_setopt(e->curl, CURLOPT_POSTFIELDS, body ? (x->body_bytes ? x->body : "") : NULL);
    curl_easy_setopt(e->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(body ? x->body_bytes : 0));
    if (head)
        curl_easy_setopt(e->curl, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(e->curl, body ? CURLOPT_POST : CURLOPT_HTTPGET, 1L);
    return curl_easy_setopt(e->curl, CURLOPT_CUSTOMREQUEST,
                   strcmp(x->method, usual) == 0 ? NULL : x->method) == CURLE_OK
                   ? 0
                   : -ENOMEM;
}

/*
 * A canonical URL need not be parsed and put together again for each exchange, which would be a
 * sixth of libcurl's work: it is given the origin in parts, and what is behind that as it is sent.
 */
static int easy_set_url(struct easy *e, const char *url)
{
    char text[ORIGIN_SIZE], *port;
    const char *host = strstr(url, "://") + 3, *target = strchr(host, '/');
    size_t n = (size_t)(target - url);
    CURLUcode code;

    if (n >= sizeof(text))
        return -EINVAL;
    memcpy(text, url, n);
    text[n] = '\0';
    text[host - url - 3] = '\0';
    port = strchr(text + (host - url), ']') ?: text + (host - url);
    port = strchr(port, ':');
    if (port)
        *port++ = '\0';
    code = curl_url_set(e->origin, CURLUPART_SCHEME, text, 0);
    if (code == CURLUE_OK)
        code = curl_url_set(e->origin, CURLUPART_HOST, text + (host - url), 0);
    if (code == CURLUE_OK)
        code = curl_url_set(e->origin, CURLUPART_PORT, port, 0);
    if (code != CURLUE_OK)
        return code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
    /* CURLOPT_URL is for what libcurl says; it goes by the parts. */
    return curl_easy_setopt(e->curl, CURLOPT_URL, url) == CURLE_OK &&
                           curl_easy_setopt(e->curl, CURLOPT_REQUEST_TARGET, target) == CURLE_OK
                   ? 0
                   : -ENOMEM;
}

int easy_prepare(struct easy *e, struct flight *f, int64_t left_us, bool forget_names)
{
    const struct exchange *x = f->x;
    int64_t left_ms = (left_us + 999) / 1000;
    int rc = lines_new(x, &e->lines);

    if (rc == 0)
        rc = easy_set_method(e, x);
    if (rc == 0)
        rc = easy_set_url(e, x->url);
    if (rc < 0)
        return rc;
    e->pin = (struct curl_slist){ f->pin, NULL };
    e->text[0] = '\0';
    curl_easy_setopt(e->curl, CURLOPT_HTTPHEADER, e->lines ? e->lines : lines_default());
    curl_easy_setopt(e->curl, CURLOPT_RESOLVE, f->pin ? &e->pin : NULL);
    curl_easy_setopt(e->curl, CURLOPT_TIMEOUT_MS, (long)(left_ms < INT_MAX ? left_ms : INT_MAX));
    curl_easy_setopt(e->curl, CURLOPT_MAXAGE_CONN, x->idempotent ? IDLE_REPEAT_S : IDLE_ONCE_S);
    curl_easy_setopt(e->curl, CURLOPT_DNS_CACHE_TIMEOUT, forget_names ? NAMES_S : -1L);
    e->flight = f;
    f->easy = e;
    return 0;
}

/* RFC 9110 section 10.2.3: seconds or a date. */
static int64_t easy_retry_after_us(const struct blob *headers)
{
    const char *text = pack_header_find(headers, "retry-after");
    int64_t s;

    if (!text)
        return 0;
    if (isdigit((unsigned char)*text)) {
        errno = 0;
        s = strtoll(text, NULL, 10);
    } else {
        s = curl_getdate(text, NULL) - clock_wall_us() / CLOCK_US_PER_S;
    }
    if (s <= 0)
        return 0;
    return s > INT32_MAX ? INT32_MAX * CLOCK_US_PER_S : s * CLOCK_US_PER_S;
}

static void easy_take_answer(struct easy *e)
{
    struct answer *answer = e->flight->answer;
    unsigned status = answer->attempt.status;
    const char *location;

    if (!e->flight->record.directs)
        return;
    location = pack_header_find(&answer->headers, "location");
    if (status >= 300 && status < 400 && location)
        answer->redirect_url = redirect_resolve(e->flight->x->url, location);
    answer->retry_after_us = easy_retry_after_us(&answer->headers);
}

void easy_conclude(struct easy *e, CURLcode code)
{
    struct flight *f = e->flight;

    outcome_record(f, e->curl, code, e->text);
    if (f->answer->attempt.status > 0)
        easy_take_answer(e);
    free(e->lines);
    e->lines = NULL;
    e->flight = NULL;
    f->easy = NULL;
}
