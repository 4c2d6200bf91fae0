#include "daemon/transfer/outcome.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/transfer/egress.h"
#include "daemon/transfer/flight.h"

/* libcurl sends bodies up to this size together with the header, and counts them so (http.h). */
#define SENT_AS_ONE_BYTES (64 * 1024)

/* When each phase ended, from the beginning of the exchange; 0: it did not. */
struct marks {
    int64_t connect_us, tls_us, send_us, first_byte_us, total_us;
};

void outcome_fail(struct attempt *a, enum failure failure, enum phase phase, bool retry_safe,
        const char *format, ...)
{
    va_list args;
    char *message;
    int n;

    va_start(args, format);
    n = vasprintf(&message, format, args);
    va_end(args);
    job_error_done(&a->error);
    a->error = (struct job_error){
        .failure = failure,
        .phase = phase,
        .retry_safe = retry_safe,
        .message = n < 0 ? NULL : message,
    };
}

static int64_t outcome_time(CURL *curl, CURLINFO info)
{
    curl_off_t us = 0;

    curl_easy_getinfo(curl, info, &us);
    return us;
}

static bool outcome_is_https(const struct flight *f)
{
    return strncmp(f->x->url, "https:", 6) == 0;
}

static bool outcome_is_of_tls(CURLcode code)
{
    switch ((int)code) {
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
        return true;
    default:
        return false;
    }
}

/* An interim answer (1xx) is none. */
static enum phase outcome_reached(const struct flight *f, CURLcode code)
{
    const struct record *r = &f->record;

    if (f->answer->attempt.status > 0)
        return PHASE_RESPONSE;
    if (r->n_sends > 0)
        return PHASE_REQUEST;
    if (outcome_is_https(f) && (r->handshaking || outcome_is_of_tls(code)))
        return PHASE_TLS;
    return r->n_opened > 0 || r->blocked ? PHASE_CONNECT : PHASE_NONE;
}

static int64_t outcome_later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/*
 * When the last byte of the request was out. libcurl takes PRETRANSFER when it has sent what fits
 * at once; the rest of a large body follows.
 */
static int64_t outcome_sent_us(const struct record *r, CURL *curl, const struct marks *m)
{
    int64_t looked_up_us = outcome_time(curl, CURLINFO_NAMELOOKUP_TIME_T);
    int64_t first_us = outcome_time(curl, CURLINFO_PRETRANSFER_TIME_T);
    int64_t asked_us = outcome_later(looked_up_us, outcome_later(m->connect_us, m->tls_us));

    if (first_us == 0 || r->sending)
        return 0;
    if (!r->sent_ns)
        return first_us;
    return outcome_later(first_us, asked_us + (r->sent_ns - r->asked_ns) / CLOCK_NS_PER_US);
}

static struct marks outcome_marks(const struct flight *f, CURL *curl)
{
    const struct record *r = &f->record;
    struct marks m = { .total_us = outcome_time(curl, CURLINFO_TOTAL_TIME_T) };

    if (m.total_us == 0)
        m.total_us = (clock_mono_ns() - r->begun_ns) / CLOCK_NS_PER_US;
    if (r->resent) {
        /* libcurl's times are of the connection that it opened for the second sending. */
        m.send_us = r->sent_ns ? (r->sent_ns - r->asked_ns) / CLOCK_NS_PER_US : 0;
        return m;
    }
    m.connect_us = outcome_time(curl, CURLINFO_CONNECT_TIME_T);
    if (m.connect_us == 0 && f->answer->attempt.reached == PHASE_TLS)
        /* libcurl tells it only when TLS stands, too. */
        m.connect_us = (r->writable_ns - r->begun_ns) / CLOCK_NS_PER_US;
    m.tls_us = outcome_time(curl, CURLINFO_APPCONNECT_TIME_T);
    m.first_byte_us = outcome_time(curl, CURLINFO_STARTTRANSFER_TIME_T);
    m.send_us = outcome_sent_us(r, curl, &m);
    return m;
}

/* The phases share total_us without a gap; the one that did not end takes what is left. */
static void outcome_set_phases(struct attempt *a, const struct marks *m, bool https)
{
    struct {
        int64_t *span_us, end_us;
        enum phase needs;
        bool skipped;
    } phases[] = {
        { &a->connect_us, m->connect_us, PHASE_CONNECT, a->reused },
        { &a->tls_us, m->tls_us, PHASE_TLS, a->reused || !https },
        { &a->send_us, m->send_us, PHASE_REQUEST, false },
        { &a->first_byte_us, m->first_byte_us, PHASE_REQUEST, false },
        { &a->receive_us, 0, PHASE_RESPONSE, false },
    };
    int64_t at_us = 0;

    for (size_t i = 0; i < ARRAY_LEN(phases); i++) {
        int64_t end_us = phases[i].end_us;

        if (phases[i].skipped)
            continue;
        if (a->reached < phases[i].needs)
            break;
        if (end_us == 0 || end_us > m->total_us)
            end_us = m->total_us;
        if (end_us < at_us)
            end_us = at_us;
        *phases[i].span_us = end_us - at_us;
        at_us = end_us;
        if (phases[i].end_us == 0)
            break;
    }
    a->total_us = at_us + (a->dns_us == PHASE_NOT_TAKEN ? 0 : a->dns_us);
}

static void outcome_set_bytes(const struct flight *f, CURL *curl, struct attempt *a)
{
    long request_bytes = 0;

    curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &request_bytes);
    a->sent_bytes = request_bytes;
    if (f->x->body_bytes >= SENT_AS_ONE_BYTES)
        a->sent_bytes += outcome_time(curl, CURLINFO_SIZE_UPLOAD_T);
    a->received_bytes = f->record.header_bytes + f->body.bytes;
}

/* Of an error after the request was on its way. */
static enum failure outcome_of_stream(CURLcode code, const char *text)
{
    switch ((int)code) {
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_ERROR:
        return FAILURE_CONNECTION_RESET;
    case CURLE_OUT_OF_MEMORY:
        return FAILURE_INTERNAL;
    case CURLE_RECV_ERROR:
        /* It is the code for broken chunks, too. */
        return strstr(text, "Recv failure") || strstr(text, "SSL_read") ||
                               strstr(text, "unexpected eof")
                       ? FAILURE_CONNECTION_RESET
                       : FAILURE_BAD_RESPONSE;
    default:
        return FAILURE_BAD_RESPONSE;
    }
}

static enum failure outcome_of_tls(CURLcode code)
{
    switch ((int)code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return FAILURE_CERTIFICATE_INVALID;
    default:
        return FAILURE_TLS_FAILED;
    }
}

static enum failure outcome_of_connect(CURL *curl, CURLcode code)
{
    long os_errno = 0;

    if (code != CURLE_COULDNT_CONNECT)
        return code == CURLE_OUT_OF_MEMORY ? FAILURE_INTERNAL : FAILURE_CONNECTION_FAILED;
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_errno);
    return os_errno == ECONNREFUSED ? FAILURE_CONNECTION_REFUSED : FAILURE_CONNECTION_FAILED;
}

static enum failure outcome_failure(
        const struct flight *f, CURL *curl, CURLcode code, const char *text)
{
    const struct record *r = &f->record;

    if (r->stopped)
        return FAILURE_CANCELLED;
    if (r->failed)
        return r->full ? FAILURE_STORAGE_FULL : FAILURE_INTERNAL;
    if (r->blocked)
        return FAILURE_BLOCKED_ADDRESS;
    if (r->bad)
        return FAILURE_BAD_RESPONSE;
    if (r->too_large)
        return FAILURE_BODY_TOO_LARGE;
    if (r->resent)
        return FAILURE_CONNECTION_RESET;
    if (code == CURLE_OPERATION_TIMEDOUT)
        return FAILURE_TIMEOUT;
    switch (f->answer->attempt.reached) {
    case PHASE_RESPONSE:
    case PHASE_REQUEST:
        return outcome_of_stream(code, text);
    case PHASE_TLS:
        return outcome_of_tls(code);
    case PHASE_CONNECT:
        return outcome_of_connect(curl, code);
    case PHASE_NONE:
    case PHASE_DNS:
    case PHASE_MAX:
        break;
    }
    return FAILURE_INTERNAL;
}

/* Nothing of an answer is known, and the request may have been acted upon. */
static bool outcome_is_unknown(const struct flight *f, enum failure failure)
{
    return !f->x->idempotent && f->answer->attempt.reached == PHASE_REQUEST &&
           (failure == FAILURE_TIMEOUT || failure == FAILURE_CONNECTION_RESET);
}

static const char *outcome_peer(const struct flight *f, char text[ADDRESS_TEXT_SIZE])
{
    if (f->answer->attempt.remote[0])
        return f->answer->attempt.remote;
    address_format(&f->record.peer, text);
    return text[0] ? text : f->x->url;
}

static const char *outcome_seconds(int64_t us, char text[32])
{
    snprintf(text, 32, "%.10g s", (double)((us + 500) / 1000) / 1000);
    return text;
}

static void outcome_fail_timeout(
        struct flight *f, enum failure failure, bool safe, const char *peer)
{
    struct attempt *a = &f->answer->attempt;
    char seconds[32];

    switch (a->reached) {
    case PHASE_RESPONSE:
        outcome_fail(a, failure, a->reached, safe,
                "the answer of %s was not complete within %s: %lld bytes sent, %lld received", peer,
                outcome_seconds(f->limit_us, seconds), (long long)a->sent_bytes,
                (long long)a->received_bytes);
        return;
    case PHASE_REQUEST:
        outcome_fail(a, failure, a->reached, safe,
                "timeout: no answer from %s within %s: %lld bytes sent, 0 received", peer,
                outcome_seconds(f->limit_us, seconds), (long long)a->sent_bytes);
        return;
    case PHASE_TLS:
        outcome_fail(a, failure, a->reached, safe, "no TLS session with %s within %s", peer,
                outcome_seconds(a->total_us, seconds));
        return;
    case PHASE_CONNECT:
    case PHASE_DNS:
    case PHASE_NONE:
    case PHASE_MAX:
        outcome_fail(a, failure, a->reached, safe, "no connection to %s within %s", peer,
                outcome_seconds(a->total_us, seconds));
        return;
    }
}

static void outcome_fail_reset(
        struct flight *f, enum failure failure, bool safe, const char *peer, const char *text)
{
    struct attempt *a = &f->answer->attempt;

    if (a->reached == PHASE_RESPONSE)
        outcome_fail(a, failure, a->reached, safe,
                "%s closed the connection in the middle of its answer: %lld bytes received%s%s",
                peer, (long long)a->received_bytes, *text ? ", " : "", text);
    else
        outcome_fail(a, failure, a->reached, safe,
                "%s closed the connection%s without an answer: %lld bytes sent, 0 received", peer,
                a->reused ? ", which had been used before," : "", (long long)a->sent_bytes);
}

static void outcome_fail_connect(
        struct flight *f, CURL *curl, enum failure failure, const char *peer, const char *text)
{
    struct attempt *a = &f->answer->attempt;
    long os_errno = 0;

    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_errno);
    if (failure == FAILURE_CONNECTION_REFUSED)
        outcome_fail(a, failure, a->reached, true, "connection to %s refused", peer);
    else
        outcome_fail(a, failure, a->reached, true, "no connection to %s: %s", peer,
                os_errno ? strerrordesc_np((int)os_errno) : text);
}

static void outcome_fail_rest(
        struct flight *f, enum failure failure, bool safe, const char *peer, const char *text)
{
    struct attempt *a = &f->answer->attempt;
    const struct record *r = &f->record;
    char host[ADDRESS_TEXT_SIZE];

    if (failure == FAILURE_CANCELLED) {
        outcome_fail(a, failure, a->reached, safe, "the exchange was cancelled");
    } else if (failure == FAILURE_BLOCKED_ADDRESS) {
        address_format_host(&r->peer, host);
        outcome_fail(a, failure, a->reached, safe, "%s may not be called (%s)", host,
                egress_refusal(f->egress, &r->peer.any) ?: "refused");
    } else if (failure == FAILURE_STORAGE_FULL) {
        outcome_record_failed(f);
    } else if (failure == FAILURE_INTERNAL) {
        outcome_fail(a, failure, a->reached, safe, "the daemon could not do it: %s",
                r->failed ? strerrordesc_np(-r->failed) : text);
    } else if (failure == FAILURE_BODY_TOO_LARGE) {
        outcome_fail(a, failure, a->reached, safe,
                "the answer's body has more than the %lld bytes allowed",
                (long long)f->x->max_body_bytes);
    } else if (failure == FAILURE_BAD_RESPONSE) {
        outcome_fail(a, failure, a->reached, safe, "%s gave a broken answer: %s", peer,
                r->bad ? r->bad : text);
    } else {
        outcome_fail(a, failure, a->reached, safe, "%s: %s", peer, text);
    }
}

static void outcome_set_error(struct flight *f, CURL *curl, CURLcode code, const char *text)
{
    struct attempt *a = &f->answer->attempt;
    enum failure failure = outcome_failure(f, curl, code, text), shown = failure;
    bool safe = f->record.n_sends == 0 || f->x->idempotent;
    char address[ADDRESS_TEXT_SIZE];
    const char *peer = outcome_peer(f, address);

    if (failure == FAILURE_BAD_RESPONSE)
        a->reached = PHASE_RESPONSE;
    if (outcome_is_unknown(f, failure))
        shown = FAILURE_OUTCOME_UNKNOWN;
    if (failure == FAILURE_TIMEOUT)
        outcome_fail_timeout(f, shown, safe, peer);
    else if (failure == FAILURE_CONNECTION_RESET)
        outcome_fail_reset(f, shown, safe, peer, text);
    else if (failure == FAILURE_CONNECTION_REFUSED || failure == FAILURE_CONNECTION_FAILED)
        outcome_fail_connect(f, curl, failure, peer, text);
    else
        outcome_fail_rest(f, failure, safe, peer, text);
}

void outcome_record(struct flight *f, CURL *curl, CURLcode code, const char *text)
{
    struct attempt *a = &f->answer->attempt;
    const struct record *r = &f->record;
    struct marks m;

    if (code == CURLE_OK && !r->headers_ended)
        code = CURLE_PARTIAL_FILE; /* libcurl takes a header that breaks off for an answer */
    if (a->status < 200 || !r->headers_ended)
        a->status = a->http_version = 0;
    a->dns_us = f->dns_us;
    a->reused = r->resent || (r->n_sends > 0 && r->n_opened == 0);
    a->reached = outcome_reached(f, code);
    m = outcome_marks(f, curl);
    outcome_set_phases(a, &m, outcome_is_https(f));
    outcome_set_bytes(f, curl, a);
    if (code == CURLE_OUT_OF_MEMORY && a->sent_bytes > 0 && !r->headers_ended && !r->bad)
        f->record.bad = "a line of its header is too long"; /* libcurl holds 100 KiB, and says so */
    if (code != CURLE_OK || r->stopped)
        outcome_set_error(f, curl, code, *text ? text : curl_easy_strerror(code));
}

void outcome_record_late(struct flight *f)
{
    struct attempt *a = &f->answer->attempt;

    a->dns_us = f->dns_us;
    a->reached = f->dns_us == PHASE_NOT_TAKEN ? PHASE_NONE : PHASE_DNS;
    a->total_us = f->dns_us == PHASE_NOT_TAKEN ? 0 : f->dns_us;
    if (f->record.stopped)
        outcome_fail(a, FAILURE_CANCELLED, a->reached, true, "the exchange was cancelled");
    else if (f->record.failed)
        outcome_fail(a, FAILURE_INTERNAL, a->reached, true, "the daemon could not do it: %s",
                strerrordesc_np(-f->record.failed));
    else
        outcome_fail(a, FAILURE_TIMEOUT, a->reached, true,
                "timeout: no time was left to connect to %s", f->x->url);
}

void outcome_record_failed(struct flight *f)
{
    const struct record *r = &f->record;
    struct attempt *a = &f->answer->attempt;
    bool safe = r->n_sends == 0 || f->x->idempotent;

    if (r->full)
        outcome_fail(a, FAILURE_STORAGE_FULL, a->reached, safe,
                "the answer's body could not be stored: %s", strerrordesc_np(-r->failed));
    else
        outcome_fail(a, FAILURE_INTERNAL, a->reached, safe, "the daemon could not do it: %s",
                strerrordesc_np(-r->failed));
}

void outcome_record_lost(struct flight *f, const char *how)
{
    struct attempt *a = &f->answer->attempt;
    const struct record *r = &f->record;
    struct marks m = { .total_us = (clock_mono_ns() - r->begun_ns) / CLOCK_NS_PER_US };
    bool safe = r->n_sends == 0 || f->x->idempotent;

    if (r->n_sends > 0)
        m.connect_us = m.tls_us = (r->asked_ns - r->begun_ns) / CLOCK_NS_PER_US;
    a->dns_us = f->dns_us;
    a->reused = r->n_sends > 0 && r->n_opened == 0;
    a->reached = r->n_sends > 0 ? PHASE_REQUEST : PHASE_CONNECT;
    outcome_set_phases(a, &m, outcome_is_https(f));
    if (r->stopped)
        outcome_fail(a, FAILURE_CANCELLED, a->reached, safe, "the exchange was cancelled");
    else
        outcome_fail(a, safe ? FAILURE_INTERNAL : FAILURE_OUTCOME_UNKNOWN, a->reached, safe,
                "the worker process %s", how);
}
