/*
 * A group is what waits, up to a number of rows or a time: there is no artificial delay, so a lone
 * operation is committed at once, and the more come the larger the groups get.
 *
 * When a group fails, it is rolled back as a whole and each of its operations gets a transaction of
 * its own: checkpoints first, since they finish what was accepted, then what is new. Only an error
 * that leaves doubt about what is on the disk is for ever: after a failed fsync the kernel has
 * marked the lost pages clean, and a later commit would seem to succeed.
 */
#include "daemon/store/worker.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/failpoint.h"
#include "daemon/base/thread.h"
#include "daemon/co/info.h"
#include "daemon/co/scope.h"
#include "daemon/store/bodies.h"
#include "daemon/store/space.h"
#include "daemon/store/sqlite.h"
#include "daemon/store/sqlite_loading.h"

#define GROUP_MAX_ROWS 512
#define GROUP_MAX_US   2000
#define ROOM_TRIES     2 /* the ballast, then the log */

static void queue_init(struct op_queue *q)
{
    q->first = NULL;
    q->last = &q->first;
}

static void queue_put(struct op_queue *q, struct op *op)
{
    op->mail.next = NULL;
    *q->last = &op->mail;
    q->last = &op->mail.next;
}

static struct op *queue_take(struct op_queue *q)
{
    struct mail *m = q->first;

    if (!m)
        return NULL;
    q->first = m->next;
    if (!q->first)
        q->last = &q->first;
    return CONTAINER_OF(m, struct op, mail);
}

static void op_deliver(struct mail *m)
{
    struct op *next;

    for (struct op *op = CONTAINER_OF(m, struct op, mail); op; op = next) {
        next = op->also;
        co_event_set(&op->done);
    }
}

/* After this they are their callers' again. */
static void worker_send_home(struct worker *w)
{
    struct op *first = w->homeward;

    if (!first)
        return;
    w->homeward = NULL;
    first->mail.deliver = op_deliver;
    co_post(first->home, &first->mail);
}

static void worker_dismiss(struct worker *w, struct op *op, int rc)
{
    if (!op->home) {
        free(op);
        return;
    }
    op->rc = rc;
    op->also = NULL;
    if (w->homeward && w->homeward->home != op->home)
        worker_send_home(w);
    if (w->homeward)
        w->homeward_last->also = op;
    else
        w->homeward = op;
    w->homeward_last = op;
}

static void worker_break(struct worker *w)
{
    if (w->broken)
        return;
    w->broken = true;
    sqlite_leave_log(w->options.db);
    w->options.failed(w->options.arg);
}

static void worker_settle_place(struct worker *w, const struct op *op, int rc)
{
    struct op_place *owed = (struct op_place *)w->owed.data;
    size_t n = w->owed.n / sizeof(*owed), at = 0;

    if (op->place.series == 0 || (rc < 0 && rc != -ENOSPC && rc != -ENOMEM))
        return;
    while (at < n && (owed[at].series != op->place.series || owed[at].n != op->place.n))
        at++;
    if (rc == 0 && at < n) {
        owed[at] = owed[n - 1];
        w->owed.n -= sizeof(*owed);
    } else if (rc < 0 && at == n && buf_append(&w->owed, &op->place, sizeof(op->place)) < 0) {
        /* Then the order can't be kept, and a start makes it good. */
        worker_break(w);
    }
}

static bool worker_is_out_of_place(const struct worker *w, const struct op *op)
{
    const struct op_place *owed = (const struct op_place *)w->owed.data;

    for (size_t i = 0; op->place.series != 0 && i < w->owed.n / sizeof(*owed); i++)
        if (owed[i].series == op->place.series && owed[i].n < op->place.n)
            return true;
    return false;
}

static void worker_finish(struct worker *w, struct op *op, int rc)
{
    worker_settle_place(w, op, rc);
    if (op->class->settle && op->class->settle(op, w->options.db, rc))
        queue_put(&w->writes, op);
    else
        worker_dismiss(w, op, rc);
}

static void worker_finish_all(struct worker *w, struct op_queue *q, int rc)
{
    struct op *op;

    while ((op = queue_take(q)))
        worker_finish(w, op, rc);
}

/* Errors of one operation, of a lack of space or memory: nothing was written, all is well. */
static bool worker_survives(int rc)
{
    return rc == -ENOSPC || rc == -ENOMEM || rc == -EEXIST || rc == -ENOENT || rc == -E2BIG;
}

/* Removes some of what no row names any more: a backup may have kept any number of files. */
static void worker_remove_files(struct worker *w)
{
    if (!w->keep_files)
        w->sure -= bodies_remove(w->options.bodies_fd, &w->unnamed, w->sure);
}

void worker_keep_files(struct worker *w, bool keep)
{
    w->keep_files = keep;
    w->untidy = true;
}

static int worker_fold(struct worker *w)
{
    int rc;

    failpoint(fold_before);
    rc = sqlite_tidy(w->options.db, space_tight(w->options.space));
    if (rc < 0)
        return rc;
    failpoint(fold_after);
    w->sure = w->unnamed.n;
    worker_remove_files(w);
    return 0;
}

/*
 * After an operation found none. The log has room once it is folded, if the database has any; until
 * then the ballast has some. 0: it is worth another try.
 */
static int worker_make_room(struct worker *w, int tries)
{
    space_full(w->options.space);
    if (tries == 0 && space_give_up(w->options.space))
        return 0;
    return sqlite_log_pages(w->options.db) > 0 ? worker_fold(w) : -ENOSPC;
}

/* Runs what waits, into `done`, until it is enough for one group. */
static int worker_fill_group(struct worker *w, struct op_queue *done)
{
    int64_t until_us = clock_mono_us() + GROUP_MAX_US;
    unsigned rows = 0;
    struct op *op;
    int rc = 0;

    while (rc == 0 && rows < GROUP_MAX_ROWS && clock_mono_us() < until_us &&
            (op = queue_take(&w->writes))) {
        if (op->class->inserts && space_short(w->options.space)) {
            worker_finish(w, op, -ENOSPC);
            continue;
        }
        if (worker_is_out_of_place(w, op)) {
            worker_finish(w, op, -ENOSPC);
            continue;
        }
        rows += op->rows;
        rc = op->class->run(op, w->options.db);
        queue_put(done, op);
    }
    return rc;
}

static int worker_commit(struct worker *w)
{
    struct buf *dropped = sqlite_dropped_files(w->options.db);
    int rc = sqlite_commit(w->options.db);

    if (rc < 0)
        return rc;
    /* Without memory for their names they stay until the next start. */
    (void)buf_append(&w->unnamed, dropped->data, dropped->n);
    dropped->n = 0;
    if (!w->options.relaxed)
        w->sure = w->unnamed.n;
    worker_remove_files(w);
    return 0;
}

/* In a transaction of its own. */
static int worker_try_alone(struct worker *w, struct op *op)
{
    int rc = w->broken ? -EIO : sqlite_begin(w->options.db);

    if (rc < 0)
        return rc;
    rc = op->class->run(op, w->options.db);
    if (rc < 0) {
        sqlite_rollback(w->options.db);
        return rc;
    }
    failpoint(alone_after_operation);
    rc = worker_commit(w);
    if (rc == 0)
        failpoint(alone_after_commit);
    return rc;
}

static int worker_try_with_room(struct worker *w, struct op *op)
{
    int rc = worker_try_alone(w, op), made = 0;

    for (int i = 0; rc == -ENOSPC && made == 0 && i < ROOM_TRIES; i++) {
        made = worker_make_room(w, i);
        if (made == 0)
            rc = worker_try_alone(w, op);
    }
    return made == 0 || worker_survives(made) ? rc : made;
}

static void worker_run_alone(struct worker *w, struct op *op)
{
    int rc;

    if (worker_is_out_of_place(w, op))
        rc = -ENOSPC;
    else if (op->class->inserts)
        rc = worker_try_alone(w, op);
    else
        rc = worker_try_with_room(w, op);
    if (rc < 0 && !worker_survives(rc)) {
        worker_break(w);
        rc = -EIO;
    }
    worker_finish(w, op, rc);
}

/* What is new gets nothing of the room that was made for what is running. */
static void worker_replay(struct worker *w, struct op_queue *group)
{
    struct op_queue later;
    bool made_room;
    struct op *op;

    queue_init(&later);
    while ((op = queue_take(group)))
        if (op->class->inserts)
            queue_put(&later, op);
        else
            worker_run_alone(w, op);
    made_room = space_gave_up(w->options.space);
    while ((op = queue_take(&later)))
        if (made_room || space_short(w->options.space))
            worker_finish(w, op, -ENOSPC);
        else
            worker_run_alone(w, op);
}

static void worker_group(struct worker *w)
{
    struct op_queue done;
    int rc;

    failpoint(group_before_begin);
    queue_init(&done);
    rc = sqlite_begin(w->options.db);
    if (rc == 0)
        rc = worker_fill_group(w, &done);
    if (rc == 0) {
        failpoint(group_after_operations);
        rc = worker_commit(w);
    } else {
        sqlite_rollback(w->options.db);
    }

    if (rc == 0) {
        failpoint(group_after_commit);
        worker_finish_all(w, &done, 0);
    } else if (worker_survives(rc)) {
        worker_replay(w, &done);
    } else {
        worker_break(w);
        worker_finish_all(w, &done, -EIO);
    }
}

static void worker_read(struct worker *w)
{
    int64_t until_us = clock_mono_us() + GROUP_MAX_US;
    struct op *op;

    while ((op = queue_take(&w->reads))) {
        int rc = op->class->run(op, w->options.db);

        if (op->class->settle && op->class->settle(op, w->options.db, rc))
            queue_put(&w->reads, op);
        else
            worker_dismiss(w, op, rc);
        if (clock_mono_us() >= until_us)
            return;
    }
}

/*
 * One piece of work that nobody waits for: folds the log, removes files, drops what is left of a
 * failed batch.
 */
static void worker_tidy(struct worker *w)
{
    bool files = w->unnamed.n > 0 && !w->keep_files;
    int rc = 0;

    if (sqlite_wants_tidy(w->options.db, true) || (files && w->sure == 0)) {
        rc = worker_fold(w);
        if (rc == -ENOSPC && space_give_up(w->options.space))
            rc = worker_fold(w);
        w->untidy = rc == 0;
    } else if (files) {
        worker_remove_files(w);
    } else {
        rc = loading_drop_slice(w->options.db);
        w->untidy = rc > 0;
    }
    if (rc < 0 && !worker_survives(rc))
        worker_break(w);
}

static void worker_take_mail(struct worker *w)
{
    struct mail *next;

    for (struct mail *m = mailbox_take(&w->mailbox); m; m = next) {
        struct op *op = CONTAINER_OF(m, struct op, mail);

        next = m->next;
        if (m == &w->stop)
            w->stopping = true;
        else if (op->class->reads)
            queue_put(&w->reads, op);
        else
            queue_put(&w->writes, op);
    }
}

static void worker_turn(struct worker *w)
{
    if (w->broken) {
        worker_finish_all(w, &w->writes, -EIO);
        worker_finish_all(w, &w->reads, -EIO);
    } else if (w->writes.first) {
        worker_group(w);
        w->untidy = true;
    }
    worker_send_home(w);
    if (!w->broken && sqlite_wants_tidy(w->options.db, space_tight(w->options.space)))
        worker_tidy(w);
    if (!w->broken && w->reads.first)
        worker_read(w);
    worker_send_home(w);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;

    for (;;) {
        worker_take_mail(w);
        if (!w->broken)
            space_probe(w->options.space);
        if (w->writes.first || w->reads.first)
            worker_turn(w);
        else if (w->stopping)
            return NULL;
        else if (w->untidy && !w->broken)
            worker_tidy(w);
        else
            mailbox_wait(&w->mailbox, w->broken ? -1 : space_wait_ms(w->options.space));
    }
}

int worker_start(struct worker *w, const struct worker_options *options)
{
    int rc;

    *w = (struct worker){
        .options = *options,
        .untidy = true,
    };
    queue_init(&w->writes);
    queue_init(&w->reads);
    rc = mailbox_init(&w->mailbox);
    if (rc < 0)
        return rc;
    rc = thread_start(&w->thread, "store", worker_main, w);
    if (rc < 0)
        mailbox_done(&w->mailbox);
    return rc;
}

void worker_stop(struct worker *w)
{
    mailbox_post(&w->mailbox, &w->stop);
    pthread_join(w->thread, NULL);
    assert(!w->writes.first && !w->reads.first);
    buf_done(&w->owed);
    buf_done(&w->unnamed);
    mailbox_done(&w->mailbox);
}

int worker_run(struct worker *w, struct op *op)
{
    struct co_scope shield;
    struct co_task self = co_self();

    if (self.slot == 0 && self.gen == 0)
        return -EPERM;
    op->home = co_current();
    co_event_init(&op->done);
    mailbox_post(&w->mailbox, &op->mail);

    /* The operation and all it points to are the store thread's until it is done. */
    co_scope_open(&shield, CO_NEVER, CO_SHIELD);
    while (!op->done.set)
        (void)co_event_wait(&op->done);
    co_scope_close(&shield, 0);
    return op->rc;
}

void worker_post(struct worker *w, struct op *op)
{
    op->home = NULL;
    mailbox_post(&w->mailbox, &op->mail);
}
