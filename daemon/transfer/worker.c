/*
 * What needs files is done before the sandbox is shut, and nothing from outside is read before
 * that. One exchange runs at a time; while it does, the daemon may only say that it is to stop. What
 * it left in memory is written over before the next one is read: frames here, all else when freed.
 */
#include "daemon/transfer/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/buf.h"
#include "daemon/transfer/drive.h"
#include "daemon/transfer/easy.h"
#include "daemon/transfer/egress.h"
#include "daemon/transfer/order.h"
#include "daemon/transfer/outcome.h"
#include "daemon/transfer/report.h"
#include "daemon/transfer/sandbox.h"
#include "daemon/transfer/wire.h"

#define READ_BYTES      65536
#define KEPT_BYTES      (1024 * 1024) /* of the memory that a large order took */
#define AUTHORITIES_MAX (16 * 1024 * 1024)
#define FREED_BYTE      0xff /* what free() writes over memory; malloc() its complement */

struct worker {
    int fd;
    struct buf order, stop, out; /* frames */
    struct buf authorities;      /* PEM */
    struct drive *drive;
    struct drive_control control;
    struct egress *rules;  /* NULL: none yet */
    struct errand *errand; /* NULL: nothing to do */
};

/* An exchange of the daemon's. */
struct errand {
    struct worker *worker;
    struct order order;
    struct answer answer;
    struct flight flight;
};

/* There is nobody to tell. */
__attribute__((noreturn)) static void worker_give_up(void)
{
    _exit(EXIT_FAILURE);
}

/* All frames that are complete; `rc` is of the last one. */
static void worker_send(struct worker *w, int rc)
{
    if (rc < 0)
        worker_give_up();
    for (size_t at = 0; at < w->out.n;) {
        ssize_t n = send(w->fd, w->out.data + at, w->out.n - at, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR)
            worker_give_up();
        at += n > 0 ? (size_t)n : 0;
    }
    explicit_bzero(w->out.data, w->out.n);
    w->out.n = 0;
}

/* The next frame, and nothing of the one behind it. False: the daemon is gone. */
static bool worker_read(struct worker *w, struct buf *b, struct wire_view *ret)
{
    size_t missing;

    if (b->capacity > KEPT_BYTES)
        buf_done(b);
    b->n = 0;
    while ((missing = wire_missing(b->data, b->n)) > 0) {
        ssize_t n;

        if (buf_reserve(b, missing) < 0)
            worker_give_up();
        n = recv(w->fd, b->data + b->n, missing, 0);
        if (n == 0)
            return false;
        if (n < 0 && errno != EINTR)
            worker_give_up();
        b->n += n > 0 ? (size_t)n : 0;
    }
    if (wire_next(b->data, b->n, SIZE_MAX, ret) <= 0)
        worker_give_up();
    return true;
}

static void worker_take_stop(struct drive_control *c)
{
    struct worker *w = CONTAINER_OF(c, struct worker, control);
    struct wire_view v;

    if (!worker_read(w, &w->stop, &v) || v.type != WIRE_STOP)
        worker_give_up();
    w->errand->flight.record.stopped = true;
}

/* Before the request is, so that it is known of it that it may be out. */
static void errand_asked(struct flight *f)
{
    struct errand *e = CONTAINER_OF(f, struct errand, flight);
    struct wire frame;

    wire_begin(&frame, &e->worker->out, WIRE_ASKED);
    wire_put_text(&frame, e->answer.attempt.remote);
    wire_put(&frame, f->record.n_opened == 0);
    worker_send(e->worker, wire_end(&frame));
}

static int errand_pass_body(struct body_sink *s, const void *data, size_t n)
{
    struct errand *e = CONTAINER_OF(s, struct errand, flight.body);
    struct wire frame;

    wire_begin(&frame, &e->worker->out, WIRE_BODY);
    wire_put(&frame, s->expected);
    wire_put_bytes(&frame, data, n);
    worker_send(e->worker, wire_end(&frame));
    return 0;
}

static void errand_prepare(struct errand *e)
{
    struct order *o = &e->order;
    struct flight *f = &e->flight;

    if (o->rules) {
        egress_unref(e->worker->rules);
        e->worker->rules = o->rules;
    }
    if (!e->worker->rules)
        worker_give_up();
    o->x.headers = &o->headers;
    f->x = &o->x;
    f->answer = &e->answer;
    f->egress = e->worker->rules;
    f->pin = o->pin;
    f->dns_us = o->dns_us;
    f->limit_us = o->limit_us;
    f->record.content_length = -1;
    f->asked = errand_asked;
    attempt_init(&e->answer.attempt);
    body_sink_init(&f->body, NULL, "", o->x.max_body_bytes);
    f->body.pass_on = errand_pass_body;
}

static void answer_wipe(struct answer *a)
{
    if (a->headers.data)
        explicit_bzero(a->headers.data, a->headers.n);
    if (a->redirect_url)
        explicit_bzero(a->redirect_url, strlen(a->redirect_url));
    answer_done(a);
}

static void worker_run(struct worker *w, struct wire_view *v)
{
    struct errand e = { .worker = w };

    if (order_get(v, &e.order) < 0)
        worker_give_up();
    errand_prepare(&e);
    w->errand = &e;
    drive_mend(w->drive);
    drive_run(w->drive, &e.flight);
    w->errand = NULL;
    worker_send(w, report_put(&w->out, &e.answer));
    answer_wipe(&e.answer);
    explicit_bzero(w->order.data, w->order.n);
}

static int worker_read_file(const char *path, struct buf *ret)
{
    int fd CLEANUP(cleanup_close) = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return -errno;
    do {
        if (ret->n > AUTHORITIES_MAX || buf_reserve(ret, READ_BYTES) < 0)
            return -ENOMEM;
        n = read(fd, ret->data + ret->n, READ_BYTES);
        if (n < 0)
            return -errno;
        ret->n += (size_t)n;
    } while (n > 0);
    return 0;
}

/* Without the file no certificate will be trusted, as in the daemon. */
static void worker_read_authorities(struct worker *w)
{
    const char *path = curl_version_info(CURLVERSION_NOW)->cainfo;

    if (path && worker_read_file(path, &w->authorities) < 0)
        w->authorities.n = 0;
}

static void worker_prepare(struct worker *w, struct wire_view *hello)
{
    struct drive_options options = { .connect_timeout_us = wire_get(hello) };

    if (hello->type != WIRE_HELLO || wire_close(hello) < 0)
        worker_give_up();
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        worker_give_up();
    worker_read_authorities(w);
    w->control = (struct drive_control){ .fd = w->fd, .ready = worker_take_stop };
    options.control = &w->control;
    options.authorities = w->authorities.data;
    options.authorities_bytes = w->authorities.n;
    if (drive_new(&options, &w->drive) < 0)
        worker_give_up();
}

void worker_main(int fd)
{
    struct worker w = { .fd = fd };
    struct wire frame;
    struct wire_view v;
    int rc;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    mallopt(M_PERTURB, FREED_BYTE);
    if (!worker_read(&w, &w.order, &v))
        worker_give_up();
    worker_prepare(&w, &v);
    rc = sandbox_enter();
    wire_begin(&frame, &w.out, WIRE_READY);
    wire_put(&frame, rc);
    worker_send(&w, wire_end(&frame));
    if (rc < 0)
        worker_give_up();
    while (worker_read(&w, &w.order, &v))
        if (v.type == WIRE_ORDER)
            worker_run(&w, &v);
        else if (v.type != WIRE_STOP) /* one that came too late */
            worker_give_up();
    _exit(EXIT_SUCCESS);
}
