/*
 * One lock is over the queue, the idle threads and who carries what. A thread that is idle is on
 * the list of them until somebody puts a flight on its seat; a flight is on the queue until a
 * thread takes it to its seat. What happens to a flight on its way is for its thread alone.
 */
#include "daemon/transfer/crew.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/base/list.h"
#include "daemon/base/thread.h"
#include "daemon/co/task.h"
#include "daemon/transfer/flight.h"

#define REST_S 60 /* idle for so long, a thread lets go of what it holds */

struct seat {
    struct crew *crew;
    struct list node; /* of the idle ones */
    pthread_t thread;
    pthread_cond_t wanted;
    struct flight *flight; /* NULL: none */
    struct carrier *carrier;
    uint64_t origin; /* of the last flight */
    bool rested;
};

struct crew {
    struct crew_options options;
    pthread_mutex_t mutex;
    struct list queue; /* of flights */
    struct list idle;  /* of seats, the last one that became so first */
    struct seat **seats;
    unsigned n_seats;
    bool stopping;
};

static void flight_landed(struct mail *m)
{
    co_event_set(&CONTAINER_OF(m, struct flight, start)->landed);
}

static void seat_put(struct seat *s, struct flight *f)
{
    s->flight = f;
    s->origin = f->origin;
    s->rested = false;
    f->seat = s;
    atomic_store(&s->carrier->stop, false);
}

/* With the lock, which is let go of meanwhile. False: nothing happened for REST_S. */
static bool seat_wait(struct seat *s)
{
    pthread_mutex_t *mutex = &s->crew->mutex;
    struct timespec until;

    if (s->rested) {
        pthread_cond_wait(&s->wanted, mutex);
        return true;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += REST_S;
    return pthread_cond_timedwait(&s->wanted, mutex, &until) != ETIMEDOUT;
}

/* Not idle meanwhile, so nobody gives it a flight. */
static void seat_rest(struct seat *s)
{
    list_remove(&s->node);
    pthread_mutex_unlock(&s->crew->mutex);
    s->carrier->type->rest(s->carrier);
    pthread_mutex_lock(&s->crew->mutex);
    s->rested = true;
}

/* The next flight, or NULL when the crew stops. */
static struct flight *seat_next(struct seat *s)
{
    struct crew *c = s->crew;
    struct list *node;

    pthread_mutex_lock(&c->mutex);
    while (!s->flight && !c->stopping) {
        node = list_pop(&c->queue);
        if (node) {
            seat_put(s, list_entry(node, struct flight, node));
            break;
        }
        if (list_empty(&s->node))
            list_prepend(&c->idle, &s->node);
        if (!seat_wait(s) && !s->flight && !c->stopping)
            seat_rest(s);
    }
    list_remove(&s->node);
    if (s->carrier->spoilt) /* with the lock: nobody wakes it meanwhile */
        s->carrier->type->rest(s->carrier);
    pthread_mutex_unlock(&c->mutex);
    return s->flight;
}

/* The seat is free before anybody hears of it: who goes on at once finds its connections. */
static void seat_land(struct seat *s)
{
    struct flight *f = s->flight;

    pthread_mutex_lock(&s->crew->mutex);
    s->flight = NULL;
    f->seat = NULL;
    if (list_empty(&s->crew->queue))
        list_prepend(&s->crew->idle, &s->node);
    pthread_mutex_unlock(&s->crew->mutex);
    f->start.deliver = flight_landed;
    co_post(f->home, &f->start);
}

static void *seat_main(void *arg)
{
    struct seat *s = arg;
    struct flight *f;

    while ((f = seat_next(s))) {
        s->carrier->type->carry(s->carrier, f);
        seat_land(s);
    }
    return NULL;
}

static int seat_start_thread(struct seat *s)
{
    char name[32];

    snprintf(name, sizeof(name), "%s-%u", s->carrier->type->name, s->crew->n_seats);
    return thread_start(&s->thread, name, seat_main, s);
}

static void seat_free(struct seat *s)
{
    if (s->carrier)
        s->carrier->type->close(s->carrier);
    pthread_cond_destroy(&s->wanted);
    free(s);
}

static int seat_new(struct crew *c, struct flight *f)
{
    struct seat *s = calloc(1, sizeof(*s));
    pthread_condattr_t attributes;
    int rc;

    if (!s)
        return -ENOMEM;
    s->crew = c;
    list_init(&s->node);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wanted, &attributes);
    pthread_condattr_destroy(&attributes);
    rc = c->options.type->open(&c->options.carrier, &s->carrier);
    if (rc == 0) {
        seat_put(s, f);
        rc = seat_start_thread(s);
    }
    if (rc < 0) {
        f->seat = NULL;
        seat_free(s);
        return rc;
    }
    c->seats[c->n_seats++] = s;
    return 0;
}

int crew_new(const struct crew_options *options, struct crew **ret)
{
    struct crew *c = calloc(1, sizeof(*c));

    if (!c)
        return -ENOMEM;
    c->options = *options;
    list_init(&c->queue);
    list_init(&c->idle);
    c->seats = calloc(options->max_threads, sizeof(struct seat *));
    if (!c->seats) {
        free(c);
        return -ENOMEM;
    }
    pthread_mutex_init(&c->mutex, NULL);
    *ret = c;
    return 0;
}

struct crew *crew_free(struct crew *c)
{
    if (!c)
        return NULL;
    pthread_mutex_lock(&c->mutex);
    assert(list_empty(&c->queue));
    c->stopping = true;
    for (unsigned i = 0; i < c->n_seats; i++)
        pthread_cond_signal(&c->seats[i]->wanted);
    pthread_mutex_unlock(&c->mutex);
    for (unsigned i = 0; i < c->n_seats; i++) {
        pthread_join(c->seats[i]->thread, NULL);
        seat_free(c->seats[i]);
    }
    free(c->seats);
    pthread_mutex_destroy(&c->mutex);
    free(c);
    return NULL;
}

/* The one that was idle last, but rather one that has been there before. NULL: none is idle. */
static struct seat *crew_choose(struct crew *c, uint64_t origin)
{
    list_for_each (node, &c->idle) {
        struct seat *s = list_entry(node, struct seat, node);

        if (s->origin == origin)
            return s;
    }
    return list_empty(&c->idle) ? NULL : list_entry(c->idle.next, struct seat, node);
}

int crew_start(struct crew *c, struct flight *f, uint64_t origin)
{
    struct seat *s;
    int rc = 0;

    f->origin = origin;
    list_init(&f->node);
    pthread_mutex_lock(&c->mutex);
    s = crew_choose(c, origin);
    if (!s && c->n_seats < c->options.max_threads) {
        rc = seat_new(c, f);
        s = rc == 0 ? f->seat : NULL;
    } else if (s) {
        list_remove(&s->node);
        seat_put(s, f);
        pthread_cond_signal(&s->wanted);
    }
    if (!s && c->n_seats > 0) {
        list_append(&c->queue, &f->node);
        rc = 0;
    }
    pthread_mutex_unlock(&c->mutex);
    return rc;
}

bool crew_revoke(struct crew *c, struct flight *f)
{
    bool waits;

    pthread_mutex_lock(&c->mutex);
    waits = !list_empty(&f->node);
    list_remove(&f->node);
    pthread_mutex_unlock(&c->mutex);
    return waits;
}

void crew_stop(struct crew *c, struct flight *f)
{
    pthread_mutex_lock(&c->mutex);
    if (f->seat) {
        atomic_store(&f->seat->carrier->stop, true);
        f->seat->carrier->type->wake(f->seat->carrier);
    }
    pthread_mutex_unlock(&c->mutex);
}
