#include "api/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/exchange_state.h"
#include "daemon/base/clock.h"

#define STREAM_HIGH_BYTES (64 * 1024) /* waiting for the client: then the handler has to wait */
#define MEMORY_WAIT_NS    (10 * 1000000000LL) /* of an upload, for others to give some back */

void request_done(struct request *r)
{
    free(r->path);
    free(r->query);
    for (size_t i = 0; i < r->n_parameters; i++) {
        free(r->parameters[i].name);
        free(r->parameters[i].value);
    }
    free(r->parameters);
    free(r->prefer);
    free(r->accept);
    free(r->idempotency_key);
    free(r->id_text);
    faults_done(&r->faults);
    buf_done(&r->body);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoding; -EINVAL for a broken escape and for NUL. */
static int decode(const char *text, size_t n, bool plus_is_space, char **ret)
{
    char *out = malloc(n + 1), *to = out;

    if (!out)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int c = (unsigned char)text[i];

        if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '%') {
            int high = n - i > 2 ? hex_digit(text[i + 1]) : -1;
            int low = n - i > 2 ? hex_digit(text[i + 2]) : -1;

            c = high < 0 || low < 0 ? 0 : high << 4 | low;
            i += 2;
        }
        if (c == 0) {
            free(out);
            return -EINVAL;
        }
        *to++ = (char)c;
    }
    *to = 0;
    *ret = out;
    return 0;
}

static int add_parameter(struct request *r, const char *text, size_t n)
{
    const char *equals = memchr(text, '=', n);
    size_t name_n = equals ? (size_t)(equals - text) : n;
    struct request_parameter p = { 0 }, *list;
    int rc = decode(text, name_n, true, &p.name);

    if (rc == 0)
        rc = decode(equals ? equals + 1 : "", equals ? n - name_n - 1 : 0, true, &p.value);
    if (rc == -EINVAL && p.name) {
        faults_parameter(&r->faults, p.name, "has a broken escape, or one of NUL");
        free(p.name);
        return 0;
    }
    list = rc == 0 ? reallocarray(r->parameters, r->n_parameters + 1, sizeof(*list)) : NULL;
    if (!list) {
        free(p.name);
        free(p.value);
        return rc < 0 ? rc : -ENOMEM;
    }
    r->parameters = list;
    list[r->n_parameters++] = p;
    return 0;
}

int request_parse_target(struct request *r, const char *target, const char **ret_why)
{
    size_t path_n = strcspn(target, "?#");
    const char *p = target + path_n;
    int rc = decode(target, path_n, false, &r->path);

    *ret_why = "the path has a broken escape";
    if (rc < 0 || *p != '?')
        return rc;
    r->query = strdup(++p);
    if (!r->query)
        return -ENOMEM;
    *ret_why = "the query has a broken escape";
    while (*p && rc == 0) {
        size_t n = strcspn(p, "&");

        if (n > 0)
            rc = add_parameter(r, p, n);
        p += n + (p[n] == '&');
    }
    return rc;
}

int request_id(const struct request *r, struct uuid7 *ret)
{
    return r->id_text && uuid7_parse(r->id_text, ret) == 0 ? 0 : -ENOENT;
}

static struct exchange *request_exchange(const struct request *r)
{
    return CONTAINER_OF(r, struct exchange, request);
}

CO_SUSPENDS static int request_wait_for_memory(struct request *r)
{
    struct exchange *x = request_exchange(r);
    struct co_scope scope, timed;
    int rc = 0;

    co_scope_open(&timed, clock_mono_ns() + MEMORY_WAIT_NS, 0);
    request_wait_open(r, &scope);
    while (rc == 0 && exchange_is_too_much(x, 0))
        rc = co_condition_wait(&x->api->less_held);
    rc = request_wait_close(r, &scope, rc);
    rc = co_scope_close(&timed, rc);
    if (rc == 0)
        exchange_wake(x);
    return rc == -ETIMEDOUT || (rc == -ECANCELED && !x->gone) ? -ENOBUFS : rc;
}

int request_read(struct request *r, struct buf *into)
{
    struct exchange *x = request_exchange(r);
    int rc = 0;

    while (r->body.n == 0 && !x->body_ended && !x->body_cut && !x->body_too_large && rc == 0)
        rc = x->suspended && exchange_is_too_much(x, 0) ? request_wait_for_memory(r)
                                                        : co_condition_wait(&x->moved);
    if (rc < 0)
        return rc;
    if (r->body.n == 0)
        return x->body_ended ? 0 : x->body_too_large ? -EFBIG : -ECONNRESET;
    if (into->n == 0) {
        struct buf empty = *into;

        *into = r->body;
        r->body = empty;
    } else {
        rc = buf_append(into, r->body.data, r->body.n);
    }
    x->handler_holds += (int64_t)r->body.n;
    r->body.n = 0;
    if (x->suspended && !exchange_is_too_much(x, 0))
        exchange_wake(x);
    return rc < 0 ? rc : 1;
}

void request_holds(struct request *r, int64_t bytes)
{
    struct exchange *x = request_exchange(r);

    x->handler_holds = bytes;
    exchange_account(x);
}

void request_drop_body(struct request *r)
{
    buf_done(&r->body);
    exchange_account(request_exchange(r));
}

int request_may_wait(struct request *r)
{
    struct exchange *x = request_exchange(r);

    if (x->waits)
        return 0;
    if (x->api->n_waiters >= x->api->options.max_waiters)
        return -EMLINK;
    x->waits = true;
    x->api->n_waiters++;
    return 0;
}

void request_wait_open(struct request *r, struct co_scope *scope)
{
    struct exchange *x = request_exchange(r);

    co_scope_open(scope, CO_NEVER, 0);
    x->waiting = scope;
    if (x->connection && x->connection->hung_up)
        exchange_gone(x);
    if (x->gone || x->api->stopping)
        co_scope_cancel(scope);
    else if (x->suspended)
        connection_watch_reset(x->connection, true);
}

int request_wait_close(struct request *r, struct co_scope *scope, int rc)
{
    struct exchange *x = request_exchange(r);

    x->waiting = NULL;
    if (x->suspended && !x->streaming)
        connection_watch_reset(x->connection, false);
    return co_scope_close(scope, rc);
}

bool request_gone(const struct request *r)
{
    return request_exchange(r)->gone;
}

bool request_stopping(const struct request *r)
{
    return request_exchange(r)->api->stopping;
}

struct co_lock *request_heavy_lock(const struct request *r)
{
    return &request_exchange(r)->api->heavy;
}

void request_stream(struct request *r, struct reply *reply)
{
    struct exchange *x = request_exchange(r);

    x->reply = *reply;
    x->out = x->reply.body;
    x->reply.body = (struct buf){ 0 };
    x->streaming = true;
    x->ready = true;
    exchange_wake(x);
}

int request_write(struct request *r, const void *data, size_t n)
{
    struct exchange *x = request_exchange(r);
    int rc = 0;

    while (!x->gone && rc == 0 &&
            x->out.n > (exchange_answers_are_too_large(x) ? 0 : STREAM_HIGH_BYTES))
        rc = co_condition_wait(&x->moved);
    if (x->gone)
        return -ECANCELED;
    if (rc == 0)
        rc = buf_append(&x->out, data, n);
    exchange_account_answer(x, x->out.n);
    if (rc == 0)
        exchange_wake(x);
    return rc;
}
