/*
 * Tasks that other threads ask for. The loop holds a ticket for as long as the task lives, or a
 * mail about it is under way; the asking thread waits until it holds it no more.
 */
#include <errno.h>
#include <time.h>

#include "daemon/co/ready.h"

/* The last one to let go wakes the waiting thread, whose memory the ticket is: nothing may follow. */
static void ticket_release(struct co_ticket *t)
{
    pthread_mutex_lock(&t->mutex);
    if (--t->n_out == 0)
        pthread_cond_signal(&t->over);
    pthread_mutex_unlock(&t->mutex);
}

static void ticket_ended(struct co_hook *hook, int result)
{
    struct co_ticket *t = CONTAINER_OF(hook, struct co_ticket, hook);

    t->result = result;
    ticket_release(t);
}

static void ticket_start(struct mail *m)
{
    struct co_ticket *t = CONTAINER_OF(m, struct co_ticket, start);
    int rc = co_spawn(t->name, t->fn, t->arg, &t->task);

    if (rc < 0) {
        ticket_ended(&t->hook, rc);
        return;
    }
    co_on_done(t->task, &t->hook);
    co_detach(t->task);
}

static void ticket_stop(struct mail *m)
{
    struct co_ticket *t = CONTAINER_OF(m, struct co_ticket, stop);

    (void)co_cancel(t->task);
    ticket_release(t);
}

void co_submit(struct co_loop *l, struct co_ticket *t, const char *name, co_fn fn, void *arg)
{
    pthread_condattr_t monotonic;

    *t = (struct co_ticket){ .start.deliver = ticket_start,
        .stop.deliver = ticket_stop,
        .hook.ended = ticket_ended,
        .loop = l,
        .name = name,
        .fn = fn,
        .arg = arg,
        .n_out = 1,
        .mutex = PTHREAD_MUTEX_INITIALIZER };
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->over, &monotonic);
    pthread_condattr_destroy(&monotonic);
    co_post(l, &t->start);
}

int co_ticket_wait(struct co_ticket *t, int64_t deadline_ns, int *ret_result)
{
    int64_t at_ns = deadline_ns > 0 ? deadline_ns : 0;
    struct timespec until = { at_ns / 1000000000, at_ns % 1000000000 };
    int rc = 0;

    pthread_mutex_lock(&t->mutex);
    while (t->n_out > 0 && rc == 0)
        rc = deadline_ns == CO_NEVER ? pthread_cond_wait(&t->over, &t->mutex)
                                     : pthread_cond_timedwait(&t->over, &t->mutex, &until);
    rc = t->n_out > 0 ? -ETIMEDOUT : 0;
    pthread_mutex_unlock(&t->mutex);
    if (rc < 0)
        return rc;
    pthread_cond_destroy(&t->over);
    pthread_mutex_destroy(&t->mutex);
    if (ret_result)
        *ret_result = t->result;
    return 0;
}

void co_ticket_cancel(struct co_ticket *t)
{
    pthread_mutex_lock(&t->mutex);
    if (t->n_out > 0 && !t->stopped) {
        t->stopped = true;
        t->n_out++;
        co_post(t->loop, &t->stop); /* which can't end before it has let go of the ticket */
    }
    pthread_mutex_unlock(&t->mutex);
}
