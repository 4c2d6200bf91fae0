/* The head and the body of a request, as they arrive: what is let in, and what becomes of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/exchange_state.h"
#include "api/idempotency.h"
#include "api/query.h"

#define UPLOAD_HIGH_BYTES (256 * 1024) /* waiting for the handler: then the client has to wait */
#define DISCARD_MAX_BYTES (1 << 20)    /* of a body that is of no use, to keep the connection */

static bool media_type_is(const struct framing_field *type, const char *wanted)
{
    const char *end = type->value ? memchr(type->value, ';', type->value_n) : NULL;
    size_t n = end ? (size_t)(end - type->value) : type->value_n;

    while (n > 0 && strchr(" \t", type->value[n - 1]))
        n--;
    return type->value && n == strlen(wanted) && strncasecmp(type->value, wanted, n) == 0;
}

/* Whose body it is: the handler, what to do with it, and how large it may be. */
static void choose_handler(struct exchange *x, const struct framing *f, bool body)
{
    const struct route *route = x->route;
    bool json = media_type_is(&f->content_type, "application/json");

    x->handle = route->handle;
    x->use = route->json ? BODY_WHOLE : BODY_DISCARD;
    x->body_max = route->json ? x->api->options.max_body_bytes : DISCARD_MAX_BYTES;
    if (route->handle_lines && media_type_is(&f->content_type, REPLY_NDJSON)) {
        x->handle = route->handle_lines;
        if (x->request.idempotency_key)
            reply_problem(&x->reply, 422, NULL,
                    IDEMPOTENCY_HEADER " does not go with many jobs: give each line a member "
                                       "\"idempotency_key\"");
        x->use = BODY_STREAM;
        x->body_max = x->api->options.max_bulk_bytes;
    } else if (body && !json) {
        reply_problem(&x->reply, 415, NULL,
                route->handle_lines
                        ? "the body must be application/json, which curl --json says, or "
                          "application/x-ndjson"
                        : "the body must be application/json, which curl --json says");
        return;
    }
    if (!x->reply.status && f->content_length > x->body_max)
        reply_problem(
                &x->reply, 413, NULL, "the body is larger than %lld bytes", (long long)x->body_max);
    else if (!x->reply.status && x->use == BODY_WHOLE && f->content_length > 0 &&
             exchange_is_too_much(x, f->content_length))
        reply_error(&x->reply, x->request.service, -ENOBUFS);
}

static int find_route(struct exchange *x, const char *method)
{
    char allow[ROUTE_ALLOW_SIZE];
    size_t id_n = 0;
    const char *id = NULL;
    int rc = route_find(method, x->request.path, &x->route, &id, &id_n, allow);

    if (rc == -ENOENT)
        reply_problem(&x->reply, 404, NULL, "there is no such resource");
    if (rc == -EPERM) {
        reply_problem(&x->reply, 405, NULL, "the methods here are %s", allow);
        reply_add_header(&x->reply, "Allow", "%s", allow);
    }
    if (rc < 0)
        return 0;
    x->request.head = strcmp(method, "HEAD") == 0;
    x->method = x->request.head ? "HEAD" : x->route->method;
    if (id) {
        x->request.id_text = strndup(id, id_n);
        if (!x->request.id_text)
            return -ENOMEM;
    }
    return 0;
}

static int copy_field(const struct framing_field *f, char **ret)
{
    if (f->value)
        *ret = strndup(f->value, f->value_n);
    return f->value && !*ret ? -ENOMEM : 0;
}

static int read_key(struct exchange *x, const struct framing_field *f)
{
    CLEANUP(faults_done) struct faults faults = { 0 };
    int rc;

    if (!f->value || !x->route->json)
        return 0;
    rc = idempotency_parse(f->value, f->value_n, &x->request.idempotency_key);
    if (rc != -EINVAL)
        return rc;
    faults_parameter(&faults, IDEMPOTENCY_HEADER, IDEMPOTENCY_KEY_RULE);
    reply_problem(&x->reply, 400, &faults, IDEMPOTENCY_HEADER " can't be understood");
    return 0;
}

/* 0 with or without a problem in x->reply. */
static int route_request(struct exchange *x, const char *method, const struct framing *f, bool body)
{
    const char *why = NULL;
    int rc = request_parse_target(&x->request, x->target, &why);

    if (rc == -EINVAL) {
        reply_problem(&x->reply, 400, NULL, "%s", why);
        return 0;
    }
    if (rc == 0)
        rc = find_route(x, method);
    if (rc < 0 || !x->route)
        return rc;
    rc = copy_field(&f->prefer, &x->request.prefer);
    if (rc == 0)
        rc = copy_field(&f->accept, &x->request.accept);
    if (rc == 0)
        rc = read_key(x, &f->idempotency_key);
    if (rc < 0 || x->reply.status)
        return rc;
    query_check(&x->request, x->route->parameters);
    if (x->route->parameters || !query_is_bad(&x->request, &x->reply))
        choose_handler(x, f, body);
    return 0;
}

bool intake_head(struct exchange *x, const char *method, const char *version)
{
    struct framing_head head = {
        .target = x->target, .version = version, .local = x->connection->local
    };
    struct framing_fault fault;
    struct framing framing;
    bool body, keep;
    int rc;

    connection_fields(x->connection, &head);
    connection_no_deadline(x->connection);
    x->phase = EXCHANGE_BODY;
    if (!framing_check(&head, &x->api->hosts, &framing, &fault)) {
        reply_problem(&x->reply, fault.status, NULL, "%s", fault.detail);
        x->reply.close = true;
        return answer_send(x);
    }
    body = framing.content_length > 0 || framing.chunked;
    rc = x->api->stopping ? -ESHUTDOWN : route_request(x, method, &framing, body);
    if (rc < 0)
        reply_error(&x->reply, x->request.service, rc);
    keep = framing.content_length <= DISCARD_MAX_BYTES && !framing.chunked &&
           !(body && framing.expect_continue) && !x->api->stopping;
    if (x->reply.status && !keep) {
        x->reply.close = true;
        return answer_send(x);
    }
    if (x->reply.status) {
        x->use = BODY_DISCARD;
        x->body_max = DISCARD_MAX_BYTES;
        x->ready = true;
    }
    if (body)
        connection_body_moves(x->connection);
    if (x->use == BODY_STREAM)
        exchange_spawn(x);
    return true;
}

/* False: close the connection. */
static bool keep_piece(struct exchange *x, const char *data, size_t n)
{
    if (buf_append(&x->request.body, data, n) < 0)
        return false;
    exchange_account(x);
    if (x->use == BODY_WHOLE) {
        if (!exchange_is_too_much(x, 0))
            return true;
        connection_refuse(x->connection, 503, reply_error_detail(-ENOBUFS));
        x->connection->lingers = true;
        return false;
    }
    co_condition_notify_all(&x->moved);
    if (x->request.body.n >= UPLOAD_HIGH_BYTES || exchange_is_too_much(x, 0)) {
        exchange_suspend(x);
        connection_no_deadline(x->connection);
    }
    return true;
}

static void refuse_rest(struct exchange *x)
{
    x->body_too_large = true;
    if (x->use == BODY_WHOLE) {
        buf_done(&x->request.body);
        exchange_account(x);
        reply_problem(
                &x->reply, 413, NULL, "the body is larger than %lld bytes", (long long)x->body_max);
        x->reply.close = true;
        x->ready = true;
    }
    x->use = BODY_DISCARD;
    x->body_max = x->received + DISCARD_MAX_BYTES;
    co_condition_notify_all(&x->moved);
}

bool intake_body(struct exchange *x, const char *data, size_t n)
{
    x->received += (int64_t)n;
    connection_look_again(x->connection);
    if (x->received >= x->progress + EXCHANGE_PROGRESS_BYTES) {
        x->progress = x->received;
        connection_body_moves(x->connection);
    }
    if (x->received > x->body_max) {
        if (x->use == BODY_DISCARD) {
            connection_refuse(x->connection, 413, "the body is larger than this daemon takes");
            x->connection->lingers = true;
            return false;
        }
        refuse_rest(x);
    }
    /* An answer before the end of the upload: the rest is of no use. */
    if (x->use == BODY_STREAM && x->ready)
        x->use = BODY_DISCARD;
    if (x->use == BODY_DISCARD)
        return true;
    return keep_piece(x, data, n);
}

void intake_end(struct exchange *x)
{
    x->phase = EXCHANGE_ANSWER;
    x->body_ended = !x->body_too_large;
    connection_no_deadline(x->connection);
    co_condition_notify_all(&x->moved);
    if (!x->ready && x->handle == x->route->handle)
        exchange_spawn(x);
}
