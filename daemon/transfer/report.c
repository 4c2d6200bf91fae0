#include "daemon/transfer/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/transfer/head.h"
#include "daemon/transfer/transfer.h"
#include "daemon/transfer/wire.h"

#define SPAN_MAX_US  (INT64_C(1) << 53)
#define BYTES_MAX    (INT64_C(1) << 53)
#define STATUS_MAX   999
#define VERSION_MAX  99
#define LOCATION_MAX (2 * HEAD_MAX_BYTES) /* the URL with a Location on it */
#define MESSAGE_MAX  4096

int report_put(struct buf *b, const struct answer *answer)
{
    const struct attempt *a = &answer->attempt;
    struct wire w;

    wire_begin(&w, b, WIRE_REPORT);
    wire_put(&w, a->connect_us);
    wire_put(&w, a->tls_us);
    wire_put(&w, a->send_us);
    wire_put(&w, a->first_byte_us);
    wire_put(&w, a->receive_us);
    wire_put(&w, a->total_us);
    wire_put(&w, a->reused);
    wire_put(&w, a->http_version);
    wire_put(&w, a->sent_bytes);
    wire_put(&w, a->received_bytes);
    wire_put(&w, a->reached);
    wire_put(&w, a->status);
    wire_put(&w, a->error.failure);
    wire_put(&w, a->error.phase);
    wire_put(&w, a->error.retry_safe);
    wire_put(&w, answer->retry_after_us);
    wire_put_text(&w, a->remote);
    wire_put_text(&w, a->error.message);
    wire_put_text(&w, answer->redirect_url);
    wire_put_bytes(&w, answer->headers.data, answer->headers.n);
    return wire_end(&w);
}

static int64_t report_get_span(struct wire_view *v, int64_t *sum_us)
{
    int64_t us = wire_get_between(v, PHASE_NOT_TAKEN, SPAN_MAX_US);

    *sum_us += us == PHASE_NOT_TAKEN ? 0 : us;
    return us;
}

/* The phases share the total. */
static void report_get_spans(struct wire_view *v, int64_t dns_us, struct attempt *ret)
{
    int64_t sum_us = dns_us == PHASE_NOT_TAKEN ? 0 : dns_us;

    ret->dns_us = dns_us;
    ret->connect_us = report_get_span(v, &sum_us);
    ret->tls_us = report_get_span(v, &sum_us);
    ret->send_us = report_get_span(v, &sum_us);
    ret->first_byte_us = report_get_span(v, &sum_us);
    ret->receive_us = report_get_span(v, &sum_us);
    ret->total_us = wire_get_between(v, sum_us, sum_us);
}

static void report_get_attempt(struct wire_view *v, struct attempt *ret)
{
    ret->reused = wire_get_between(v, 0, 1);
    ret->http_version = (unsigned)wire_get_between(v, 0, VERSION_MAX);
    ret->sent_bytes = wire_get_between(v, 0, BYTES_MAX);
    ret->received_bytes = wire_get_between(v, 0, BYTES_MAX);
    ret->reached = (enum phase)wire_get_between(v, 0, PHASE_MAX - 1);
    ret->status = (unsigned)wire_get_between(v, 0, STATUS_MAX);
    ret->error.failure = (enum failure)wire_get_between(v, 0, FAILURE_MAX - 1);
    ret->error.phase = (enum phase)wire_get_between(v, 0, PHASE_MAX - 1);
    ret->error.retry_safe = wire_get_between(v, 0, 1);
}

static int report_get_copy(struct wire_view *v, size_t most, char **ret)
{
    const char *text = wire_get_text(v);

    if (text && strlen(text) > most)
        return -EPROTO;
    *ret = text ? strdup(text) : NULL;
    return text && !*ret ? -ENOMEM : 0;
}

/* Its lines are below the limit of head.c, and take less room here. */
static int report_get_headers(struct wire_view *v, struct answer *a)
{
    struct blob headers = { 0 };
    int rc;

    headers.data = (char *)wire_get_bytes(v, &headers.n);
    rc = pack_headers_check(&headers);
    if (rc == 0 && headers.n <= HEAD_MAX_BYTES)
        return blob_copy(headers.data, headers.n, &a->headers);
    return -EPROTO;
}

static int report_get_rest(struct wire_view *v, struct answer *a)
{
    const char *remote;
    int rc;

    a->retry_after_us = wire_get_between(v, 0, SPAN_MAX_US);
    remote = wire_get_text(v);
    if (!remote || strlen(remote) >= sizeof(a->attempt.remote))
        return -EPROTO;
    snprintf(a->attempt.remote, sizeof(a->attempt.remote), "%s", remote);
    rc = report_get_copy(v, MESSAGE_MAX, &a->attempt.error.message);
    if (rc == 0)
        rc = report_get_copy(v, LOCATION_MAX, &a->redirect_url);
    if (rc == 0)
        rc = report_get_headers(v, a);
    return rc < 0 ? rc : wire_close(v);
}

int report_get(struct wire_view *v, int64_t dns_us, struct answer *ret)
{
    struct answer a = { 0 };
    int rc;

    report_get_spans(v, dns_us, &a.attempt);
    report_get_attempt(v, &a.attempt);
    rc = report_get_rest(v, &a);
    if (rc < 0) {
        answer_done(&a);
        return rc;
    }
    answer_done(ret);
    *ret = a;
    return 0;
}
