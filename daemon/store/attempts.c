/*
 * A version byte, then the attempts one after the other. A number is a LEB128 of the value plus
 * one, so that PHASE_NOT_TAKEN is 0; a text is its length and its bytes, a text that is not there
 * the length -1.
 */
#include "daemon/store/attempts.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS_VERSION 1
#define NUMBER_MAX_BYTES 10
#define ATTEMPT_NUMBERS  24 /* more than it has */
#define NO_TEXT          (-1)

static char *put_number(char *p, int64_t value)
{
    uint64_t v = (uint64_t)value + 1;

    for (; v >= 0x80; v >>= 7)
        *p++ = (char)(v | 0x80);
    *p++ = (char)v;
    return p;
}

static char *put_text(char *p, const char *text)
{
    size_t n;

    if (!text)
        return put_number(p, NO_TEXT);
    n = strlen(text);
    p = put_number(p, (int64_t)n);
    return (char *)memcpy(p, text, n) + n;
}

static size_t text_size(const char *text)
{
    return NUMBER_MAX_BYTES + (text ? strlen(text) : 0);
}

static const char *unless_same(const char *text, const char *of_spec)
{
    return text && of_spec && strcmp(text, of_spec) == 0 ? NULL : text;
}

static const struct request_spec *request_of(const struct job_spec *s, unsigned step)
{
    return step == STEP_COLLECT ? &s->collect : &s->request;
}

static int attempt_pack(const struct attempt *a, const struct job_spec *spec, struct buf *to)
{
    const struct request_spec *q = request_of(spec, a->step);
    const char *url = unless_same(a->url, q->url), *method = unless_same(a->method, q->method);
    char *p;
    int rc = buf_reserve(to, ATTEMPT_NUMBERS * NUMBER_MAX_BYTES + text_size(url) +
                                     text_size(method) + text_size(a->remote) +
                                     text_size(a->error.message));

    if (rc < 0)
        return rc;
    p = to->data + to->n;
    p = put_number(p, a->n);
    p = put_number(p, a->hop);
    p = put_number(p, a->step);
    p = put_text(p, url);
    p = put_text(p, method);
    p = put_number(p, a->started_us);
    p = put_number(p, a->lane_wait_us);
    p = put_number(p, a->dns_us);
    p = put_number(p, a->connect_us);
    p = put_number(p, a->tls_us);
    p = put_number(p, a->send_us);
    p = put_number(p, a->first_byte_us);
    p = put_number(p, a->receive_us);
    p = put_number(p, a->total_us);
    p = put_number(p, a->reused);
    p = put_number(p, a->http_version);
    p = put_text(p, a->remote);
    p = put_number(p, a->sent_bytes);
    p = put_number(p, a->received_bytes);
    p = put_number(p, a->reached);
    p = put_number(p, a->status);
    p = put_number(p, a->error.failure);
    p = put_number(p, a->error.phase);
    p = put_number(p, a->error.retry_safe);
    p = put_text(p, a->error.message);
    to->n = (size_t)(p - to->data);
    return 0;
}

int attempts_pack(
        const struct attempt *attempts, size_t n, const struct job_spec *spec, struct buf *to)
{
    int rc = 0;

    if (n > 0)
        rc = buf_append(to, &(char){ ATTEMPTS_VERSION }, 1);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = attempt_pack(&attempts[i], spec, to);
    return rc;
}

/* What is left to read; the first error stays. */
struct reader {
    const unsigned char *p, *end;
    int rc;
};

static int64_t take_number(struct reader *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; r->p < r->end && shift < 64; shift += 7) {
        unsigned char byte = *r->p++;

        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return (int64_t)(v - 1);
    }
    r->rc = -EBADMSG;
    return 0;
}

static unsigned take_unsigned(struct reader *r, unsigned max)
{
    int64_t v = take_number(r);

    if (v >= 0 && v < max)
        return (unsigned)v;
    r->rc = -EBADMSG;
    return 0;
}

/* `of_spec` stands for a text that was left out. */
static char *take_text(struct reader *r, const char *of_spec)
{
    int64_t n = take_number(r);
    char *text = NULL;

    if (r->rc < 0 || (n == NO_TEXT && !of_spec))
        return NULL;
    if (n == NO_TEXT) {
        text = strdup(of_spec);
    } else if (n < 0 || n > r->end - r->p) {
        r->rc = -EBADMSG;
        return NULL;
    } else {
        text = strndup((const char *)r->p, (size_t)n);
        r->p += n;
    }
    if (!text)
        r->rc = -ENOMEM;
    return text;
}

static void take_remote(struct reader *r, struct attempt *a)
{
    int64_t n = take_number(r);

    if (n < 0 || n >= (int64_t)sizeof(a->remote) || n > r->end - r->p) {
        r->rc = -EBADMSG;
        return;
    }
    memcpy(a->remote, r->p, (size_t)n);
    r->p += n;
}

static void attempt_unpack(struct reader *r, const struct job_spec *spec, struct attempt *a)
{
    const struct request_spec *q;

    a->n = take_unsigned(r, UINT32_MAX);
    a->hop = take_unsigned(r, UINT32_MAX);
    a->step = take_unsigned(r, STEP_MAX);
    q = request_of(spec, a->step);
    a->url = take_text(r, q->url);
    a->method = take_text(r, q->method);
    a->started_us = take_number(r);
    a->lane_wait_us = take_number(r);
    a->dns_us = take_number(r);
    a->connect_us = take_number(r);
    a->tls_us = take_number(r);
    a->send_us = take_number(r);
    a->first_byte_us = take_number(r);
    a->receive_us = take_number(r);
    a->total_us = take_number(r);
    a->reused = take_number(r) != 0;
    a->http_version = take_unsigned(r, UINT32_MAX);
    take_remote(r, a);
    a->sent_bytes = take_number(r);
    a->received_bytes = take_number(r);
    a->reached = (enum phase)take_unsigned(r, PHASE_MAX);
    a->status = take_unsigned(r, UINT32_MAX);
    a->error.failure = (enum failure)take_unsigned(r, FAILURE_MAX);
    a->error.phase = (enum phase)take_unsigned(r, PHASE_MAX);
    a->error.retry_safe = take_number(r) != 0;
    a->error.message = take_text(r, NULL);
}

int attempts_unpack(const void *data, size_t size, const struct job_spec *spec,
        struct attempt **attempts, size_t *n)
{
    struct reader r = { .p = data, .end = (const unsigned char *)data + size };

    if (size == 0)
        return 0;
    if (*r.p++ != ATTEMPTS_VERSION)
        return -EBADMSG;
    while (r.rc == 0 && r.p < r.end) {
        struct attempt *all = reallocarray(*attempts, *n + 1, sizeof(*all));

        if (!all)
            return -ENOMEM;
        *attempts = all;
        all[*n] = (struct attempt){ 0 };
        attempt_unpack(&r, spec, &all[(*n)++]);
    }
    return r.rc;
}
