/* What is paged out comes back in order, whole, and once; what a start is told. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/store/sqlite_loading.h"
#include "daemon/store/sqlite_page.h"
#include "tests/unit/store/driver.h"
#include "tests/unit/store/place.h"

#define T0   1900000000000000 /* due times begin here */
#define LANE (lane_key("http://127.0.0.1:8080"))
#define ALL  1000

static struct job *make_out(int priority, int64_t due_us)
{
    struct job *j = sample_fetch();

    j->spec.priority = priority;
    j->due_us = due_us;
    j->paged_out = true;
    return j;
}

static void free_jobs(struct job **jobs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        job_unref(jobs[i]);
}

/* Pages in, in a transaction of its own. */
static struct store_page page_class(
        struct sqlite *d, int priority, int64_t due_us, size_t limit, int64_t max_bytes)
{
    struct store_page p;

    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(sqlite_page_class(d, LANE, priority, due_us, limit, max_bytes, &p), 0);
    assert_int_equal(sqlite_commit(d), 0);
    return p;
}

/* Exactly these, in order, and whole; frees the page. */
static void expect_page(struct store_page *p, struct job *const *jobs, size_t n, int64_t next)
{
    assert_int_equal(p->n, n);
    assert_int_equal(p->next, next);
    for (size_t i = 0; i < n; i++) {
        jobs[i]->paged_out = false;
        sample_assert_same(p->jobs[i], jobs[i]);
    }
    store_page_done(p);
}

static void a_class_comes_by_due_time(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *jobs[] = { make_out(5, T0 + 30), make_out(5, T0 + 10), make_out(-5, T0),
        make_out(5, T0 + 20), make_out(5, T0 + 20), make_out(5, T0 + 40) };
    struct store_page p;

    write_jobs(d, jobs, 6);
    assert_stored(d, jobs[0]);
    p = page_class(d, 5, T0 + 9, ALL, INT64_MAX);
    expect_page(&p, NULL, 0, T0 + 10);
    p = page_class(d, 5, T0 + 39, 2, INT64_MAX);
    expect_page(&p, (struct job *[]){ jobs[1], jobs[3] }, 2, T0 + 20);
    p = page_class(d, 5, T0 + 39, ALL, INT64_MAX);
    expect_page(&p, (struct job *[]){ jobs[4], jobs[0] }, 2, T0 + 40);
    p = page_class(d, 5, T0 + 40, ALL, INT64_MAX);
    expect_page(&p, &jobs[5], 1, 0);
    p = page_class(d, 5, INT64_MAX, ALL, INT64_MAX);
    expect_page(&p, NULL, 0, 0);
    p = page_class(d, -5, T0, ALL, INT64_MAX);
    expect_page(&p, &jobs[2], 1, 0);
    for (int i = 0; i < 6; i++)
        assert_stored(d, jobs[i]); /* in memory, all of them */
    sqlite_close(d);
    free_jobs(jobs, 6);
}

static void a_page_has_a_limit_of_bytes(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *jobs[] = { make_out(0, T0), make_out(0, T0 + 1), make_out(0, T0 + 2) };
    int64_t bytes = job_bytes(jobs[0]);
    struct store_page p;

    write_jobs(d, jobs, 3);
    p = page_class(d, 0, INT64_MAX, ALL, 0);
    expect_page(&p, jobs, 1, T0 + 1);
    p = page_class(d, 0, INT64_MAX, ALL, bytes + 1);
    expect_page(&p, jobs + 1, 2, 0);
    sqlite_close(d);
    free_jobs(jobs, 3);
}

/* Its lane is that of the step that is next; what is in memory is in none. */
static void a_checkpoint_pages_out(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j = sample_full();
    struct sample_step step;
    struct store_page p;

    j->held = false;
    write_jobs(d, &j, 1);
    sample_step_init(&step, j, JOB_WAITING, "delivered");
    step.checkpoint.step = STEP_WAIT;
    step.checkpoint.due_us = T0 + 5;
    step.checkpoint.page_out = true;
    step.checkpoint.crashes = 2;
    commit_step(d, &step);
    assert_true(j->paged_out && j->crashes == 2);
    assert_stored(d, j);

    assert_int_equal(sqlite_page_class(d, lane_key("https://example.com:443"), j->spec.priority,
                             INT64_MAX, 1, INT64_MAX, &p),
            0);
    expect_page(&p, NULL, 0, 0);
    assert_int_equal(sqlite_page_class(d, 0, j->spec.priority, INT64_MAX, 1, INT64_MAX, &p), 0);
    expect_page(&p, &j, 1, 0);

    sample_step_init(&step, j, JOB_WAITING, NULL);
    step.checkpoint.step = STEP_COLLECT;
    commit_step(d, &step);
    assert_stored(d, j);
    assert_int_equal(sqlite_page_class(d, lane_key("https://example.org:443"), j->spec.priority,
                             INT64_MAX, 1, INT64_MAX, &p),
            0);
    expect_page(&p, NULL, 0, 0);
    sqlite_close(d);
    job_unref(j);
}

static void what_is_held_is_in_no_lane(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *jobs[] = { make_out(0, T0), make_out(0, T0 + 1), sample_fetch() };
    struct sample_step step;
    struct store_page p;

    jobs[0]->held = true;
    write_jobs(d, jobs, 3);
    assert_stored(d, jobs[0]);
    p = page_class(d, 0, INT64_MAX, ALL, INT64_MAX);
    expect_page(&p, &jobs[1], 1, 0);

    /* One that is in memory stays there when it is released. */
    sample_step_init(&step, jobs[2], JOB_SUCCEEDED, "x");
    step.checkpoint.release = (int64_t[]){ jobs[0]->id.key, jobs[1]->id.key };
    step.checkpoint.n_release = 2;
    commit_step(d, &step);
    jobs[0]->held = false;
    p = page_class(d, 0, INT64_MAX, ALL, INT64_MAX);
    expect_page(&p, &jobs[0], 1, 0);
    sqlite_close(d);
    free_jobs(jobs, 3);
}

static void deadlines_come_by_time(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *jobs[5];
    struct store_page p;

    for (int i = 0; i < 5; i++) {
        jobs[i] = make_out(0, T0);
        jobs[i]->created_us = T0;
        jobs[i]->spec.deadline_us = i == 3 ? 0 : 100 - i;
    }
    jobs[4]->paged_out = false;
    jobs[2]->held = true;
    write_jobs(d, jobs, 5);
    assert_int_equal(sqlite_page_ends(d, T0 + 97, ALL, &p), 0);
    expect_page(&p, NULL, 0, T0 + 98);
    assert_int_equal(sqlite_page_ends(d, T0 + 200, 1, &p), 0);
    expect_page(&p, &jobs[2], 1, T0 + 99);
    assert_int_equal(sqlite_page_ends(d, T0 + 200, ALL, &p), 0);
    expect_page(&p, (struct job *[]){ jobs[1], jobs[0] }, 2, 0);
    sqlite_close(d);
    free_jobs(jobs, 5);
}

static void a_batch_comes_by_index(void **state)
{
    struct sqlite *d = open_database(*state);
    struct batch b = sample_batch(8);
    struct job **jobs = sample_jobs(&b);
    struct store_page p;

    /* 0 not held, 1 in memory, 2 to 7 held. */
    for (unsigned i = 0; i < 8; i++)
        jobs[i]->paged_out = i != 1;
    write_jobs(d, jobs, 8);
    assert_int_equal(sqlite_page_batch(d, b.id.key, 0, true, 2, &p), 0);
    expect_page(&p, jobs + 2, 2, 4);
    assert_int_equal(sqlite_page_batch(d, b.id.key, 6, true, ALL, &p), 0);
    expect_page(&p, jobs + 6, 2, 0);
    assert_int_equal(sqlite_page_batch(d, b.id.key, 0, false, 2, &p), 0);
    expect_page(&p, (struct job *[]){ jobs[0], jobs[4] }, 2, 5);
    assert_int_equal(sqlite_page_batch(d, b.id.key, 5, false, 2, &p), 0);
    expect_page(&p, jobs + 5, 1, 0);
    assert_int_equal(sqlite_page_batch(d, b.id.key, 0, false, 2, &p), 0);
    expect_page(&p, NULL, 0, 0);
    sqlite_close(d);
    sample_jobs_free(jobs, 8);
}

static void one_comes_by_its_id(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j = make_out(0, T0), *found;

    assert_int_equal(sqlite_page_job(d, j->id, &found), -ENOENT);
    write_jobs(d, &j, 1);
    assert_int_equal(
            sqlite_page_job(d, (struct uuid7){ j->id.key, j->id.tail ^ 1 }, &found), -ENOENT);
    assert_int_equal(sqlite_page_job(d, j->id, &found), 0);
    j->paged_out = false;
    sample_assert_same(found, j);
    job_unref(found);
    assert_int_equal(sqlite_page_job(d, j->id, &found), -EALREADY);
    end_job(d, j, JOB_SUCCEEDED, 1);
    assert_int_equal(sqlite_page_job(d, j->id, &found), -EALREADY);
    sqlite_close(d);
    job_unref(j);
}

static void a_batch_that_is_loading_stays_out(void **state)
{
    struct sqlite *d = open_database(*state);
    struct batch b = sample_batch(3);
    struct job **jobs = sample_jobs(&b), *other = make_out(0, T0 + 1), *found;
    struct store_page p;

    for (int i = 0; i < 3; i++) {
        jobs[i]->held = false;
        jobs[i]->paged_out = true;
        jobs[i]->due_us = T0;
        jobs[i]->created_us = T0;
        jobs[i]->spec.deadline_us = 1;
    }
    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(loading_begin(d, &b), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sqlite_write_job(d, jobs[i]), 0);
    assert_int_equal(sqlite_commit(d), 0);
    write_jobs(d, &other, 1);

    p = page_class(d, 0, INT64_MAX, 1, INT64_MAX);
    expect_page(&p, &other, 1, 0);
    p = page_class(d, 0, INT64_MAX, ALL, INT64_MAX);
    expect_page(&p, NULL, 0, 0);
    assert_int_equal(sqlite_page_ends(d, INT64_MAX, ALL, &p), 0);
    expect_page(&p, NULL, 0, 0);
    assert_int_equal(sqlite_page_batch(d, b.id.key, 0, false, ALL, &p), 0);
    expect_page(&p, NULL, 0, 0);
    assert_int_equal(sqlite_page_job(d, jobs[0]->id, &found), -ENOENT);

    loading_show(d, b.id.key);
    p = page_class(d, 0, INT64_MAX, ALL, INT64_MAX);
    expect_page(&p, jobs, 3, 0);
    sqlite_close(d);
    sample_jobs_free(jobs, 3);
    job_unref(other);
}

static void a_batch_that_is_dropped_leaves_nothing(void **state)
{
    struct sqlite *d = open_database(*state);
    struct batch b = sample_batch(1);
    struct job *j = make_out(0, T0);
    struct store_page p;
    int rc;

    j->batch = b.id;
    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(loading_begin(d, &b), 0);
    assert_int_equal(sqlite_write_job(d, j), 0);
    assert_int_equal(sqlite_commit(d), 0);
    loading_drop(d, b.id.key);
    while ((rc = loading_drop_slice(d)) > 0)
        ;
    assert_int_equal(rc, 0);
    p = page_class(d, 0, INT64_MAX, ALL, INT64_MAX);
    expect_page(&p, NULL, 0, 0);
    sqlite_close(d);
    job_unref(j);
}

/* The body of a child: two jobs in memory, one of them in flight, one held, one paged out. */
static int leave_jobs(void *arg)
{
    struct place *p = arg;
    struct job *jobs[] = { sample_fetch(), sample_fetch(), sample_fetch(), make_out(7, T0 + 4) };
    struct store_outcome outcomes[4];

    jobs[0]->due_us = T0 + 1;
    jobs[1]->due_us = T0;
    jobs[2]->held = true;
    jobs[2]->created_us = T0;
    jobs[2]->spec.deadline_us = 9;
    jobs[3]->created_us = T0;
    jobs[3]->spec.deadline_us = 10;
    assert_int_equal(store_insert(p->store, jobs, 4, outcomes), 0);
    assert_int_equal(store_mark_in_flight(p->store, &jobs[1]->id.key, 1), 0);
    assert_int_equal(store_set_clock_offset(p->store, 0), 0);
    kill(getpid(), SIGKILL);
    return 0;
}

static int take_census(void *arg)
{
    struct place *p = arg;
    struct store_census c;
    struct store_page page;
    struct job *j;

    assert_int_equal(store_take_census(p->store, &c), 0);
    assert_int_equal(c.n_live, 4);
    assert_int_equal(c.ends_us, T0 + 9);
    assert_int_equal(c.n_classes, 2);
    for (size_t i = 0; i < 2; i++) {
        bool high = c.classes[i].priority == 7;

        assert_int_equal(c.classes[i].lane, LANE);
        assert_int_equal(c.classes[i].priority, high ? 7 : 0);
        assert_int_equal(c.classes[i].due_us, high ? T0 + 4 : T0);
    }
    assert_int_not_equal(c.classes[0].priority, c.classes[1].priority);
    assert_int_equal(c.n_flying, 1);
    assert_int_equal(store_get(p->store, c.flying[0], &j), 0);
    assert_true(j->in_flight && j->paged_out);
    assert_int_equal(j->due_us, T0);
    job_unref(j);
    assert_int_equal(store_page_job(p->store, c.flying[0], &j), 0);
    assert_true(j->in_flight && !j->paged_out);
    job_unref(j);
    store_census_done(&c);
    assert_int_equal(store_page_class(p->store, LANE, 0, INT64_MAX, 9, INT64_MAX, &page), 0);
    assert_int_equal(page.n, 1); /* nor the held one */
    store_page_done(&page);
    return 0;
}

static void a_start_pages_everything_out(void **state)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        place_run(*state, leave_jobs, *state);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    place_run(*state, take_census, *state);
    place_close(*state);
    place_run(*state, take_census, *state); /* it was in flight until its next checkpoint */
}

static int64_t due_of(struct sqlite *d, const struct job *j)
{
    struct job *stored;
    int64_t due_us;

    assert_int_equal(sqlite_read_job(d, j->id, &stored), 0);
    due_us = stored->due_us;
    job_unref(stored);
    return due_us;
}

/* A delayed one, one with an `at` that has not begun, one that has, and one in memory. */
static void write_timed(struct sqlite *d, struct job *jobs[4])
{
    for (int i = 0; i < 4; i++) {
        jobs[i] = make_out(0, T0 + i);
        jobs[i]->created_us = T0;
        jobs[i]->spec.deadline_us = 1000 + i;
        jobs[i]->spec.at_us = i ? T0 + 100 * i : 0;
    }
    jobs[2]->state = JOB_WAITING;
    jobs[3]->paged_out = false;
    write_jobs(d, jobs, 4);
}

static void a_start_after_a_step_of_the_clock_shifts_times(void **state)
{
    static const int64_t expected[] = { T0 - 5000, T0 + 100, T0 + 2 - 5000, T0 + 300 };
    struct sqlite *d = open_database(*state);
    struct job *jobs[4];
    struct store_census c;
    struct store_page p;

    write_timed(d, jobs);
    assert_int_equal(sqlite_set_clock_offset(d, 700), 0);
    assert_int_equal(sqlite_set_clock_offset(d, -5000), 0);
    sqlite_close(d);
    d = open_database(*state);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(sqlite_take_census(d, &c), 0);
        assert_int_equal(c.ends_us, T0 + 1000 - 5000);
        assert_int_equal(c.n_classes, 1);
        assert_int_equal(c.classes[0].due_us, T0 - 5000);
        store_census_done(&c);
        for (int i = 0; i < 4; i++)
            assert_int_equal(due_of(d, jobs[i]), expected[i]);
    }
    assert_int_equal(sqlite_page_ends(d, T0 + 1001 - 5000, ALL, &p), 0);
    assert_int_equal(p.n, 2);
    assert_int_equal(p.next, T0 + 1002 - 5000);
    assert_int_equal(job_ends_us(p.jobs[0]), T0 + 1000 - 5000);
    store_page_done(&p);
    sqlite_close(d);
    free_jobs(jobs, 4);
}

static void a_step_of_the_clock_redates(void **state)
{
    static const int64_t expected[] = { T0, T0 + 100 + 50, T0 + 2, T0 + 3 };
    struct sqlite *d = open_database(*state);
    struct job *jobs[4], **others = calloc(3000, sizeof(struct job *));
    struct store_page p;
    int64_t after = 0;
    int rc, slices = 0;

    assert_non_null(others);
    write_timed(d, jobs);
    for (int i = 0; i < 3000; i++) {
        others[i] = make_out(1, T0 + 7);
        others[i]->spec.at_us = T0 + 7;
    }
    write_jobs(d, others, 3000);
    while ((rc = sqlite_redate(d, -50, &after)) == 1)
        slices++;
    assert_int_equal(rc, 0);
    assert_true(slices > 1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(due_of(d, jobs[i]), expected[i]);
    p = page_class(d, 1, T0 + 56, ALL, INT64_MAX);
    expect_page(&p, NULL, 0, T0 + 57);
    p = page_class(d, 1, T0 + 57, 3000, INT64_MAX);
    assert_int_equal(p.n, 3000);
    store_page_done(&p);
    sqlite_close(d);
    free_jobs(jobs, 4);
    sample_jobs_free(others, 3000);
}

struct crowd {
    struct place *place;
    struct uuid7 taken; /* an id that is in use */
    struct uuid7 out;
    unsigned n_started, n_paged, n_errors;
};

/* Some page, and some fail, so that the group in which they all are is rolled back and repeated. */
static int one_of_the_crowd(void *arg)
{
    struct crowd *c = arg;
    struct store *s = c->place->store;
    unsigned which = c->n_started++ % 3;
    struct store_page p;
    struct job *j;

    if (which == 0) {
        assert_int_equal(store_page_class(s, LANE, 0, INT64_MAX, 3, INT64_MAX, &p), 0);
        c->n_paged += (unsigned)p.n;
        store_page_done(&p);
    } else if (which == 1) {
        int rc = store_page_job(s, c->out, &j);

        assert_true(rc == 0 || rc == -EALREADY);
        c->n_errors += rc < 0;
        if (rc == 0)
            job_unref(j);
    } else {
        j = sample_fetch();
        j->id = c->taken;
        assert_int_equal(store_insert(s, &j, 1, &(struct store_outcome){ 0 }), -EEXIST);
        job_unref(j);
    }
    return 0;
}

static int run_crowd(void *arg)
{
    struct crowd *c = arg;
    struct job *jobs[42];
    struct store_outcome outcomes[42];
    struct co_group group;

    for (int i = 0; i < 42; i++)
        jobs[i] = make_out(i == 0, T0 + i);
    jobs[41]->paged_out = false;
    c->out = jobs[0]->id;
    c->taken = jobs[41]->id;
    assert_int_equal(store_insert(c->place->store, jobs, 42, outcomes), 0);
    co_group_open(&group);
    for (int i = 0; i < 60; i++)
        assert_int_equal(co_group_spawn(&group, "one", one_of_the_crowd, c, NULL), 0);
    assert_int_equal(co_group_close(&group, 0), 0);
    free_jobs(jobs, 42);
    return 0;
}

static void a_repeated_group_pages_in_once(void **state)
{
    struct crowd c = { .place = *state };

    place_run(c.place, run_crowd, &c);
    assert_int_equal(c.n_paged, 40);
    assert_int_equal(c.n_errors, 19); /* all but one, which harmed nobody else */
    assert_int_equal(c.place->failures, 0);
}

static int list_ids(void *arg)
{
    struct place *p = arg;
    struct batch b = sample_batch(9000);
    struct job **jobs = sample_jobs(&b);
    struct uuid7 *ids;
    size_t n;

    assert_int_equal(
            store_insert_batch(p->store, &b, jobs, 9000, NULL, &(struct store_outcome){ 0 }), 0);
    assert_int_equal(store_batch_ids(p->store, b.id.key, &ids, &n), 0);
    assert_int_equal(n, 9000);
    for (size_t i = 0; i < n; i++)
        assert_memory_equal(&ids[i], &jobs[i]->id, sizeof(ids[i]));
    free(ids);
    assert_int_equal(store_batch_ids(p->store, b.id.key - 1, &ids, &n), 0);
    assert_int_equal(n, 0);
    free(ids);
    sample_jobs_free(jobs, 9000);
    return 0;
}

static void a_batch_lists_its_ids(void **state)
{
    place_run(*state, list_ids, *state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAMPLE_TEST(a_class_comes_by_due_time),
        SAMPLE_TEST(a_page_has_a_limit_of_bytes),
        SAMPLE_TEST(a_checkpoint_pages_out),
        SAMPLE_TEST(what_is_held_is_in_no_lane),
        SAMPLE_TEST(deadlines_come_by_time),
        SAMPLE_TEST(a_batch_comes_by_index),
        SAMPLE_TEST(one_comes_by_its_id),
        SAMPLE_TEST(a_batch_that_is_loading_stays_out),
        SAMPLE_TEST(a_batch_that_is_dropped_leaves_nothing),
        SAMPLE_TEST(a_start_after_a_step_of_the_clock_shifts_times),
        SAMPLE_TEST(a_step_of_the_clock_redates),
        PLACE_TEST(a_start_pages_everything_out),
        PLACE_TEST(a_repeated_group_pages_in_once),
        PLACE_TEST(a_batch_lists_its_ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
