/*
 * The socket to the worker never blocks; the thread waits for it, for a stop and for the time, all
 * in one poll(2). A worker that ends, that says what no worker says, or that does not end its
 * exchange in time is killed and reaped, and the next exchange gets a new one.
 */
#include "daemon/transfer/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/buf.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/transfer/egress.h"
#include "daemon/transfer/flight.h"
#include "daemon/transfer/order.h"
#include "daemon/transfer/outcome.h"
#include "daemon/transfer/report.h"
#include "daemon/transfer/wire.h"
#include "daemon/transfer/worker.h"

#define READ_BYTES 65536
#define FRAME_MAX  (512 * 1024)       /* a report with the longest header and Location */
#define KEPT_BYTES (1024 * 1024)      /* of the memory that a large order took */
#define GRACE_NS   (1000 * 1000000LL) /* for a worker to end an exchange that is over */
#define DYING_MS   200                /* for one whose socket is closed to have ended */

struct remote {
    struct carrier carrier;
    struct carrier_options options;
    int wake_fd; /* eventfd: `stop` of the carrier is to be looked at */
    int fd;      /* -1: there is no worker */
    pid_t pid;
    bool ready;           /* it has said so */
    int unshut;           /* -errno: it has said that it can't be shut in, and why */
    struct egress *rules; /* those it has; NULL: none */
    struct buf in, out;
    struct flight *flight;
    int64_t limit_ns; /* when it must have ended the exchange */
    bool stopping;    /* it was told to */
    bool reported;
};

/* The socket of one that ends is closed a moment before. One that goes on is not waited for. */
static bool remote_has_ended(const struct remote *r)
{
    int fd CLEANUP(cleanup_close) = (int)syscall(SYS_pidfd_open, r->pid, 0);
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return fd < 0 || poll(&p, 1, DYING_MS) > 0;
}

/* `how` it ended, or why it was killed: its socket may be closed while it goes on. */
static void remote_reap(struct remote *r, int rc, char *how, size_t size)
{
    bool ended = rc == -EPIPE && remote_has_ended(r);
    int status = 0;

    kill(r->pid, SIGKILL);
    close(r->fd);
    r->fd = -1;
    waitpid(r->pid, &status, 0);
    r->rules = egress_unref(r->rules);
    r->in.n = r->out.n = 0;
    if (rc == -ETIMEDOUT)
        snprintf(how, size, "did not end the exchange in time");
    else if (rc != -EPIPE)
        snprintf(how, size, "%s: %s", r->unshut ? "can't be shut in" : "was given up",
                strerrordesc_np(-rc) ?: "unknown error");
    else if (!ended)
        snprintf(how, size, "closed its socket");
    else if (WIFSIGNALED(status))
        snprintf(how, size, "was killed by signal %d (%s)", WTERMSIG(status),
                sigdescr_np(WTERMSIG(status)) ?: "?");
    else
        snprintf(how, size, "ended with status %d", WEXITSTATUS(status));
}

/* The socket as WORKER_FD, nothing behind it, no environment; it ends when the socket does. */
static int remote_prepare_spawn(
        posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, int fd)
{
    const short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    sigset_t blocked, reset;
    int rc = posix_spawn_file_actions_adddup2(actions, fd, WORKER_FD);

    for (int i = 0; rc == 0 && i < WORKER_FD; i++)
#ifdef BAEDAL_SANITIZED
        if (i != STDERR_FILENO)
#endif
            rc = posix_spawn_file_actions_addopen(actions, i, "/dev/null", O_RDWR, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(actions, WORKER_FD + 1);
    /* What the daemon is told to do, be it from a terminal, is for the daemon. */
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGHUP);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGPIPE);
    sigfillset(&reset);
    posix_spawnattr_setsigmask(attributes, &blocked);
    posix_spawnattr_setsigdefault(attributes, &reset);
    posix_spawnattr_setflags(attributes, flags);
    return -rc;
}

static int remote_spawn(struct remote *r, int fd)
{
    char *const argv[] = { "baedald", "--worker", NULL }, *const environment[] = { NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int rc;

    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    rc = remote_prepare_spawn(&actions, &attributes, fd);
    if (rc == 0)
        rc = -posix_spawn(&r->pid, "/proc/self/exe", &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static int remote_start(struct remote *r)
{
    struct wire hello;
    int pair[2], rc;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    rc = remote_spawn(r, pair[1]);
    close(pair[1]);
    if (rc < 0) {
        close(pair[0]);
        return rc;
    }
    r->fd = pair[0];
    r->ready = false;
    r->unshut = 0;
    wire_begin(&hello, &r->out, WIRE_HELLO);
    wire_put(&hello, r->options.connect_timeout_us);
    return wire_end(&hello);
}

/* One that ended while it had nothing to do is no affair of the next exchange. */
static bool remote_is_gone(const struct remote *r)
{
    struct pollfd p = { .fd = r->fd };

    return poll(&p, 1, 0) != 0;
}

static int remote_order(struct remote *r, struct flight *f)
{
    char how[128];
    int rc = 0;

    if (r->fd >= 0 && remote_is_gone(r))
        remote_reap(r, -EPROTO, how, sizeof(how));
    if (r->fd < 0)
        rc = remote_start(r);
    if (rc == 0)
        rc = order_put(&r->out, f, r->rules != f->egress);
    if (rc < 0)
        return rc;
    if (r->rules != f->egress) {
        egress_unref(r->rules);
        r->rules = egress_ref(f->egress);
    }
    r->flight = f;
    r->limit_ns = f->x->deadline_ns + GRACE_NS;
    r->stopping = r->reported = false;
    return 0;
}

static int remote_stop(struct remote *r)
{
    struct wire w;

    if (r->stopping)
        return 0;
    r->stopping = true;
    r->limit_ns = clock_mono_ns() + GRACE_NS;
    wire_begin(&w, &r->out, WIRE_STOP);
    return wire_end(&w);
}

static int remote_take_ready(struct remote *r, struct wire_view *v)
{
    int64_t rc = wire_get_between(v, -4095, 1);

    if (r->ready || wire_close(v) < 0)
        return -EPROTO;
    r->ready = rc >= 0;
    r->unshut = rc < 0 ? (int)rc : 0;
    if (rc > 0 && !atomic_exchange(r->options.landlock_missed, true))
        log_warning("the kernel has no Landlock: worker processes are shut in by seccomp alone");
    return r->unshut;
}

static int remote_take_asked(struct remote *r, struct wire_view *v)
{
    struct record *record = &r->flight->record;
    struct attempt *a = &r->flight->answer->attempt;
    const char *remote = wire_get_text(v);
    bool reused = wire_get_between(v, 0, 1);

    if (wire_close(v) < 0 || !remote || strlen(remote) >= sizeof(a->remote) || record->n_sends > 0)
        return -EPROTO;
    snprintf(a->remote, sizeof(a->remote), "%s", remote);
    record->n_sends = 1;
    record->n_opened = !reused;
    record->asked_ns = clock_mono_ns();
    return 0;
}

/* The worker counts, too, and sends no more than what is allowed. */
static int remote_take_body(struct remote *r, struct wire_view *v)
{
    struct flight *f = r->flight;
    int64_t expected = wire_get_between(v, -1, INT64_MAX);
    size_t n;
    const char *data = wire_get_bytes(v, &n);
    int rc;

    if (wire_close(v) < 0 || !data || f->record.n_sends == 0)
        return -EPROTO;
    if (f->record.failed)
        return 0;
    if (f->body.bytes == 0)
        f->body.expected = expected;
    rc = body_sink_add(&f->body, data, n);
    if (rc == -EFBIG)
        return -EPROTO;
    if (rc == 0)
        return 0;
    record_body_failed(&f->record, rc);
    return remote_stop(r);
}

/* Names are looked up, and answers judged, by the daemon alone. */
static bool remote_may_fail(const struct remote *r, enum failure failure)
{
    switch (failure) {
    case FAILURE_NONE:
    case FAILURE_BLOCKED_ADDRESS:
    case FAILURE_CONNECTION_REFUSED:
    case FAILURE_CONNECTION_FAILED:
    case FAILURE_CONNECTION_RESET:
    case FAILURE_TLS_FAILED:
    case FAILURE_CERTIFICATE_INVALID:
    case FAILURE_TIMEOUT:
    case FAILURE_BAD_RESPONSE:
    case FAILURE_BODY_TOO_LARGE:
    case FAILURE_INTERNAL:
        return true;
    case FAILURE_OUTCOME_UNKNOWN:
        return r->flight->record.n_sends > 0 && !r->flight->x->idempotent;
    case FAILURE_CANCELLED:
        return r->stopping;
    case FAILURE_DNS_NOT_FOUND:
    case FAILURE_DNS_FAILED:
    case FAILURE_TOO_MANY_REDIRECTS:
    case FAILURE_BAD_REDIRECT:
    case FAILURE_UNEXPECTED_STATUS:
    case FAILURE_DEADLINE_EXCEEDED:
    case FAILURE_DAEMON_CRASHED:
    case FAILURE_STORAGE_FULL:
    case FAILURE_MAX:
        break;
    }
    return false;
}

/* Whether the request was let go is known from WIRE_ASKED, and must be so in the report. */
static int remote_take_report(struct remote *r, struct wire_view *v)
{
    struct flight *f = r->flight;
    struct answer answer = { 0 };
    struct job_error *error = &answer.attempt.error;
    bool sent = f->record.n_sends > 0;
    int rc = report_get(v, f->dns_us, &answer);

    if (rc < 0)
        return rc;
    if (!remote_may_fail(r, error->failure) || sent != (answer.attempt.reached >= PHASE_REQUEST)) {
        answer_done(&answer);
        return -EPROTO;
    }
    error->retry_safe = error->failure != FAILURE_NONE && (!sent || f->x->idempotent);
    answer_done(f->answer);
    *f->answer = answer;
    if (f->record.failed)
        outcome_record_failed(f);
    r->reported = true;
    return 0;
}

static int remote_take(struct remote *r, struct wire_view *v)
{
    if (!r->ready && v->type != WIRE_READY)
        return -EPROTO;
    switch (v->type) {
    case WIRE_READY:
        return remote_take_ready(r, v);
    case WIRE_ASKED:
        return remote_take_asked(r, v);
    case WIRE_BODY:
        return remote_take_body(r, v);
    case WIRE_REPORT:
        return remote_take_report(r, v);
    case WIRE_HELLO:
    case WIRE_ORDER:
    case WIRE_STOP:
    case WIRE_TYPE_MAX:
        break;
    }
    return -EPROTO;
}

static int remote_take_frames(struct remote *r)
{
    struct wire_view v;
    int64_t bytes = 0;
    size_t at = 0;
    int rc = 0;

    while (rc == 0 && !r->reported &&
            (bytes = wire_next(r->in.data + at, r->in.n - at, FRAME_MAX, &v)) > 0) {
        at += (size_t)bytes;
        rc = remote_take(r, &v);
    }
    buf_consume(&r->in, at);
    if (rc == 0 && bytes < 0)
        rc = (int)bytes;
    return rc == 0 && r->reported && r->in.n > 0 ? -EPROTO : rc;
}

/* -EPIPE: it has ended. */
static int remote_read(struct remote *r)
{
    ssize_t n;
    int rc = buf_reserve(&r->in, READ_BYTES);

    if (rc < 0)
        return rc;
    n = recv(r->fd, r->in.data + r->in.n, READ_BYTES, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -EPIPE;
    if (n == 0)
        return -EPIPE;
    r->in.n += (size_t)n;
    return remote_take_frames(r);
}

static int remote_write(struct remote *r)
{
    ssize_t n = send(r->fd, r->out.data, r->out.n, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0) /* what it said before it ended is to be read first */
        return errno == EAGAIN || errno == EINTR || errno == EPIPE || errno == ECONNRESET ? 0
                                                                                          : -errno;
    buf_consume(&r->out, (size_t)n);
    return 0;
}

static int remote_look_for_stop(struct remote *r)
{
    uint64_t n;

    (void)!read(r->wake_fd, &n, sizeof(n));
    return atomic_load(&r->carrier.stop) ? remote_stop(r) : 0;
}

static int remote_turn(struct remote *r)
{
    struct pollfd polled[] = {
        { .fd = r->fd, .events = (short)(POLLIN | (r->out.n > 0 ? POLLOUT : 0)) },
        { .fd = r->wake_fd, .events = POLLIN },
    };
    int64_t left_ns = r->limit_ns - clock_mono_ns();
    struct timespec left = { left_ns / 1000000000, left_ns % 1000000000 };
    int n, rc = 0;

    if (left_ns <= 0)
        return -ETIMEDOUT;
    n = ppoll(polled, ARRAY_LEN(polled), &left, NULL);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    if (polled[1].revents)
        rc = remote_look_for_stop(r);
    if (rc == 0 && polled[0].revents & POLLOUT)
        rc = remote_write(r);
    if (rc == 0 && polled[0].revents & ~POLLOUT)
        rc = remote_read(r);
    return rc;
}

static void remote_lose(struct remote *r, struct flight *f, int rc)
{
    char how[128];

    if (r->fd < 0) {
        f->record.failed = rc;
        outcome_record_late(f);
        return;
    }
    remote_reap(r, rc, how, sizeof(how));
    f->record.stopped = atomic_load(&r->carrier.stop);
    outcome_record_lost(f, how);
}

static void remote_carry(struct carrier *c, struct flight *f)
{
    struct remote *r = CONTAINER_OF(c, struct remote, carrier);
    int rc;

    f->record.begun_ns = clock_mono_ns();
    if (f->record.begun_ns >= f->x->deadline_ns) {
        outcome_record_late(f);
        return;
    }
    rc = remote_order(r, f);
    while (rc == 0 && !r->reported)
        rc = remote_turn(r);
    if (rc < 0)
        remote_lose(r, f, rc);
    if (r->out.capacity > KEPT_BYTES)
        buf_done(&r->out);
}

static void remote_wake(struct carrier *c)
{
    (void)!write(
            CONTAINER_OF(c, struct remote, carrier)->wake_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

/* The worker goes. */
static void remote_rest(struct carrier *c)
{
    struct remote *r = CONTAINER_OF(c, struct remote, carrier);
    char how[128];

    if (r->fd >= 0)
        remote_reap(r, -ECANCELED, how, sizeof(how));
}

static void remote_close(struct carrier *c)
{
    struct remote *r = CONTAINER_OF(c, struct remote, carrier);

    remote_rest(c);
    close(r->wake_fd);
    buf_done(&r->in);
    buf_done(&r->out);
    free(r);
}

static int remote_open(const struct carrier_options *options, struct carrier **ret)
{
    struct remote *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    r->carrier.type = &remote_carrier;
    r->options = *options;
    r->fd = -1;
    r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->wake_fd < 0) {
        free(r);
        return -errno;
    }
    *ret = &r->carrier;
    return 0;
}

const struct carrier_type remote_carrier = {
    .name = "process",
    .open = remote_open,
    .carry = remote_carry,
    .wake = remote_wake,
    .rest = remote_rest,
    .close = remote_close,
};
