#include "daemon/co/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "daemon/base/thread.h"
#include "daemon/co/ready.h"

/* On the stack of the task that waits for it; or on the heap, if that may give up waiting. */
struct pool_job {
    struct list node; /* in no list once a thread has it */
    struct mail mail;
    struct co_loop *loop;
    int (*fn)(void *arg);
    void *arg;
    void (*abandon)(void *arg);
    int result;
    struct co_waiter *waiter; /* NULL: it has given up */
};

void co_pool_init(struct co_pool *p, unsigned max_threads)
{
    *p = (struct co_pool){ .mutex = PTHREAD_MUTEX_INITIALIZER,
        .wanted = PTHREAD_COND_INITIALIZER,
        .max_threads = max_threads };
    list_init(&p->jobs);
}

void co_pool_done(struct co_pool *p)
{
    pthread_mutex_lock(&p->mutex);
    assert(p->n_jobs == 0);
    p->stopping = true;
    pthread_cond_broadcast(&p->wanted);
    pthread_mutex_unlock(&p->mutex);
    for (unsigned i = 0; i < p->n_threads; i++)
        pthread_join(p->threads[i], NULL);
    free(p->threads);
    pthread_cond_destroy(&p->wanted);
    pthread_mutex_destroy(&p->mutex);
}

/* The next job, or NULL when the pool stops. */
static struct pool_job *pool_take(struct co_pool *p)
{
    struct list *node;

    pthread_mutex_lock(&p->mutex);
    p->n_idle++;
    while (!(node = list_pop(&p->jobs)) && !p->stopping)
        pthread_cond_wait(&p->wanted, &p->mutex);
    p->n_idle--;
    if (node)
        p->n_jobs--;
    pthread_mutex_unlock(&p->mutex);
    return node ? list_entry(node, struct pool_job, node) : NULL;
}

static void *pool_thread(void *arg)
{
    struct co_pool *p = arg;
    struct pool_job *job;

    while ((job = pool_take(p))) {
        job->result = job->fn(job->arg);
        mailbox_post(&job->loop->mailbox, &job->mail);
    }
    return NULL;
}

static int pool_thread_start(struct co_pool *p)
{
    int rc;

    if (!p->threads)
        p->threads = calloc(p->max_threads, sizeof(pthread_t));
    if (!p->threads)
        return -ENOMEM;
    rc = thread_start(&p->threads[p->n_threads], "blocking", pool_thread, p);
    if (rc == 0)
        p->n_threads++;
    return rc;
}

static int pool_submit(struct co_pool *p, struct pool_job *job)
{
    int rc = 0;

    pthread_mutex_lock(&p->mutex);
    if (p->n_jobs >= p->n_idle && p->n_threads < p->max_threads)
        rc = pool_thread_start(p);
    if (p->n_threads > 0) {
        list_append(&p->jobs, &job->node);
        p->n_jobs++;
        rc = 0;
    } else if (rc == 0) {
        rc = -EAGAIN;
    }
    pthread_mutex_unlock(&p->mutex);
    /* With the mutex held, the thread would wake only to wait for it. */
    if (rc == 0)
        pthread_cond_signal(&p->wanted);
    return rc;
}

/* Takes a job back that no thread has begun. */
static bool pool_revoke(struct co_pool *p, struct pool_job *job)
{
    bool waits;

    pthread_mutex_lock(&p->mutex);
    waits = !list_empty(&job->node);
    if (waits) {
        list_remove(&job->node);
        p->n_jobs--;
    }
    pthread_mutex_unlock(&p->mutex);
    return waits;
}

/* On the loop; one that ends has had all mails first, so nothing is left behind. */
static void pool_job_done(struct mail *m)
{
    struct pool_job *job = CONTAINER_OF(m, struct pool_job, mail);

    if (job->waiter) {
        co_waiter_choose(job->waiter);
        return;
    }
    job->abandon(job->arg);
    free(job);
}

/* Suspends. 0, or -ECANCELED when no thread has the job any more. */
static int pool_join(struct pool_job *job, struct fiber *f)
{
    struct co_waiter w = { .fiber = f };

    list_init(&w.node);
    job->waiter = &w;
    fiber_park(f, false, CO_AWAITS_THREAD, job->fn);
    if (w.chosen)
        return 0;
    if (!pool_revoke(&f->loop->pool, job))
        while (!w.chosen)
            fiber_park(f, true, CO_AWAITS_THREAD, job->fn);
    return -ECANCELED;
}

/* Suspends. As pool_join(), but `job`, which is on the heap, may stay behind with its thread. */
static int pool_join_or_abandon(struct pool_job *job, struct fiber *f, int *ret_result)
{
    struct co_waiter w = { .fiber = f };

    list_init(&w.node);
    job->waiter = &w;
    fiber_park(f, false, CO_AWAITS_THREAD, job->fn);
    if (w.chosen) {
        *ret_result = job->result;
        free(job);
        return 0;
    }
    job->waiter = NULL;
    if (pool_revoke(&f->loop->pool, job))
        pool_job_done(&job->mail);
    return -ECANCELED;
}

static int pool_run(struct pool_job *job, struct fiber *f)
{
    list_init(&job->node);
    job->mail.deliver = pool_job_done;
    job->loop = f->loop;
    return pool_submit(&f->loop->pool, job);
}

int co_to_thread(int (*fn)(void *arg), void *arg, int *ret_result)
{
    struct fiber *f = fiber_self();
    struct pool_job job = { .fn = fn, .arg = arg };
    int rc = fiber_check(f);

    if (rc == 0)
        rc = pool_run(&job, f);
    if (rc == 0)
        rc = pool_join(&job, f);
    if (rc == 0 && ret_result)
        *ret_result = job.result;
    return rc;
}

int co_to_thread_abandoning(
        int (*fn)(void *arg), void *arg, void (*abandon)(void *arg), int *ret_result)
{
    struct fiber *f = fiber_self();
    struct pool_job *job;
    int rc = fiber_check(f), result = 0;

    if (rc == -ECANCELED)
        abandon(arg);
    if (rc < 0)
        return rc;
    job = calloc(1, sizeof(*job));
    if (!job)
        return -ENOMEM;
    *job = (struct pool_job){ .fn = fn, .arg = arg, .abandon = abandon };
    rc = pool_run(job, f);
    if (rc < 0) {
        free(job);
        return rc;
    }
    rc = pool_join_or_abandon(job, f, &result);
    if (rc == 0 && ret_result)
        *ret_result = result;
    return rc;
}
