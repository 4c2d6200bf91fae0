/* The answer on its way to microhttpd: a buffer, a file, or what a handler writes piece by piece. */
#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "api/exchange_state.h"

#define STREAM_BLOCK (32 * 1024)

/* MHD_ContentReaderCallback. */
static ssize_t answer_pull(void *arg, uint64_t position, char *data, size_t size)
{
    struct exchange *x = arg;
    size_t left = x->out.n - x->out_at;

    (void)position;
    if (left > 0) {
        size_t n = left < size ? left : size;

        memcpy(data, x->out.data + x->out_at, n);
        x->out_at += n;
        if (x->out_at == x->out.n) {
            x->out.n = x->out_at = 0;
            exchange_account_answer(x, 0);
            co_condition_notify_all(&x->moved);
        }
        return (ssize_t)n;
    }
    if (x->gone || (x->stream_ended && !x->stream_whole))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (x->stream_ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    exchange_suspend(x);
    return 0;
}

static void answer_pulled(void *arg)
{
    exchange_unref(arg);
}

/* The body goes over to microhttpd. NULL: no memory; what was not handed over stays ours. */
static struct MHD_Response *answer_make_response(struct exchange *x)
{
    struct MHD_Response *response;
    struct reply *r = &x->reply;

    if (x->streaming) {
        response = MHD_create_response_from_callback(
                MHD_SIZE_UNKNOWN, STREAM_BLOCK, answer_pull, x, answer_pulled);
        if (response)
            x->refs++;
    } else if (r->fd >= 0) {
        response = MHD_create_response_from_fd64((uint64_t)r->fd_bytes, r->fd);
        if (response)
            r->fd = -1;
    } else {
        response =
                MHD_create_response_from_buffer_with_free_callback(r->body.n, r->body.data, free);
        if (response)
            r->body = (struct buf){ 0 };
    }
    return response;
}

static bool answer_add_headers(const struct exchange *x, struct MHD_Response *response)
{
    const struct reply *r = &x->reply;
    bool good = MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") &&
                MHD_add_response_header(response, "Cache-Control", "no-store");

    if (r->type)
        good = good && MHD_add_response_header(response, "Content-Type", r->type);
    for (size_t i = 0; i < r->n_headers; i++)
        good = good && MHD_add_response_header(response, r->headers[i].name, r->headers[i].value);
    if (r->close || x->api->stopping)
        good = good && MHD_add_response_header(response, "Connection", "close");
    return good;
}

/* What was only asked for can be asked for again. */
static void answer_hold(struct exchange *x)
{
    size_t n = x->reply.body.n;

    if (x->streaming)
        return;
    exchange_account_answer(x, n);
    if (n <= EXCHANGE_SMALL_BYTES || strcmp(x->method, "GET") != 0 ||
            !exchange_answers_are_too_large(x))
        return;
    exchange_account_answer(x, 0);
    reply_error(&x->reply, x->request.service, -EOVERFLOW);
}

bool answer_send(struct exchange *x)
{
    struct MHD_Response *response;
    bool good;

    answer_hold(x);
    response = answer_make_response(x);
    good = response && answer_add_headers(x, response);
    x->status = x->reply.status;
    x->phase = EXCHANGE_SENT;
    x->connection->lingers = !x->body_ended;
    connection_no_deadline(x->connection);
    if (good)
        good = MHD_queue_response(x->connection->mhd, x->status, response) == MHD_YES;
    if (response)
        MHD_destroy_response(response);
    return good;
}
