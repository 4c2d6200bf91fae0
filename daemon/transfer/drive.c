/*
 * - libcurl's socket interface says what it waits for, which is where the phases come from
 *   (sockets_note()), as under a pump. curl_multi_poll() waits for the same and for its timers, and
 *   tells which of the sockets are ready.
 * - Nobody watches a connection between two exchanges. What came on one meanwhile ends it before
 *   the next exchange begins, for the reason that sockets.c gives.
 * - A multi that found no memory is spoilt, as pump.c says. It is replaced between two exchanges, when
 *   nobody may wake it up.
 */
#include "daemon/transfer/drive.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/transfer/easy.h"
#include "daemon/transfer/flight.h"
#include "daemon/transfer/outcome.h"
#include "daemon/transfer/sockets.h"

#define CONNECTIONS_KEPT 2
#define SOCKETS_MAX      16 /* libcurl tries two addresses at a time */
#define NS_PER_MS        1000000
#define NAMES_EVERY_US   (2 * CLOCK_US_PER_S)
#define OVERTIME_NS      (20 * NS_PER_MS) /* for libcurl to see that the time is over */

struct drive {
    struct carrier carrier;
    struct socket_home home;
    struct drive_options options;
    CURLM *multi;
    struct easy *easy; /* NULL: the last one failed, and may carry traces of why */
    struct curl_waitfd waits[SOCKETS_MAX];
    bool connecting[SOCKETS_MAX]; /* the exchange's connection may come of it */
    unsigned n_waits;
    int kept[SOCKETS_MAX]; /* the connections that idle */
    unsigned n_kept;
    int64_t names_us; /* when old names were last forgotten */
};

static void drive_forget_wait(struct drive *d, int fd)
{
    for (unsigned i = 0; i < d->n_waits; i++)
        if (d->waits[i].fd == fd) {
            d->n_waits--;
            d->waits[i] = d->waits[d->n_waits];
            d->connecting[i] = d->connecting[d->n_waits];
            return;
        }
}

/* A socket that finds no room ends by its timeout. */
static void drive_wait(struct drive *d, int fd, short events)
{
    struct record *r = d->easy && d->easy->flight ? &d->easy->flight->record : NULL;
    unsigned i = 0;

    while (i < d->n_waits && d->waits[i].fd != fd)
        i++;
    if (i == SOCKETS_MAX)
        return;
    if (i == d->n_waits)
        d->n_waits++;
    d->waits[i] = (struct curl_waitfd){ .fd = fd, .events = events };
    d->connecting[i] = r && sockets_note(r, events & CURL_WAIT_POLLIN, events & CURL_WAIT_POLLOUT);
}

/* What libcurl waits for. */
static int drive_set_socket(CURL *curl, curl_socket_t fd, int what, void *arg, void *unused)
{
    struct drive *d = arg;
    short events = 0;

    (void)curl;
    (void)unused;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= CURL_WAIT_POLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= CURL_WAIT_POLLOUT;
    if (events)
        drive_wait(d, fd, events);
    else
        drive_forget_wait(d, fd);
    return 0;
}

static int drive_adopt_socket(struct socket_home *h, int fd)
{
    (void)h;
    (void)fd;
    return 0;
}

static int drive_close_socket(struct socket_home *h, int fd)
{
    struct drive *d = CONTAINER_OF(h, struct drive, home);

    drive_forget_wait(d, fd);
    for (unsigned i = 0; i < d->n_kept; i++)
        if (d->kept[i] == fd) {
            d->kept[i] = d->kept[--d->n_kept];
            break;
        }
    return close(fd);
}

/* The connection of the exchange that is over, if libcurl keeps it. */
static void drive_keep(struct drive *d)
{
    curl_socket_t fd = CURL_SOCKET_BAD;

    if (curl_easy_getinfo(d->easy->curl, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd < 0)
        return;
    for (unsigned i = 0; i < d->n_kept; i++)
        if (d->kept[i] == fd)
            return;
    if (d->n_kept < SOCKETS_MAX)
        d->kept[d->n_kept++] = fd;
}

static void drive_end_stale(struct drive *d)
{
    for (unsigned i = 0; i < d->n_kept; i++) {
        struct pollfd p = { .fd = d->kept[i], .events = POLLIN };

        if (poll(&p, 1, 0) > 0)
            (void)sockets_end(p.fd);
    }
}

static int drive_open_multi(struct drive *d)
{
    CURLM *multi = curl_multi_init();

    if (!multi)
        return -ENOMEM;
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, drive_set_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, d);
    curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
    d->multi = multi;
    return 0;
}

static int drive_open_easy(struct drive *d)
{
    if (!d->easy) {
        d->easy = easy_new(&d->home, NULL, d->options.connect_timeout_us);
        if (d->easy && d->options.authorities)
            easy_set_authorities(d->easy, d->options.authorities, d->options.authorities_bytes);
    }
    return d->easy ? 0 : -ENOMEM;
}

static void drive_drop_easy(struct drive *d)
{
    if (d->easy)
        easy_free(d->easy);
    d->easy = NULL;
}

/* Old names are forgotten by one exchange in a while. */
static bool drive_must_forget_names(struct drive *d, int64_t now_us)
{
    if (now_us < d->names_us + NAMES_EVERY_US)
        return false;
    d->names_us = now_us;
    return true;
}

static int drive_launch(struct drive *d, struct flight *f, int64_t left_us)
{
    int rc = d->carrier.spoilt ? -ENOMEM : drive_open_easy(d);

    if (rc < 0)
        return rc;
    drive_end_stale(d);
    rc = easy_prepare(
            d->easy, f, left_us, drive_must_forget_names(d, f->record.begun_ns / CLOCK_NS_PER_US));
    if (rc == 0 && curl_multi_add_handle(d->multi, d->easy->curl) != CURLM_OK)
        rc = -ENOMEM;
    if (rc < 0) {
        f->easy = NULL;
        drive_drop_easy(d);
    }
    return rc;
}

/*
 * libcurl is told of the sockets that are ready; with `all`, of each, and looks for itself. A handle
 * that it looks at within the millisecond before a timeout loses the timer of that (multi.c of 7.88).
 */
static CURLMcode drive_act(struct drive *d, const struct curl_waitfd *waits, unsigned n, bool all)
{
    CURLMcode code = CURLM_OK;
    int running;

    for (unsigned i = 0; i < n && code == CURLM_OK; i++)
        if (waits[i].revents || all)
            code = curl_multi_socket_action(d->multi, waits[i].fd,
                    (waits[i].revents & CURL_WAIT_POLLIN ? CURL_CSELECT_IN : 0) |
                            (waits[i].revents & CURL_WAIT_POLLOUT ? CURL_CSELECT_OUT : 0),
                    &running);
    if (code == CURLM_OK)
        code = curl_multi_socket_action(d->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    return code;
}

static void drive_judge(struct drive *d, struct flight *f, CURLMcode code)
{
    if (code == CURLM_OK)
        return;
    d->carrier.spoilt = true;
    f->record.failed = -ENOMEM;
}

/* Until a millisecond behind the deadline at most, and no less than one. */
static int drive_patience_ms(const struct flight *f)
{
    int64_t left_ms = (f->x->deadline_ns - clock_mono_ns()) / NS_PER_MS;

    return left_ms < 0 ? 1 : left_ms < INT_MAX ? (int)left_ms + 1 : INT_MAX;
}

/* Blocks until something has happened, and does what follows from it. */
static void drive_turn(struct drive *d, struct flight *f)
{
    struct drive_control *control = d->options.control;
    struct curl_waitfd waits[SOCKETS_MAX + 1];
    unsigned n = d->n_waits;
    int ready = 0;

    for (unsigned i = 0; i < n; i++)
        waits[i] = d->waits[i];
    if (control)
        waits[n] = (struct curl_waitfd){ .fd = control->fd, .events = CURL_WAIT_POLLIN };
    if (curl_multi_poll(d->multi, waits, n + !!control, drive_patience_ms(f), &ready) != CURLM_OK) {
        f->record.failed = -ENOMEM;
        return;
    }
    if (control && waits[n].revents)
        control->ready(control);
    for (unsigned i = 0; i < n; i++)
        if (d->connecting[i] && waits[i].revents)
            f->record.writable_ns = clock_mono_ns();
    drive_judge(d, f, drive_act(d, waits, n, clock_mono_ns() >= f->x->deadline_ns));
}

static CURLcode drive_follow(struct drive *d, struct flight *f)
{
    const struct record *r = &f->record;
    CURLMsg *m;
    int n;

    drive_judge(d, f, drive_act(d, NULL, 0, false));
    while (!(m = curl_multi_info_read(d->multi, &n)) && !r->stopped && !r->failed) {
        if (clock_mono_ns() >= f->x->deadline_ns + OVERTIME_NS)
            return CURLE_OPERATION_TIMEDOUT;
        drive_turn(d, f);
        if (atomic_load(&d->carrier.stop))
            f->record.stopped = true;
    }
    return m ? m->data.result : CURLE_ABORTED_BY_CALLBACK;
}

void drive_run(struct drive *d, struct flight *f)
{
    CURLcode code;
    int64_t left_us;
    int rc = 0;

    f->record.begun_ns = clock_mono_ns();
    left_us = (f->x->deadline_ns - f->record.begun_ns) / CLOCK_NS_PER_US;
    if (left_us > 0)
        rc = drive_launch(d, f, left_us);
    if (left_us <= 0 || rc < 0) {
        f->record.failed = rc;
        outcome_record_late(f);
        return;
    }
    code = drive_follow(d, f);
    if (code == CURLE_OK)
        drive_keep(d);
    curl_multi_remove_handle(d->multi, d->easy->curl);
    easy_conclude(d->easy, code);
    if (code != CURLE_OK)
        drive_drop_easy(d);
}

int drive_new(const struct drive_options *options, struct drive **ret)
{
    struct drive *d = calloc(1, sizeof(*d));
    int rc;

    if (!d)
        return -ENOMEM;
    d->carrier.type = &drive_carrier;
    d->home = (struct socket_home){ .adopt = drive_adopt_socket, .close = drive_close_socket };
    d->options = *options;
    rc = drive_open_multi(d);
    if (rc < 0) {
        free(d);
        return rc;
    }
    *ret = d;
    return 0;
}

struct drive *drive_free(struct drive *d)
{
    if (!d)
        return NULL;
    drive_drop_easy(d);
    curl_multi_cleanup(d->multi);
    free(d);
    return NULL;
}

static int drive_open(const struct carrier_options *options, struct carrier **ret)
{
    struct drive_options mine = { .connect_timeout_us = options->connect_timeout_us };
    struct drive *d;
    int rc = drive_new(&mine, &d);

    if (rc == 0)
        *ret = &d->carrier;
    return rc;
}

static void drive_carry(struct carrier *c, struct flight *f)
{
    drive_run(CONTAINER_OF(c, struct drive, carrier), f);
}

static void drive_wake(struct carrier *c)
{
    curl_multi_wakeup(CONTAINER_OF(c, struct drive, carrier)->multi);
}

/* libcurl has no other way to close the connections that it keeps. */
static void drive_rest(struct carrier *c)
{
    struct drive *d = CONTAINER_OF(c, struct drive, carrier);
    CURLM *old = d->multi;

    if (drive_open_multi(d) < 0)
        return;
    drive_drop_easy(d);
    curl_multi_cleanup(old);
    d->carrier.spoilt = false;
}

void drive_mend(struct drive *d)
{
    if (d->carrier.spoilt)
        drive_rest(&d->carrier);
}

static void drive_close(struct carrier *c)
{
    drive_free(CONTAINER_OF(c, struct drive, carrier));
}

const struct carrier_type drive_carrier = {
    .name = "thread",
    .open = drive_open,
    .carry = drive_carry,
    .wake = drive_wake,
    .rest = drive_rest,
    .close = drive_close,
};
