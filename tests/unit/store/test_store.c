/* The suspending calls, the group commit, and what is there after a crash. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/store/place.h"

#define CROWD 200

static void assert_stored(struct place *p, const struct job *j)
{
    struct job *stored = NULL;

    assert_int_equal(store_get(p->store, j->id, &stored), 0);
    sample_assert_same(stored, j);
    job_unref(stored);
}

static void insert(struct place *p, struct job *j)
{
    assert_int_equal(store_insert(p->store, &j, 1, (struct store_outcome[2]){ 0 }), 0);
}

static void checkpoint(struct place *p, struct sample_step *step)
{
    struct checkpoint *c = &step->checkpoint;

    assert_int_equal(store_checkpoint(p->store, &c, 1, NULL), 0);
    sample_step_apply(step);
}

struct life {
    struct place *place;
    struct job *job;
    struct batch batch;
};

static int live(void *arg)
{
    struct life *l = arg;
    struct place *p = l->place;
    struct checkpoint *c;
    struct sample_step step;
    struct store_body body;

    l->job->batch = l->batch.id;
    assert_int_equal(
            store_insert_batch(p->store, &l->batch, &l->job, 1, NULL, &(struct store_outcome){ 0 }),
            0);
    assert_stored(p, l->job);
    assert_int_equal(store_mark_in_flight(p->store, &l->job->id.key, 1), 0);
    l->batch.cancelled = true;
    assert_int_equal(store_update_batch(p->store, &l->batch), 0);
    l->job->in_flight = true; /* the mark was before it */
    assert_stored(p, l->job);

    sample_step_init(&step, l->job, JOB_SUCCEEDED, "the body");
    step.checkpoint.finished_seq = 1;
    l->batch.state = BATCH_SUCCEEDED;
    l->batch.counts[JOB_PENDING] = 0;
    l->batch.counts[JOB_SUCCEEDED] = 1;
    c = &step.checkpoint;
    assert_int_equal(store_checkpoint(p->store, &c, 1, &l->batch), 0);
    sample_step_apply(&step);
    assert_stored(p, l->job);
    assert_int_equal(store_get_body(p->store, l->job->id, STEP_MAX, &body), 0);
    assert_memory_equal(body.body.data, "the body", 8);
    store_body_done(&body);
    return 0;
}

static int live_on(void *arg)
{
    struct life *l = arg;
    struct store *s = l->place->store;
    struct store_filter all = { .kind = -1 };
    struct store_batches batches;
    struct store_page page;
    struct batch b;

    assert_stored(l->place, l->job);
    assert_int_equal(store_get_batch(s, l->batch.id, &b), 0);
    assert_int_equal(b.state, BATCH_SUCCEEDED);
    assert_true(b.cancelled);
    assert_int_equal(b.counts[JOB_SUCCEEDED], 1);
    assert_int_equal(store_list_batches(s, false, 0, 5, &batches), 0);
    assert_int_equal(batches.n, 1);
    store_batches_done(&batches);
    assert_int_equal(store_list(s, &all, 0, 5, true, &page), 0);
    assert_int_equal(page.n, 1);
    store_page_done(&page);
    assert_int_equal(store_list_finished(s, l->batch.id.key, 0, 5, &page), 0);
    assert_int_equal(page.n, 1);
    store_page_done(&page);
    return 0;
}

static void every_call_does_what_it_says(void **state)
{
    struct life l = { .place = *state, .job = sample_full(), .batch = sample_batch(1) };

    place_run(l.place, live, &l);
    place_close(l.place);
    place_open(l.place);
    assert_int_equal(store_last_key(l.place->store),
            l.job->id.key > l.batch.id.key ? l.job->id.key : l.batch.id.key);
    place_run(l.place, live_on, &l);
    job_unref(l.job);
}

static int one_of_the_crowd(void *arg)
{
    struct life *l = arg;
    struct sample_step step;

    insert(l->place, l->job);
    assert_stored(l->place, l->job);
    sample_step_init(&step, l->job, JOB_SUCCEEDED, "x");
    checkpoint(l->place, &step);
    assert_stored(l->place, l->job);
    return 0;
}

static int crowd(void *arg)
{
    struct place *p = arg;
    static struct life lives[CROWD];
    static struct co_task tasks[CROWD];

    for (int i = 0; i < CROWD; i++) {
        lives[i] = (struct life){ .place = p, .job = sample_fetch() };
        assert_int_equal(co_spawn("one", one_of_the_crowd, &lives[i], &tasks[i]), 0);
    }
    assert_int_equal(co_gather(tasks, CROWD, NULL, 0), 0);
    for (int i = 0; i < CROWD; i++) {
        assert_stored(p, lives[i].job);
        job_unref(lives[i].job);
    }
    return 0;
}

static void many_at_a_time_get_their_own(void **state)
{
    place_run(*state, crowd, *state);
}

static int mistake(void *arg)
{
    struct life *l = arg;
    struct job *both[2] = { l->job, l->job }, *found;
    struct batch b;

    assert_int_equal(
            store_insert(l->place->store, both, 2, (struct store_outcome[2]){ 0 }), -EEXIST);
    assert_int_equal(store_get(l->place->store, l->job->id, &found), -ENOENT);
    assert_int_equal(store_get_batch(l->place->store, l->job->id, &b), -ENOENT);
    insert(l->place, l->job);
    assert_int_equal(
            store_insert(l->place->store, both, 1, (struct store_outcome[2]){ 0 }), -EEXIST);
    assert_stored(l->place, l->job);
    return 0;
}

static void a_mistake_harms_nobody_else(void **state)
{
    struct life l = { .place = *state, .job = sample_full() };

    place_run(l.place, mistake, &l);
    assert_int_equal(l.place->failures, 0);
    job_unref(l.job);
}

static void only_coroutines_may_call(void **state)
{
    struct place *p = *state;
    struct job *found;

    place_open(p);
    assert_int_equal(store_get(p->store, sample_id(), &found), -EPERM);
}

struct large_batch {
    struct place *place;
    struct batch batch;
    struct job **jobs;
    bool inserted;
};

static int insert_large(void *arg)
{
    struct large_batch *l = arg;

    assert_int_equal(store_insert_batch(l->place->store, &l->batch, l->jobs, l->batch.total, NULL,
                             &(struct store_outcome){ 0 }),
            0);
    l->inserted = true;
    return 0;
}

static bool sees_job(struct large_batch *l)
{
    struct job *found;
    int rc = store_get(l->place->store, l->jobs[0]->id, &found);

    if (rc == 0)
        job_unref(found);
    else
        assert_int_equal(rc, -ENOENT);
    return rc == 0;
}

static bool sees_batch(struct large_batch *l)
{
    struct batch b;
    int rc = store_get_batch(l->place->store, l->batch.id, &b);

    assert_true(rc == 0 || rc == -ENOENT);
    return rc == 0;
}

/* Others come in between, and see nothing of it before it is whole. */
static int beside_a_large_batch(void *arg)
{
    struct large_batch *l = arg;
    struct co_task t;
    unsigned between = 0;

    assert_int_equal(co_spawn("batch", insert_large, l, &t), 0);
    assert_int_equal(co_yield(), 0);
    for (; !l->inserted; between++) {
        struct job *j = sample_fetch();
        bool job, batch;

        insert(l->place, j);
        job_unref(j);
        job = sees_job(l);
        batch = sees_batch(l);
        assert_true(batch || !job);
        assert_true(l->inserted || !batch);
    }
    assert_int_equal(co_await(t, NULL), 0);
    assert_true(between > 3);
    assert_stored(l->place, l->jobs[0]);
    assert_stored(l->place, l->jobs[l->batch.total - 1]);
    return 0;
}

static void a_large_batch_lets_others_in_between(void **state)
{
    struct large_batch l = { .place = *state, .batch = sample_batch(20000) };

    l.jobs = sample_jobs(&l.batch);
    place_run(l.place, beside_a_large_batch, &l);
    sample_jobs_free(l.jobs, l.batch.total);
}

/* The body of a child: it begins a batch and is killed before it is whole. */
static int crash_in_a_batch(void *arg)
{
    struct large_batch *l = arg;
    struct job *j = sample_fetch();
    struct co_task t;

    assert_int_equal(co_spawn("batch", insert_large, l, &t), 0);
    for (int i = 0; i < 3; i++) {
        j->id = sample_id();
        insert(l->place, j);
    }
    kill(getpid(), SIGKILL);
    return 0;
}

static int expect_no_batch(void *arg)
{
    struct large_batch *l = arg;
    struct store_filter all = { .kind = -1 };
    struct store_batches batches;
    struct store_page page;

    assert_int_equal(store_list_batches(l->place->store, false, 0, 10, &batches), 0);
    assert_int_equal(batches.n, 0);
    store_batches_done(&batches);
    assert_int_equal(store_list(l->place->store, &all, 0, 10, false, &page), 0);
    assert_int_equal(page.n, 3);
    store_page_done(&page);
    return 0;
}

static void half_a_batch_is_dropped_at_the_start(void **state)
{
    struct large_batch l = { .place = *state, .batch = sample_batch(50000) };
    int status;
    pid_t child;

    child = fork();
    if (child == 0) {
        l.jobs = sample_jobs(&l.batch);
        place_run(l.place, crash_in_a_batch, &l);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    place_run(l.place, expect_no_batch, &l);
}

struct killed {
    struct place *place;
    int pipe_fd;
    struct uuid7 acknowledged[100000];
    size_t n;
};

static int work_until_killed(void *arg)
{
    struct killed *k = arg;

    for (;;) {
        struct job *j = sample_fetch();
        struct sample_step step;

        insert(k->place, j);
        sample_step_init(&step, j, JOB_SUCCEEDED, "result");
        checkpoint(k->place, &step);
        if (write(k->pipe_fd, &j->id, sizeof(j->id)) != (ssize_t)sizeof(j->id))
            return -EPIPE;
        job_unref(j);
    }
}

static int many_until_killed(void *arg)
{
    for (int i = 0; i < 20; i++)
        assert_int_equal(co_spawn_detached("work", work_until_killed, arg), 0);
    return co_sleep_until(CO_NEVER);
}

static int check_acknowledged(void *arg)
{
    struct killed *k = arg;

    for (size_t i = 0; i < k->n; i++) {
        struct job *j;

        assert_int_equal(store_get(k->place->store, k->acknowledged[i], &j), 0);
        assert_int_equal(j->state, JOB_SUCCEEDED);
        assert_int_equal(j->n_attempts, 1);
        job_unref(j);
    }
    return 0;
}

/* Lets a child work, kills it after so many acknowledgements, and keeps all that it gave. */
static void work_and_kill(struct killed *k, size_t n)
{
    struct uuid7 id;
    int ends[2], status;
    size_t until = k->n + n;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        k->pipe_fd = ends[1];
        place_run(k->place, many_until_killed, k);
        _exit(1);
    }
    close(ends[1]);
    while (read(ends[0], &id, sizeof(id)) == (ssize_t)sizeof(id)) {
        k->acknowledged[k->n++] = id;
        if (k->n == until)
            kill(child, SIGKILL);
    }
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void what_was_acknowledged_survives_kill_9(void **state)
{
    struct killed *k = calloc(1, sizeof(*k));

    k->place = *state;
    for (size_t round = 0; round < 12; round++)
        work_and_kill(k, 10 + round * 37);
    assert_true(k->n > 2000);
    place_run(k->place, check_acknowledged, k);
    free(k);
}

static void a_second_store_is_refused(void **state)
{
    struct place *p = *state, other = { .sample = p->sample };
    struct error why;
    char pid[32];

    place_open(p);
    assert_int_equal(place_try_open(&other, &why), -EBUSY);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    assert_non_null(strstr(why.text, pid));
    assert_null(other.store);
}

static void make_file(struct place *p, const char *name)
{
    int fd = openat(store_bodies_fd(p->store), name, O_WRONLY | O_CREAT, 0600);

    assert_true(fd >= 0);
    close(fd);
}

static bool file_exists(struct place *p, const char *name)
{
    return faccessat(store_bodies_fd(p->store), name, F_OK, 0) == 0;
}

struct files {
    struct place *place;
    char kept[80], replaced[80], orphan[80];
};

static int use_files(void *arg)
{
    struct files *f = arg;
    struct job *j = sample_fetch();
    struct sample_step step;
    char id[UUID7_TEXT_SIZE];

    uuid7_format(j->id, id);
    snprintf(f->replaced, sizeof(f->replaced), "%s-1", id);
    snprintf(f->kept, sizeof(f->kept), "%s-2", id);
    snprintf(f->orphan, sizeof(f->orphan), "%s-3", id);
    make_file(f->place, f->replaced);
    make_file(f->place, f->kept);
    make_file(f->place, f->orphan);
    make_file(f->place, "what is this");

    insert(f->place, j);
    for (int i = 0; i < 2; i++) {
        sample_step_init(&step, j, i ? JOB_SUCCEEDED : JOB_WAITING, NULL);
        step.body.bytes = 70000;
        strcpy(step.body.file, i ? f->kept : f->replaced);
        step.checkpoint.body = &step.body;
        checkpoint(f->place, &step);
    }
    job_unref(j);
    return 0;
}

static void files_without_a_row_go(void **state)
{
    struct files f = { .place = *state };

    place_run(f.place, use_files, &f);
    assert_false(file_exists(f.place, f.replaced)); /* at once */
    assert_true(file_exists(f.place, f.kept));
    assert_true(file_exists(f.place, f.orphan));
    place_close(f.place);
    place_open(f.place);
    assert_true(file_exists(f.place, f.kept));
    assert_false(file_exists(f.place, f.orphan));
    assert_false(file_exists(f.place, "what is this"));
}

static int insert_when_short(void *arg)
{
    struct place *p = arg;
    struct batch b = sample_batch(2);
    struct job *j = sample_fetch(), **jobs = sample_jobs(&b), *found;

    assert_int_equal(store_insert(p->store, &j, 1, (struct store_outcome[2]){ 0 }), -ENOSPC);
    assert_int_equal(
            store_insert_batch(p->store, &b, jobs, 2, NULL, &(struct store_outcome){ 0 }), -ENOSPC);
    assert_int_equal(store_get(p->store, j->id, &found), -ENOENT);
    job_unref(j);
    sample_jobs_free(jobs, 2);
    return 0;
}

static void a_disk_with_too_little_room_takes_no_jobs(void **state)
{
    struct place *p = *state;

    p->min_free_bytes = INT64_MAX;
    place_run(p, insert_when_short, p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACE_TEST(every_call_does_what_it_says),
        PLACE_TEST(many_at_a_time_get_their_own),
        PLACE_TEST(a_mistake_harms_nobody_else),
        PLACE_TEST(only_coroutines_may_call),
        PLACE_TEST(a_large_batch_lets_others_in_between),
        PLACE_TEST(half_a_batch_is_dropped_at_the_start),
        PLACE_TEST(what_was_acknowledged_survives_kill_9),
        PLACE_TEST(a_second_store_is_refused),
        PLACE_TEST(files_without_a_row_go),
        PLACE_TEST(a_disk_with_too_little_room_takes_no_jobs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
