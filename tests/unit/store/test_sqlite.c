/* The driver alone: what is written comes back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/sqlite_loading.h"
#include "tests/unit/store/driver.h"

static void a_job_comes_back_whole(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *jobs[2] = { sample_full(), sample_fetch() };

    write_jobs(d, jobs, 2);
    assert_stored(d, jobs[0]);
    assert_stored(d, jobs[1]);
    sqlite_close(d);

    d = open_database(*state);
    assert_stored(d, jobs[0]);
    assert_stored(d, jobs[1]);
    assert_int_equal(sqlite_last_key(d), jobs[1]->id.key);
    sqlite_close(d);
    job_unref(jobs[0]);
    job_unref(jobs[1]);
}

static void set_failure(struct checkpoint *c)
{
    c->result = NULL;
    c->body = NULL;
    c->attempts[0].status = 0;
    c->attempts[0].reached = PHASE_TLS;
    c->attempts[0].error = (struct job_error){ FAILURE_TLS_FAILED, PHASE_TLS, true, strdup("no") };
    c->error = (struct job_error){ FAILURE_TLS_FAILED, PHASE_TLS, true, strdup("nein – 아니") };
    c->due_us += 1000000;
}

/* A delivery's whole way: a failed try, the delivery, the wait, the collection. */
static void each_checkpoint_comes_back(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j = sample_full();
    struct sample_step step;

    write_jobs(d, &j, 1);
    sample_step_init(&step, j, JOB_WAITING, NULL);
    set_failure(&step.checkpoint);
    commit_step(d, &step);
    assert_stored(d, j);

    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(sqlite_write_in_flight(d, j->id.key), 0);
    assert_int_equal(sqlite_commit(d), 0);
    j->in_flight = true;
    assert_stored(d, j);

    sample_step_init(&step, j, JOB_WAITING, "delivered");
    step.checkpoint.step = STEP_WAIT;
    step.checkpoint.tries = 0;
    step.checkpoint.events.at_us[EVENT_DELIVERED] = 1800000000000001;
    step.result.truncated = step.body.truncated = true;
    commit_step(d, &step);
    assert_stored(d, j);

    sample_step_init(&step, j, JOB_WAITING, NULL);
    checkpoint_done(&step.checkpoint);
    step.checkpoint.result = NULL;
    step.checkpoint.step = STEP_COLLECT;
    step.checkpoint.events.at_us[EVENT_WAITED] = 1800000000000002;
    commit_step(d, &step);
    assert_stored(d, j);

    sample_step_init(&step, j, JOB_SUCCEEDED, "");
    step.checkpoint.events.at_us[EVENT_COLLECTED] = 1800000000000003;
    step.checkpoint.finished_seq = 7;
    commit_step(d, &step);
    assert_int_equal(j->n_attempts, 3);
    assert_stored(d, j);
    sqlite_close(d);

    d = open_database(*state);
    assert_stored(d, j);
    sqlite_close(d);
    job_unref(j);
}

/* An end without an answer of its own keeps the one before. */
static void a_late_failure_keeps_the_result(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j = sample_full();
    struct sample_step step;

    write_jobs(d, &j, 1);
    sample_step_init(&step, j, JOB_WAITING, "delivered");
    step.checkpoint.step = STEP_COLLECT;
    commit_step(d, &step);
    sample_step_init(&step, j, JOB_FAILED, NULL);
    set_failure(&step.checkpoint);
    commit_step(d, &step);
    assert_int_equal(j->result.step, STEP_DELIVER);
    assert_stored(d, j);
    sqlite_close(d);
    job_unref(j);
}

static void assert_body(struct sqlite *d, const struct job *j, enum job_step step, const char *text)
{
    struct store_body b = { 0 };
    int rc = sqlite_read_body(d, j->id, step, &b);

    if (!text) {
        assert_int_equal(rc, -ENOENT);
        return;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(b.body.bytes, strlen(text));
    if (*text)
        assert_memory_equal(b.body.data, text, strlen(text));
    assert_string_equal(b.body.file, "");
    assert_string_equal(b.type, "text/plain");
    store_body_done(&b);
}

static void each_step_has_its_body(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j = sample_full(), *other = sample_full();
    struct sample_step step;

    write_jobs(d, &j, 1);
    write_jobs(d, &other, 1);
    assert_body(d, j, STEP_MAX, NULL);
    sample_step_init(&step, j, JOB_WAITING, "first");
    step.checkpoint.step = STEP_COLLECT;
    commit_step(d, &step);
    assert_body(d, j, STEP_MAX, "first");
    assert_body(d, j, STEP_DELIVER, "first");
    assert_body(d, j, STEP_COLLECT, NULL);
    sample_step_init(&step, j, JOB_SUCCEEDED, "");
    commit_step(d, &step);
    assert_body(d, j, STEP_MAX, "");
    assert_body(d, j, STEP_DELIVER, "first");
    assert_body(d, j, STEP_COLLECT, "");

    sample_step_init(&step, other, JOB_SUCCEEDED, NULL);
    commit_step(d, &step);
    assert_body(d, other, STEP_MAX, NULL);
    assert_body(d, other, STEP_DELIVER, NULL);
    sqlite_close(d);
    job_unref(j);
    job_unref(other);
}

static void an_inline_body_of_the_greatest_size(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j = sample_fetch();
    struct sample_step step;
    char *text = malloc(BODY_INLINE_MAX_BYTES + 1);

    memset(text, 'b', BODY_INLINE_MAX_BYTES);
    text[BODY_INLINE_MAX_BYTES] = 0;
    write_jobs(d, &j, 1);
    sample_step_init(&step, j, JOB_SUCCEEDED, text);
    commit_step(d, &step);
    assert_body(d, j, STEP_MAX, text);
    free(text);
    sqlite_close(d);
    job_unref(j);
}

/* A body in a file: `name` below bodies/. */
static void file_step(struct sample_step *step, struct job *j, enum job_state state, int n)
{
    char id[UUID7_TEXT_SIZE];

    uuid7_format(j->id, id);
    sample_step_init(step, j, state, NULL);
    step->body.bytes = step->result.body_bytes = 100000;
    snprintf(step->body.file, sizeof(step->body.file), "%s-%d", id, n);
    step->checkpoint.body = &step->body;
}

static void a_file_is_named_by_its_row_alone(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j = sample_fetch();
    struct store_body b;
    struct sample_step step;
    char first[64], second[64];

    write_jobs(d, &j, 1);
    file_step(&step, j, JOB_WAITING, 1);
    strcpy(first, step.body.file);
    commit_step(d, &step);
    assert_int_equal(sqlite_has_file(d, j->id.key, first), 1);
    assert_int_equal(sqlite_dropped_files(d)->n, 0);

    file_step(&step, j, JOB_SUCCEEDED, 2);
    strcpy(second, step.body.file);
    commit_step(d, &step);
    assert_int_equal(sqlite_dropped_files(d)->n, strlen(first) + 1);
    assert_string_equal(sqlite_dropped_files(d)->data, first);
    assert_int_equal(sqlite_has_file(d, j->id.key, first), 0);
    assert_int_equal(sqlite_has_file(d, j->id.key, second), 1);
    assert_int_equal(sqlite_has_file(d, j->id.key + 1, second), 0);

    assert_int_equal(sqlite_read_body(d, j->id, STEP_MAX, &b), 0);
    assert_string_equal(b.body.file, second);
    assert_null(b.body.data);
    assert_int_equal(b.body.bytes, 100000);
    store_body_done(&b);
    sqlite_close(d);
    job_unref(j);
}

static void an_id_is_found_as_a_whole(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j = sample_fetch(), *found;
    struct batch b = sample_batch(0), found_batch;
    struct uuid7 id = j->id;

    write_jobs(d, &j, 1);
    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(sqlite_write_batch(d, &b), 0);
    assert_int_equal(sqlite_commit(d), 0);
    id.tail ^= 1;
    assert_int_equal(sqlite_read_job(d, id, &found), -ENOENT);
    id = (struct uuid7){ j->id.key + 100, j->id.tail };
    assert_int_equal(sqlite_read_job(d, id, &found), -ENOENT);
    b.id.tail ^= 1;
    assert_int_equal(sqlite_read_batch(d, b.id, &found_batch), -ENOENT);
    sqlite_close(d);
    job_unref(j);
}

static void mistakes_are_told(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j = sample_fetch(), *unknown = sample_fetch();
    struct batch b = sample_batch(1);
    struct sample_step step;

    write_jobs(d, &j, 1);
    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(sqlite_write_job(d, j), -EEXIST);
    sqlite_rollback(d);

    sample_step_init(&step, unknown, JOB_FAILED, NULL);
    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(sqlite_write_checkpoint(d, &step.checkpoint), -ENOENT);
    step.checkpoint.state = JOB_WAITING;
    assert_int_equal(sqlite_write_checkpoint(d, &step.checkpoint), -ENOENT);
    assert_int_equal(sqlite_update_batch(d, &b), -ENOENT);
    sqlite_rollback(d);
    sample_step_done(&step);
    sqlite_close(d);
    job_unref(j);
    job_unref(unknown);
}

static void what_is_rolled_back_is_not_there(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j = sample_full(), *found;

    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(sqlite_write_job(d, j), 0);
    sqlite_rollback(d);
    assert_int_equal(sqlite_read_job(d, j->id, &found), -ENOENT);
    write_jobs(d, &j, 1);
    assert_stored(d, j);
    sqlite_close(d);
    job_unref(j);
}

static void released_jobs_may_go_on(void **state)
{
    struct sqlite *d = open_database(*state);
    struct batch b = sample_batch(4);
    struct job **jobs = sample_jobs(&b);
    struct sample_step step;
    int64_t release[2] = { jobs[1]->id.key, jobs[3]->id.key };

    write_jobs(d, jobs, 4);
    sample_step_init(&step, jobs[0], JOB_SUCCEEDED, NULL);
    step.checkpoint.release = release;
    step.checkpoint.n_release = 2;
    commit_step(d, &step);
    jobs[1]->held = jobs[3]->held = false;
    for (int i = 0; i < 4; i++)
        assert_stored(d, jobs[i]);
    sqlite_close(d);
    sample_jobs_free(jobs, 4);
}

static void assert_same_batch(const struct batch *a, const struct batch *b)
{
    assert_int_equal(a->id.key, b->id.key);
    assert_int_equal(a->id.tail, b->id.tail);
    assert_int_equal(a->run, b->run);
    assert_int_equal(a->on_error, b->on_error);
    assert_int_equal(a->concurrency, b->concurrency);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->cancelled, b->cancelled);
    assert_int_equal(a->total, b->total);
    assert_memory_equal(a->counts, b->counts, sizeof(a->counts));
    assert_int_equal(a->created_us, b->created_us);
    assert_int_equal(a->finished_us, b->finished_us);
    assert_int_equal(a->work_us, b->work_us);
    assert_int_equal(a->finished_seq, b->finished_seq);
}

static void assert_batch_stored(struct sqlite *d, const struct batch *b)
{
    struct batch stored;

    assert_int_equal(sqlite_read_batch(d, b->id, &stored), 0);
    assert_same_batch(&stored, b);
}

static void a_batch_comes_back(void **state)
{
    struct sqlite *d = open_database(*state);
    struct batch b = sample_batch(4);
    struct job **jobs = sample_jobs(&b);

    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(sqlite_write_batch(d, &b), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(sqlite_write_job(d, jobs[i]), 0);
    assert_int_equal(sqlite_commit(d), 0);
    assert_batch_stored(d, &b);
    assert_int_equal(sqlite_last_key(d), 0);
    sqlite_close(d);

    d = open_database(*state);
    assert_batch_stored(d, &b);
    b.state = BATCH_FAILED;
    b.cancelled = true;
    memset(b.counts, 0, sizeof(b.counts));
    b.counts[JOB_SUCCEEDED] = 1;
    b.counts[JOB_FAILED] = 2;
    b.counts[JOB_CANCELLED] = 1;
    b.finished_us = 1800000000000004;
    b.work_us = 5;
    b.finished_seq = 6;
    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(sqlite_update_batch(d, &b), 0);
    assert_int_equal(sqlite_commit(d), 0);
    assert_batch_stored(d, &b);
    sqlite_close(d);
    sample_jobs_free(jobs, 4);
}

/* The row of a running batch is as old as its last write; its jobs' rows are not. */
static void a_running_batch_is_counted(void **state)
{
    struct sqlite *d = open_database(*state);
    struct batch b = sample_batch(6);
    struct job **jobs = sample_jobs(&b);
    struct store_batches page;
    struct sample_step step;

    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(sqlite_write_batch(d, &b), 0);
    assert_int_equal(sqlite_commit(d), 0);
    write_jobs(d, jobs, 6);
    end_job(d, jobs[0], JOB_SUCCEEDED, 1);
    end_job(d, jobs[1], JOB_FAILED, 2);
    end_job(d, jobs[2], JOB_SUCCEEDED, 3);
    sample_step_init(&step, jobs[3], JOB_CANCELLED, NULL);
    step.checkpoint.started_us = 0; /* never was, so it did no work */
    step.checkpoint.finished_seq = 4;
    step.checkpoint.finished_us = jobs[3]->created_us + 5000000;
    commit_step(d, &step);
    sample_step_init(&step, jobs[4], JOB_WAITING, NULL);
    commit_step(d, &step);

    b.counts[JOB_PENDING] = b.counts[JOB_WAITING] = b.counts[JOB_FAILED] = b.counts[JOB_CANCELLED] =
            1;
    b.counts[JOB_SUCCEEDED] = 2;
    b.work_us = 3 * 900;
    b.finished_us = jobs[3]->finished_us;
    b.finished_seq = 4;
    assert_batch_stored(d, &b);
    assert_int_equal(sqlite_list_batches(d, true, 0, 10, &page), 0);
    assert_int_equal(page.n, 1);
    assert_same_batch(&page.batches[0], &b);
    store_batches_done(&page);
    sqlite_close(d);
    sample_jobs_free(jobs, 6);
}

static void nobody_sees_a_batch_that_loads(void **state)
{
    struct sqlite *d = open_database(*state);
    struct batch b = sample_batch(3), found;
    struct job **jobs = sample_jobs(&b), *job;
    struct store_filter all = { .kind = -1 }, of_batch = { .kind = -1, .batch = b.id };
    struct store_batches batches;
    struct store_page page;

    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(loading_begin(d, &b), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sqlite_write_job(d, jobs[i]), 0);
    assert_int_equal(sqlite_commit(d), 0);

    assert_int_equal(sqlite_read_batch(d, b.id, &found), -ENOENT);
    assert_int_equal(sqlite_read_job(d, jobs[1]->id, &job), -ENOENT);
    assert_int_equal(sqlite_list_jobs(d, &all, 0, 10, false, &page), 0);
    assert_int_equal(page.n, 0);
    store_page_done(&page);
    assert_int_equal(sqlite_list_jobs(d, &of_batch, 0, 10, false, &page), 0);
    assert_int_equal(page.n, 0);
    store_page_done(&page);
    assert_int_equal(sqlite_list_batches(d, false, 0, 10, &batches), 0);
    assert_int_equal(batches.n, 0);
    store_batches_done(&batches);

    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(loading_end(d, &b), 0);
    assert_int_equal(sqlite_commit(d), 0);
    loading_show(d, b.id.key);
    assert_batch_stored(d, &b);
    assert_stored(d, jobs[1]);
    sqlite_close(d);
    sample_jobs_free(jobs, 3);
}

static void a_batch_that_failed_to_load_is_dropped(void **state)
{
    struct sqlite *d = open_database(*state);
    struct batch b = sample_batch(600), found;
    struct job **jobs = sample_jobs(&b), *other = sample_full(), *job;
    int slices = 0;

    write_jobs(d, &other, 1);
    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(loading_begin(d, &b), 0);
    assert_int_equal(sqlite_commit(d), 0);
    write_jobs(d, jobs, 600);
    assert_int_equal(loading_drop_slice(d), 0); /* it loads */
    loading_drop(d, b.id.key);
    while (loading_drop_slice(d) > 0)
        slices++;
    assert_in_range(slices, 2, 4);
    assert_false(loading_any(d));
    assert_int_equal(sqlite_read_batch(d, b.id, &found), -ENOENT);
    assert_int_equal(sqlite_read_job(d, jobs[0]->id, &job), -ENOENT);
    assert_int_equal(sqlite_read_job(d, jobs[599]->id, &job), -ENOENT);
    assert_stored(d, other);
    sqlite_close(d);
    sample_jobs_free(jobs, 600);
    job_unref(other);
}

#define CROWD 256 /* at once in flight */
#define GROUP 32

/* Ends those of the crowd that `nth` to come lists, with 1 KiB each; the pages that it wrote. */
static int end_group(struct sqlite *d, struct job *const *jobs, unsigned nth)
{
    static char body[1025];
    static struct sample_step steps[GROUP];
    int before = sqlite_log_pages(d);

    memset(body, 'x', sizeof(body) - 1);
    assert_int_equal(sqlite_begin(d), 0);
    for (unsigned i = 0; i < GROUP; i++) {
        /* 101 and 256 have no common divisor: each comes once, far from the one before. */
        sample_step_init(&steps[i], jobs[(nth * GROUP + i) * 101 % CROWD], JOB_SUCCEEDED, body);
        assert_int_equal(sqlite_write_checkpoint(d, &steps[i].checkpoint), 0);
    }
    assert_int_equal(sqlite_commit(d), 0);
    for (unsigned i = 0; i < GROUP; i++)
        sample_step_apply(&steps[i]);
    return sqlite_log_pages(d) - before;
}

/* What a group writes is what it has to say, in whatever order jobs end. */
static void answers_fill_a_page_before_the_next(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *jobs[CROWD];
    int pages = 0;

    for (unsigned i = 0; i < CROWD; i++)
        jobs[i] = sample_fetch();
    write_jobs(d, jobs, CROWD);
    for (unsigned i = 0; i < CROWD / GROUP; i++)
        pages += end_group(d, jobs, i);
    assert_in_range(pages, CROWD / 8, CROWD * 5 / 8);
    for (unsigned i = 0; i < CROWD; i++) {
        assert_stored(d, jobs[i]);
        job_unref(jobs[i]);
    }
    sqlite_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAMPLE_TEST(a_job_comes_back_whole),
        SAMPLE_TEST(each_checkpoint_comes_back),
        SAMPLE_TEST(a_late_failure_keeps_the_result),
        SAMPLE_TEST(each_step_has_its_body),
        SAMPLE_TEST(an_inline_body_of_the_greatest_size),
        SAMPLE_TEST(a_file_is_named_by_its_row_alone),
        SAMPLE_TEST(an_id_is_found_as_a_whole),
        SAMPLE_TEST(mistakes_are_told),
        SAMPLE_TEST(what_is_rolled_back_is_not_there),
        SAMPLE_TEST(released_jobs_may_go_on),
        SAMPLE_TEST(a_batch_comes_back),
        SAMPLE_TEST(a_running_batch_is_counted),
        SAMPLE_TEST(nobody_sees_a_batch_that_loads),
        SAMPLE_TEST(a_batch_that_failed_to_load_is_dropped),
        SAMPLE_TEST(answers_fill_a_page_before_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
