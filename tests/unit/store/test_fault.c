/*
 * Disks that are full, broken or slow. The calls by which SQLite writes are taken over by this program:
 * the dynamic linker prefers its functions to those of libc.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "tests/unit/store/place.h"

#define LOG_FRAME (8192 + 24) /* a page in the log */

static struct {
    atomic_int write_error, sync_error; /* an errno, or 0 */
    atomic_int write_at, sync_at;       /* how many calls until the one that fails; 0: all fail */
    bool once;                          /* after that one all is well */
    atomic_llong end;                   /* no byte beyond it can be written; 0: no limit */
    atomic_bool hold;                   /* the next write waits for `go` */
    atomic_int held;
    sem_t go;
} fault;

static bool fault_is_due(atomic_int *at)
{
    int left = atomic_load(at);

    if (left <= 0)
        return left == 0;
    atomic_store(at, left > 1 ? left - 1 : fault.once ? -1 : 0);
    return left == 1;
}

static ssize_t fault_write(int fd, const void *data, size_t n, off_t at)
{
    if (atomic_exchange(&fault.hold, false)) {
        atomic_fetch_add(&fault.held, 1);
        sem_wait(&fault.go);
    }
    if (atomic_load(&fault.write_error) && fault_is_due(&fault.write_at)) {
        errno = atomic_load(&fault.write_error);
        return -1;
    }
    if (atomic_load(&fault.end) && at + (off_t)n > atomic_load(&fault.end)) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, data, n, at);
}

/* The linker's names: what the C name pwrite stands for depends on _FILE_OFFSET_BITS. */
ssize_t fault_pwrite(int fd, const void *data, size_t n, off_t at) __asm__("pwrite");
ssize_t fault_pwrite64(int fd, const void *data, size_t n, off_t at) __asm__("pwrite64");
int fault_fsync(int fd) __asm__("fsync");
int fault_fdatasync(int fd) __asm__("fdatasync");

ssize_t fault_pwrite(int fd, const void *data, size_t n, off_t at)
{
    return fault_write(fd, data, n, at);
}

ssize_t fault_pwrite64(int fd, const void *data, size_t n, off_t at)
{
    return fault_write(fd, data, n, at);
}

static int fault_sync(int fd)
{
    if (atomic_load(&fault.sync_error) && fault_is_due(&fault.sync_at)) {
        errno = atomic_load(&fault.sync_error);
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

int fault_fsync(int fd)
{
    return fault_sync(fd);
}

int fault_fdatasync(int fd)
{
    return fault_sync(fd);
}

static void fault_clear(void)
{
    fault.write_error = fault.sync_error = 0;
    fault.write_at = fault.sync_at = 0;
    fault.end = 0;
    fault.once = false;
}

static int fault_teardown(void **state)
{
    fault_clear();
    return place_teardown(state);
}

#define FAULT_TEST(test) cmocka_unit_test_setup_teardown(test, place_setup, fault_teardown)

static int insert(struct place *p, struct job *j)
{
    return store_insert(p->store, &j, 1, (struct store_outcome[2]){ 0 });
}

static bool stored(struct place *p, const struct job *j)
{
    struct job *found = NULL;
    int rc = store_get(p->store, j->id, &found);

    if (rc == -ENOENT)
        return false;
    assert_int_equal(rc, 0);
    sample_assert_same(found, j);
    job_unref(found);
    return true;
}

static int fill_up_and_heal(void *arg)
{
    static const int errors[] = { ENOSPC, EDQUOT, EFBIG };
    struct place *p = arg;
    struct job *before = sample_full();

    assert_int_equal(insert(p, before), 0);
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        struct batch b = sample_batch(3);
        struct job *j = sample_full(), **jobs = sample_jobs(&b);

        fault.write_error = errors[i];
        assert_int_equal(insert(p, j), -ENOSPC);
        assert_int_equal(
                store_insert_batch(p->store, &b, jobs, 3, NULL, &(struct store_outcome){ 0 }),
                -ENOSPC);
        assert_int_equal(store_update_batch(p->store, &b), -ENOENT);
        assert_true(stored(p, before));
        assert_false(stored(p, j));
        fault.write_error = 0;
        assert_int_equal(insert(p, j), 0);
        assert_true(stored(p, j));
        assert_false(stored(p, jobs[0]));
        job_unref(j);
        sample_jobs_free(jobs, 3);
    }
    job_unref(before);
    return 0;
}

static void a_full_disk_refuses_and_heals(void **state)
{
    struct place *p = *state;

    place_run(p, fill_up_and_heal, p);
    assert_int_equal(p->failures, 0);
}

static off_t log_size(struct place *p)
{
    struct stat file;
    char path[128];

    snprintf(path, sizeof(path), "%s-wal", p->sample->database);
    assert_int_equal(stat(path, &file), 0);
    return file.st_size;
}

struct rivals {
    struct place *place;
    struct job *finishing, *fresh;
    struct sample_step step;
    int checkpoint_rc, insert_rc;
};

static int rival_insert(void *arg)
{
    struct rivals *r = arg;

    r->insert_rc = insert(r->place, r->fresh);
    return 0;
}

static int rival_checkpoint(void *arg)
{
    struct rivals *r = arg;
    struct checkpoint *c = &r->step.checkpoint;

    r->checkpoint_rc = store_checkpoint(r->place->store, &c, 1, NULL);
    return 0;
}

static int hold_the_store(void *arg)
{
    struct place *p = arg;
    struct job *j = sample_fetch();
    int rc;

    fault.hold = true;
    rc = insert(p, j);
    job_unref(j);
    return rc;
}

/* There is room for one of the two, the insert is first in the queue, and both are in one group. */
static int compete(void *arg)
{
    struct rivals *r = arg;
    struct co_task tasks[3];
    int held = fault.held;
    static char body[40001];

    memset(body, 'x', sizeof(body) - 1);
    body[sizeof(body) - 1] = 0;
    assert_int_equal(insert(r->place, r->finishing), 0);
    sample_step_init(&r->step, r->finishing, JOB_SUCCEEDED, body);
    r->fresh->spec.request.body.data = strdup(body);
    r->fresh->spec.request.body.n = sizeof(body) - 1;
    r->fresh->spec.request.body_bytes = sizeof(body) - 1;

    assert_int_equal(co_spawn("hold", hold_the_store, r->place, &tasks[0]), 0);
    while (fault.held == held)
        assert_int_equal(co_yield(), 0);
    assert_int_equal(co_spawn("insert", rival_insert, r, &tasks[1]), 0);
    assert_int_equal(co_spawn("checkpoint", rival_checkpoint, r, &tasks[2]), 0);
    assert_int_equal(co_yield(), 0);
    fault.end = log_size(r->place) + 14 * LOG_FRAME; /* each needs some 8, what holds 3 */
    sem_post(&fault.go);
    assert_int_equal(co_gather(tasks, 3, NULL, 0), 0);

    assert_int_equal(r->checkpoint_rc, 0);
    assert_int_equal(r->insert_rc, -ENOSPC);
    sample_step_apply(&r->step);
    assert_true(stored(r->place, r->finishing));
    fault.end = 0;
    assert_int_equal(insert(r->place, r->fresh), 0);
    return 0;
}

static void what_was_accepted_goes_before_what_is_new(void **state)
{
    struct rivals r = { .place = *state, .finishing = sample_fetch(), .fresh = sample_fetch() };

    place_run(r.place, compete, &r);
    assert_int_equal(r.place->failures, 0);
    job_unref(r.finishing);
    job_unref(r.fresh);
}

static int fill_up_in_a_batch(void *arg)
{
    struct place *p = arg;
    struct batch b = sample_batch(2000), found;
    struct job *j = sample_fetch(), **jobs = sample_jobs(&b);
    int rc = -EEXIST;

    assert_int_equal(insert(p, j), 0);
    fault.end = log_size(p) + 50 * LOG_FRAME; /* some slices */
    assert_int_equal(
            store_insert_batch(p->store, &b, jobs, 2000, NULL, &(struct store_outcome){ 0 }),
            -ENOSPC);
    assert_false(stored(p, jobs[0]));
    assert_int_equal(store_get_batch(p->store, b.id, &found), -ENOENT);
    fault.end = 0;
    /* Once there is room again and something is written, what is left of it goes. */
    for (int i = 0; rc == -EEXIST && i < 5000; i++) {
        rc = store_insert_batch(p->store, &b, jobs, 2000, NULL, &(struct store_outcome){ 0 });
        assert_int_equal(co_sleep(1000000), 0);
    }
    assert_int_equal(rc, 0);
    assert_true(stored(p, j));
    assert_true(stored(p, jobs[0]));
    assert_true(stored(p, jobs[1999]));
    job_unref(j);
    sample_jobs_free(jobs, 2000);
    return 0;
}

static void half_a_batch_that_found_no_room_goes(void **state)
{
    struct place *p = *state;

    place_run(p, fill_up_in_a_batch, p);
    assert_int_equal(p->failures, 0);
}

struct cancelled {
    struct place *place;
    struct job *job;
};

static int insert_cancelled(void *arg)
{
    struct cancelled *c = arg;

    fault.hold = true;
    assert_int_equal(insert(c->place, c->job), 0);
    assert_true(co_cancelled());
    return co_yield();
}

static int cancel_in_an_insert(void *arg)
{
    struct cancelled *c = arg;
    int held = fault.held, result;
    struct co_task t;

    assert_int_equal(co_spawn("insert", insert_cancelled, c, &t), 0);
    while (fault.held == held)
        assert_int_equal(co_yield(), 0);
    assert_int_equal(co_cancel(t), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(co_yield(), 0);
    sem_post(&fault.go);
    assert_int_equal(co_await(t, &result), 0);
    assert_int_equal(result, -ECANCELED);
    assert_true(stored(c->place, c->job));
    return 0;
}

static void a_call_is_not_cut_short(void **state)
{
    struct cancelled c = { .place = *state, .job = sample_full() };

    place_run(c.place, cancel_in_an_insert, &c);
    job_unref(c.job);
}

struct breakage {
    struct place *place;
    atomic_int *error;
    struct job *before, *during;
};

static int break_it(void *arg)
{
    struct breakage *b = arg;
    struct job *found;

    assert_int_equal(insert(b->place, b->before), 0);
    *b->error = EIO;
    assert_int_equal(insert(b->place, b->during), -EIO);
    assert_int_equal(b->place->failures, 1);
    *b->error = 0;
    assert_int_equal(insert(b->place, b->during), -EIO);
    assert_int_equal(store_get(b->place->store, b->before->id, &found), -EIO);
    assert_int_equal(store_mark_in_flight(b->place->store, &b->before->id.key, 1), 0);
    assert_int_equal(b->place->failures, 1);
    return 0;
}

static int after_the_break(void *arg)
{
    struct breakage *b = arg;

    assert_true(stored(b->place, b->before));
    return 0;
}

static void break_with(struct place *p, atomic_int *error)
{
    struct breakage b = {
        .place = p,
        .error = error,
        .before = sample_fetch(),
        .during = sample_fetch(),
    };

    place_run(p, break_it, &b);
    place_close(p);
    place_run(p, after_the_break, &b);
    job_unref(b.before);
    job_unref(b.during);
}

static void a_failed_fsync_is_the_end(void **state)
{
    break_with(*state, &fault.sync_error);
}

static void a_broken_disk_is_the_end(void **state)
{
    break_with(*state, &fault.write_error);
}

/* The disk is full, and the log, which is folded to make room, can't be synced. */
static int break_when_full(void *arg)
{
    struct place *p = arg;
    struct job *j = sample_fetch();
    struct sample_step step;
    struct checkpoint *c = &step.checkpoint;

    assert_int_equal(insert(p, j), 0);
    fault.end = log_size(p);
    fault.sync_error = EIO;
    sample_step_init(&step, j, JOB_SUCCEEDED, "result");
    assert_int_equal(store_checkpoint(p->store, &c, 1, NULL), -EIO);
    assert_int_equal(p->failures, 1);
    sample_step_done(&step);
    job_unref(j);
    return 0;
}

static void a_failed_fsync_on_a_full_disk_is_the_end(void **state)
{
    struct place *p = *state;

    place_run(p, break_when_full, p);
}

/* What it did before and after the fault, and what came of it. */
struct work {
    struct place *place;
    struct job *jobs[6];
    bool inserted[6], ended[6];
    struct batch batch;
    struct job **members;
    bool batch_inserted;
    int allowed; /* the only error that may come */
};

static bool work_succeeded(struct work *w, int rc)
{
    assert_true(rc == 0 || rc == w->allowed);
    return rc == 0;
}

static int do_work(void *arg)
{
    struct work *w = arg;
    struct store *s = w->place->store;

    for (int i = 0; i < 6; i++) {
        struct sample_step step;
        struct checkpoint *c = &step.checkpoint;

        w->inserted[i] =
                work_succeeded(w, store_insert(s, &w->jobs[i], 1, (struct store_outcome[2]){ 0 }));
        if (!w->inserted[i])
            continue;
        sample_step_init(&step, w->jobs[i], JOB_SUCCEEDED, "result");
        w->ended[i] = work_succeeded(w, store_checkpoint(s, &c, 1, NULL));
        if (w->ended[i])
            sample_step_apply(&step);
        else
            sample_step_done(&step);
    }
    w->batch_inserted = work_succeeded(w,
            store_insert_batch(s, &w->batch, w->members, 300, NULL, &(struct store_outcome){ 0 }));
    return 0;
}

static int check_work(void *arg)
{
    struct work *w = arg;
    struct batch b;

    for (int i = 0; i < 6; i++)
        assert_int_equal(stored(w->place, w->jobs[i]), w->inserted[i]);
    assert_int_equal(
            store_get_batch(w->place->store, w->batch.id, &b), w->batch_inserted ? 0 : -ENOENT);
    for (int i = 0; i < 300; i++)
        assert_int_equal(stored(w->place, w->members[i]), w->batch_inserted);
    return 0;
}

/* What was acknowledged is there; the rest may be, since a failed commit leaves that open. */
static int check_acknowledged(void *arg)
{
    struct work *w = arg;
    struct job *found;
    struct batch b;

    for (int i = 0; i < 6; i++)
        if (w->ended[i]) {
            assert_true(stored(w->place, w->jobs[i]));
        } else if (w->inserted[i]) {
            assert_int_equal(store_get(w->place->store, w->jobs[i]->id, &found), 0);
            job_unref(found);
        }
    if (w->batch_inserted)
        assert_int_equal(store_get_batch(w->place->store, w->batch.id, &b), 0);
    return 0;
}

enum kind { FULL_ONCE, FULL_FROM_THEN_ON, WRITE_FAILS, SYNC_FAILS };

/* Works while the nth call of a kind fails; what was said must be so, now and after a new start. */
static void work_with_fault(struct place *p, enum kind kind, int nth)
{
    bool full = kind == FULL_ONCE || kind == FULL_FROM_THEN_ON;
    struct work w = { .place = p, .batch = sample_batch(300), .allowed = full ? -ENOSPC : -EIO };
    struct error why;

    for (int i = 0; i < 6; i++)
        w.jobs[i] = i % 2 ? sample_fetch() : sample_full();
    w.members = sample_jobs(&w.batch);
    fault.once = kind != FULL_FROM_THEN_ON;
    fault.write_at = fault.sync_at = nth;
    *(kind == SYNC_FAILS ? &fault.sync_error : &fault.write_error) = full ? ENOSPC : EIO;
    if (place_try_open(p, &why) == 0) {
        place_run(p, do_work, &w);
        fault.write_error = fault.sync_error = 0;
        if (full)
            place_run(p, check_work, &w);
        place_close(p);
    }
    fault.write_error = fault.sync_error = 0;
    if (full)
        place_run(p, check_work, &w);
    else
        place_run(p, check_acknowledged, &w);
    for (int i = 0; i < 6; i++)
        job_unref(w.jobs[i]);
    sample_jobs_free(w.members, 300);
}

/* 1, 2, 3 … until there is no call of that number. */
static void work_with_each_fault(enum kind kind)
{
    bool came = true;
    int nth;

    for (nth = 1; came; nth += nth < 50 ? 1 : 13) {
        void *place = NULL;

        assert_int_equal(place_setup(&place), 0);
        work_with_fault(place, kind, nth);
        came = (kind == SYNC_FAILS ? fault.sync_at : fault.write_at) <= 0;
        fault_clear();
        assert_int_equal(place_teardown(&place), 0);
    }
    assert_true(nth > 10);
}

static void no_room_at_any_moment(void **state)
{
    (void)state;
    work_with_each_fault(FULL_ONCE);
    work_with_each_fault(FULL_FROM_THEN_ON);
}

static void a_failed_write_at_any_moment(void **state)
{
    (void)state;
    work_with_each_fault(WRITE_FAILS);
}

static void a_failed_fsync_at_any_moment(void **state)
{
    (void)state;
    work_with_each_fault(SYNC_FAILS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FAULT_TEST(a_full_disk_refuses_and_heals),
        FAULT_TEST(what_was_accepted_goes_before_what_is_new),
        FAULT_TEST(half_a_batch_that_found_no_room_goes),
        FAULT_TEST(a_call_is_not_cut_short),
        FAULT_TEST(a_failed_fsync_is_the_end),
        FAULT_TEST(a_broken_disk_is_the_end),
        FAULT_TEST(a_failed_fsync_on_a_full_disk_is_the_end),
        cmocka_unit_test(no_room_at_any_moment),
        cmocka_unit_test(a_failed_write_at_any_moment),
        cmocka_unit_test(a_failed_fsync_at_any_moment),
    };

    sem_init(&fault.go, 0, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
