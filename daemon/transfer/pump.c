/*
 * libcurl's socket interface under a loop of its own.
 *
 * - libcurl may not be called from its callbacks: they record, and what they recorded is done at
 *   the end of each of our own callbacks (pump_settle()).
 * - libcurl moves its timer with nearly every request. Ours is only ever moved forward; when it
 *   fires too early it is set again.
 * - libcurl loses the timeout of an exchange that it looks at within the millisecond before
 *   (add_next_timeout() in multi.c of 7.88), so the deadlines are kept here, too.
 * - A multi that found no memory is spoilt: libcurl leaves a socket's entry behind whose table has
 *   no slots, and divides by their number when the socket's number comes again (singlesocket() in
 *   multi.c of 7.88). Its exchanges end at once, and another one takes its place.
 */
#include "daemon/transfer/pump.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/base/heap.h"
#include "daemon/base/loop.h"
#include "daemon/base/thread.h"
#include "daemon/co/task.h"
#include "daemon/transfer/easy.h"
#include "daemon/transfer/flight.h"
#include "daemon/transfer/outcome.h"
#include "daemon/transfer/sockets.h"

#define IDLE_US        (60 * CLOCK_US_PER_S)
#define HANDLES_KEPT   256
#define HOME_BATCH     32 /* some 0.4 ms of work */
#define NAMES_EVERY_US (2 * CLOCK_US_PER_S)
#define NO_TIME        INT64_MAX
#define GRACE_US       2000 /* libcurl, which counts whole milliseconds, may end it before */

struct pump {
    struct pump_options options;
    pthread_t thread;
    struct loop *loop;
    struct mailbox mailbox;
    struct loop_watch mail_ready;
    struct mail quit;
    bool has_mail;
    bool running, quitting;
    CURLM *multi;
    bool spoilt;   /* the multi: it takes no more exchanges */
    CURLSH *share; /* TLS sessions: each handle would have room for its own, and resume few */
    struct loop_timer timer;
    int64_t armed_us;  /* when the timer fires; NO_TIME: it is not set */
    int64_t wanted_us; /* when libcurl wants to be called; NO_TIME: not at all */
    struct sockets sockets;
    struct list handles; /* idle ones */
    unsigned n_handles;
    unsigned n_active;
    struct heap deadlines; /* of the flights under way; mono us */
    struct list landed;    /* flights to be sent home */
    unsigned n_landed;
    struct loop_timer idle;
    bool idle_armed;
    int64_t idle_since_us;
    int64_t names_us; /* when old names were last forgotten */
};

/* libcurl's timer: 0 is "soon", never "here". */
static int pump_set_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct pump *p = arg;

    (void)multi;
    p->wanted_us = timeout_ms < 0 ? NO_TIME : clock_mono_us() + timeout_ms * 1000;
    return 0;
}

/* What libcurl waits for. */
static int pump_set_socket(CURL *curl, curl_socket_t fd, int what, void *arg, void *unused)
{
    struct pump *p = arg;
    struct easy *e = NULL;
    unsigned events = 0;

    (void)unused;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= LOOP_READ;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= LOOP_WRITE;
    curl_easy_getinfo(curl, CURLINFO_PRIVATE, (char **)&e);
    sockets_wait(&p->sockets, fd, events, e && e->flight ? &e->flight->record : NULL);
    return 0;
}

/*
 * libcurl's limit is of all open ones, those in use with them. It is looked at when an exchange has
 * ended, of which we don't know yet, and at most one idle connection is closed then.
 */
static void pump_set_connections(struct pump *p)
{
    long connections = (long)p->n_active + p->options.idle_connections;

    curl_multi_setopt(
            p->multi, CURLMOPT_MAXCONNECTS, p->n_active > 0 ? connections - 1 : connections);
}

static int pump_open_multi(struct pump *p)
{
    CURLM *multi = curl_multi_init();

    if (!multi)
        return -ENOMEM;
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, pump_set_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, p);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, pump_set_timer);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, p);
    curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    p->multi = multi;
    p->wanted_us = NO_TIME;
    pump_set_connections(p);
    return 0;
}

static int pump_open_share(struct pump *p)
{
    p->share = curl_share_init();
    if (!p->share ||
            curl_share_setopt(p->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK)
        return -ENOMEM;
    return 0;
}

static void pump_free_handles(struct pump *p)
{
    while (!list_empty(&p->handles))
        easy_free(list_entry(p->handles.next, struct easy, idle));
    p->n_handles = 0;
}

/* libcurl has no other way to close the connections that it keeps. */
static int pump_close_connections(struct pump *p)
{
    CURLM *old = p->multi;
    int rc = pump_open_multi(p);

    if (rc < 0)
        return rc;
    pump_free_handles(p);
    curl_multi_cleanup(old);
    p->wanted_us = NO_TIME;
    p->spoilt = false;
    return 0;
}

static void pump_idle_expired(struct loop_timer *t)
{
    struct pump *p = CONTAINER_OF(t, struct pump, idle);
    int64_t left_us = p->idle_since_us + IDLE_US - clock_mono_us();

    p->idle_armed = false;
    if (p->n_active > 0)
        return;
    if (left_us <= 0) {
        (void)pump_close_connections(p); /* they stay */
        return;
    }
    p->idle_armed = true;
    loop_timer_set(t, left_us);
}

static void pump_went_idle(struct pump *p)
{
    p->idle_since_us = clock_mono_us();
    if (p->idle_armed)
        return;
    p->idle_armed = true;
    loop_timer_set(&p->idle, IDLE_US);
}

static struct easy *pump_take_handle(struct pump *p)
{
    struct list *node = list_pop(&p->handles);

    if (!node)
        return easy_new(&p->sockets.home, p->share, p->options.connect_timeout_us);
    p->n_handles--;
    return list_entry(node, struct easy, idle);
}

/* One that failed may carry traces of why. */
static void pump_put_handle(struct pump *p, struct easy *e, bool failed)
{
    if (failed || p->n_handles >= HANDLES_KEPT) {
        easy_free(e);
        return;
    }
    list_prepend(&p->handles, &e->idle);
    p->n_handles++;
}

/* On the home loop. */
static void flight_back(struct flight *f)
{
    if (--f->n_out == 0)
        co_event_set(&f->landed);
}

static void flight_start_back(struct mail *m)
{
    flight_back(CONTAINER_OF(m, struct flight, start));
}

static void flight_stop_back(struct mail *m)
{
    flight_back(CONTAINER_OF(m, struct flight, stop));
}

/* Those that have landed go home together: their loop wakes up once for all of them. */
static void pump_send_home(struct pump *p)
{
    struct list *node;

    while ((node = list_pop(&p->landed))) {
        struct flight *f = list_entry(node, struct flight, node);

        f->start.deliver = flight_start_back;
        co_post(f->home, &f->start);
    }
    p->n_landed = 0;
}

static void pump_land(struct pump *p, struct flight *f)
{
    list_append(&p->landed, &f->node);
    if (++p->n_landed >= HOME_BATCH)
        pump_send_home(p);
}

static void pump_finish(struct pump *p, struct easy *e, CURLcode code)
{
    struct flight *f = e->flight;

    curl_multi_remove_handle(p->multi, e->curl);
    heap_remove(&p->deadlines, &f->due);
    easy_conclude(e, code);
    pump_put_handle(p, e, code != CURLE_OK);
    p->n_active--;
    pump_set_connections(p);
    if (p->n_active == 0)
        pump_went_idle(p);
    pump_land(p, f);
}

static void pump_collect(struct pump *p)
{
    CURLMsg *m;
    int n;

    while ((m = curl_multi_info_read(p->multi, &n))) {
        struct easy *e = NULL;
        CURLcode code = m->data.result;

        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&e);
        pump_finish(p, e, code);
    }
}

/* Tells libcurl of a socket, or of the time. */
static void pump_act(struct pump *p, curl_socket_t fd, int events)
{
    int n;

    if (!p->spoilt && curl_multi_socket_action(p->multi, fd, events, &n) != CURLM_OK)
        p->spoilt = true;
    pump_collect(p);
}

/* Without memory for another multi, those that are to start fail until there is some. */
static void pump_mend(struct pump *p)
{
    struct heap_item *item;

    while ((item = heap_first(&p->deadlines, NULL))) {
        struct flight *f = CONTAINER_OF(item, struct flight, due);

        f->record.failed = -ENOMEM;
        pump_finish(p, f->easy, CURLE_OUT_OF_MEMORY);
    }
    (void)pump_close_connections(p);
}

/* Ends what libcurl did not. The next deadline; NO_TIME: there is none. */
static int64_t pump_end_late(struct pump *p, int64_t now_us)
{
    struct heap_item *item;
    int64_t due_us;

    while ((item = heap_first(&p->deadlines, &due_us))) {
        if (due_us > now_us)
            return due_us;
        pump_finish(p, CONTAINER_OF(item, struct flight, due)->easy, CURLE_OPERATION_TIMEDOUT);
    }
    return NO_TIME;
}

static void pump_arm(struct pump *p, int64_t at_us, int64_t now_us)
{
    if (at_us >= p->armed_us)
        return;
    p->armed_us = at_us;
    loop_timer_set(&p->timer, at_us - now_us);
}

/* After everything that may have moved libcurl. */
static void pump_settle(struct pump *p)
{
    int64_t now_us = clock_mono_us(), due_us;

    if (p->wanted_us <= now_us) {
        p->wanted_us = NO_TIME;
        pump_act(p, CURL_SOCKET_TIMEOUT, 0);
    }
    if (p->spoilt)
        pump_mend(p);
    due_us = pump_end_late(p, now_us);
    pump_arm(p, p->wanted_us < due_us ? p->wanted_us : due_us, now_us);
}

static void pump_timer_expired(struct loop_timer *t)
{
    struct pump *p = CONTAINER_OF(t, struct pump, timer);

    p->armed_us = NO_TIME;
    pump_settle(p);
}

static void pump_socket_ready(struct sockets *s, int fd, unsigned events)
{
    struct pump *p = CONTAINER_OF(s, struct pump, sockets);

    pump_act(p, fd,
            (events & LOOP_READ ? CURL_CSELECT_IN : 0) |
                    (events & LOOP_WRITE ? CURL_CSELECT_OUT : 0));
    pump_settle(p);
}

/* Old names are forgotten by one exchange in a while; each would walk all of them. */
static bool pump_must_forget_names(struct pump *p, int64_t now_us)
{
    if (now_us < p->names_us + NAMES_EVERY_US)
        return false;
    p->names_us = now_us;
    return true;
}

static int pump_launch(struct pump *p, struct flight *f, int64_t left_us, int64_t now_us)
{
    struct easy *e;
    int rc;

    if (p->spoilt && pump_close_connections(p) < 0)
        return -ENOMEM;
    e = pump_take_handle(p);
    if (!e)
        return -ENOMEM;
    heap_item_init(&f->due);
    rc = heap_add(&p->deadlines, &f->due, now_us + left_us + GRACE_US);
    if (rc == 0)
        rc = easy_prepare(e, f, left_us, pump_must_forget_names(p, now_us));
    if (rc == 0 && curl_multi_add_handle(p->multi, e->curl) != CURLM_OK)
        rc = -ENOMEM;
    if (rc < 0) {
        heap_remove(&p->deadlines, &f->due);
        f->easy = NULL;
        easy_free(e);
        return rc;
    }
    p->n_active++;
    pump_set_connections(p);
    return 0;
}

static void flight_started(struct mail *m)
{
    struct flight *f = CONTAINER_OF(m, struct flight, start);
    int64_t left_us;
    int rc = 0;

    f->record.begun_ns = clock_mono_ns();
    left_us = (f->x->deadline_ns - f->record.begun_ns) / CLOCK_NS_PER_US;
    if (left_us > 0)
        rc = pump_launch(f->pump, f, left_us, f->record.begun_ns / CLOCK_NS_PER_US);
    if (left_us > 0 && rc == 0)
        return;
    f->record.failed = rc;
    outcome_record_late(f);
    pump_land(f->pump, f);
}

static void flight_stopped(struct mail *m)
{
    struct flight *f = CONTAINER_OF(m, struct flight, stop);

    if (f->easy) {
        f->record.stopped = true;
        pump_finish(f->pump, f->easy, CURLE_ABORTED_BY_CALLBACK);
    }
    m->deliver = flight_stop_back;
    co_post(f->home, m);
}

void pump_start(struct pump *p, struct list *flights)
{
    struct mail *first = NULL, **last = &first;
    struct list *node;
    struct flight *f = NULL;

    while ((node = list_pop(flights))) {
        f = list_entry(node, struct flight, node);
        f->pump = p;
        f->n_out++;
        f->start.deliver = flight_started;
        *last = &f->start;
        last = &f->start.next;
    }
    if (first)
        mailbox_post_chain(&p->mailbox, first, &f->start);
}

void pump_stop(struct flight *f)
{
    f->n_out++;
    f->stop.deliver = flight_stopped;
    mailbox_post(&f->pump->mailbox, &f->stop);
}

static void pump_mail_ready(struct loop_watch *w, unsigned events)
{
    (void)events;
    CONTAINER_OF(w, struct pump, mail_ready)->has_mail = true;
}

/* Behind the sockets: a connection on which something came is not for the exchanges that begin. */
static void pump_take_mail(struct pump *p)
{
    if (!p->has_mail)
        return;
    p->has_mail = false;
    mailbox_deliver(&p->mailbox);
    pump_settle(p);
}

static void pump_quit(struct mail *m)
{
    CONTAINER_OF(m, struct pump, quit)->quitting = true;
}

static void *pump_main(void *arg)
{
    struct pump *p = arg;

    while (!p->quitting) {
        loop_turn(p->loop, -1);
        pump_take_mail(p);
        pump_send_home(p);
    }
    return NULL;
}

static int pump_start_thread(struct pump *p)
{
    char name[32];
    int rc;

    snprintf(name, sizeof(name), "transfer-%u", p->options.number);
    rc = thread_start(&p->thread, name, pump_main, p);
    p->running = rc == 0;
    return rc;
}

int pump_new(const struct pump_options *options, struct pump **ret)
{
    struct pump *p = calloc(1, sizeof(*p));
    int rc;

    if (!p)
        return -ENOMEM;
    p->options = *options;
    p->armed_us = NO_TIME;
    p->mailbox.event_fd = -1;
    list_init(&p->handles);
    list_init(&p->landed);
    rc = mailbox_init(&p->mailbox);
    if (rc == 0)
        rc = loop_new(&p->loop);
    if (rc == 0) {
        sockets_init(&p->sockets, p->loop, pump_socket_ready);
        loop_timer_init(&p->timer, p->loop, pump_timer_expired);
        loop_timer_init(&p->idle, p->loop, pump_idle_expired);
        loop_watch_init(&p->mail_ready, p->loop, p->mailbox.event_fd, pump_mail_ready);
        rc = loop_watch_set(&p->mail_ready, LOOP_READ);
    }
    if (rc == 0)
        rc = pump_open_share(p);
    if (rc == 0)
        rc = pump_open_multi(p);
    if (rc == 0)
        rc = pump_start_thread(p);
    if (rc < 0) {
        pump_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

struct pump *pump_free(struct pump *p)
{
    if (!p)
        return NULL;
    if (p->running) {
        p->quit.deliver = pump_quit;
        mailbox_post(&p->mailbox, &p->quit);
        pthread_join(p->thread, NULL);
    }
    assert(p->n_active == 0);
    heap_done(&p->deadlines);
    pump_free_handles(p);
    if (p->multi)
        curl_multi_cleanup(p->multi);
    if (p->share)
        curl_share_cleanup(p->share);
    loop_timer_stop(&p->timer);
    loop_timer_stop(&p->idle);
    loop_watch_done(&p->mail_ready);
    mailbox_done(&p->mailbox);
    sockets_done(&p->sockets);
    loop_free(p->loop);
    free(p);
    return NULL;
}
