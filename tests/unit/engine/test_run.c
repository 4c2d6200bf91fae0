/* Batches: who is let go with whom, what is counted, and when a batch is over and how. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "daemon/engine/record.h"
#include "daemon/engine/run.h"
#include "daemon/model/job.h"

#define MEMBERS 4

struct batch_of_four {
    struct runs runs;
    struct run *run;
    struct record *records[MEMBERS];
};

static void begin(struct batch_of_four *f, unsigned concurrency, enum batch_on_error on_error)
{
    struct batch b = { .id = { 7, 7 },
        .concurrency = concurrency,
        .on_error = on_error,
        .state = BATCH_RUNNING,
        .total = MEMBERS,
        .n_held = concurrency ? MEMBERS - concurrency : 0,
        .counts = { [JOB_PENDING] = MEMBERS } };

    *f = (struct batch_of_four){ 0 };
    f->run = run_new(NULL, &f->runs, &b);
    assert_non_null(f->run);
    f->run->held_out = false; /* all are in memory */
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct job_spec spec = { .kind = JOB_DELIVERY };
        struct job *job = job_new(&spec);

        assert_non_null(job);
        job->id = (struct uuid7){ 10 + i, 1 };
        job->index = i;
        job->held = concurrency > 0 && i >= concurrency;
        f->records[i] = record_new(NULL, job);
        assert_non_null(f->records[i]);
        run_join(f->run, f->records[i]);
    }
}

static void finish(struct batch_of_four *f)
{
    for (unsigned i = 0; i < MEMBERS; i++)
        record_free(f->records[i]);
    run_drop_unused(&f->runs, f->run);
    assert_int_equal(f->runs.n, 0);
    runs_done(&f->runs);
}

/* Ends member `i` after it ran for 100 µs; returns the index of who is let go, or -1. */
static int end(struct batch_of_four *f, unsigned i, enum job_state state, bool expect_last)
{
    struct record *r = f->records[i], *successor = NULL;
    const struct batch *last;
    struct checkpoint c;

    checkpoint_init(&c, r->job);
    c.state = state;
    c.started_us = 1000;
    c.finished_us = 1100 + i;
    last = run_post_end(f->run, r, &c, &successor);
    assert_int_equal(last != NULL, expect_last);
    run_count(f->run, JOB_PENDING, state);
    job_apply(r->job, &c);
    run_end_member(f->run, r);
    return successor ? (int)successor->job->index : -1;
}

static void a_gather_lets_everybody_go(void **state)
{
    struct batch_of_four f;

    (void)state;
    begin(&f, 0, ON_ERROR_CONTINUE);
    for (unsigned i = 0; i < MEMBERS; i++)
        assert_int_equal(end(&f, i, JOB_SUCCEEDED, i == MEMBERS - 1), -1);
    assert_int_equal(f.run->batch.state, BATCH_SUCCEEDED);
    assert_int_equal(f.run->batch.counts[JOB_SUCCEEDED], MEMBERS);
    assert_int_equal(f.run->batch.counts[JOB_PENDING], 0);
    assert_int_equal(f.run->batch.finished_us, 1103);
    assert_int_equal(f.run->batch.work_us, 100 + 101 + 102 + 103);
    finish(&f);
}

static void a_sequence_lets_one_go_after_the_other(void **state)
{
    struct batch_of_four f;

    (void)state;
    begin(&f, 1, ON_ERROR_CONTINUE);
    assert_int_equal(end(&f, 0, JOB_SUCCEEDED, false), 1);
    assert_int_equal(end(&f, 1, JOB_FAILED, false), 2);
    assert_int_equal(end(&f, 2, JOB_SUCCEEDED, false), 3);
    assert_int_equal(end(&f, 3, JOB_SUCCEEDED, true), -1);
    assert_int_equal(f.run->batch.state, BATCH_FAILED);
    finish(&f);
}

static void a_held_member_that_ends_lets_nobody_go(void **state)
{
    struct batch_of_four f;

    (void)state;
    begin(&f, 2, ON_ERROR_CONTINUE);
    assert_int_equal(end(&f, 2, JOB_CANCELLED, false), -1);
    assert_int_equal(end(&f, 0, JOB_SUCCEEDED, false), 3);
    assert_int_equal(end(&f, 1, JOB_SUCCEEDED, false), -1);
    assert_int_equal(end(&f, 3, JOB_SUCCEEDED, true), -1);
    assert_int_equal(f.run->batch.state, BATCH_FAILED);
    finish(&f);
}

static void take_out(struct batch_of_four *f, unsigned i)
{
    struct record *r = f->records[i];

    list_remove(&r->held);
    list_remove(&r->member);
    f->run->n_held--;
}

/* A sequence keeps its order though memory refuses one of its members at first. */
static void nobody_goes_before_one_that_memory_refused(void **state)
{
    struct batch_of_four f;

    (void)state;
    begin(&f, 1, ON_ERROR_CONTINUE);
    take_out(&f, 2);
    run_miss(f.run, f.records[2]->job);
    run_miss(f.run, f.records[3]->job);
    assert_int_equal(end(&f, 0, JOB_SUCCEEDED, false), 1);
    assert_int_equal(end(&f, 1, JOB_SUCCEEDED, false), -1);
    assert_null(run_choose_successor(f.run));
    run_retry(f.run);
    run_join(f.run, f.records[2]);
    assert_ptr_equal(run_choose_successor(f.run), f.records[2]);
    assert_null(run_choose_successor(f.run));
    assert_int_equal(end(&f, 2, JOB_SUCCEEDED, false), 3);
    assert_int_equal(end(&f, 3, JOB_SUCCEEDED, true), -1);
    finish(&f);
}

/* Else each page that is read finds memory refusing it, and so on until the end of the batch. */
static void no_more_are_read_while_memory_refuses_one(void **state)
{
    struct batch_of_four f;

    (void)state;
    begin(&f, 1, ON_ERROR_CONTINUE);
    take_out(&f, 3);
    f.run->held_out = true;
    f.run->held_from = 3;
    assert_true(run_wants_held(f.run, true));
    run_miss(f.run, f.records[3]->job);
    assert_false(run_wants_held(f.run, true));
    assert_false(run_wants_held(f.run, false));
    run_retry(f.run);
    assert_true(run_wants_held(f.run, true));
    f.run->held_out = false;
    run_join(f.run, f.records[3]);
    assert_int_equal(end(&f, 0, JOB_SUCCEEDED, false), 1);
    assert_int_equal(end(&f, 1, JOB_SUCCEEDED, false), 2);
    assert_int_equal(end(&f, 2, JOB_SUCCEEDED, false), 3);
    assert_int_equal(end(&f, 3, JOB_SUCCEEDED, true), -1);
    finish(&f);
}

/* One that was brought in by itself does not go before those that are still out. */
static void nobody_goes_before_one_that_is_paged_out(void **state)
{
    struct batch_of_four f;

    (void)state;
    begin(&f, 1, ON_ERROR_CONTINUE);
    take_out(&f, 1);
    take_out(&f, 2);
    f.run->held_out = true;
    f.run->held_from = 1;
    assert_false(run_wants_held(f.run, false));
    assert_int_equal(end(&f, 0, JOB_SUCCEEDED, false), -1);
    assert_true(run_wants_held(f.run, false));
    f.run->held_from = 3;
    run_join(f.run, f.records[1]);
    run_join(f.run, f.records[2]);
    assert_false(run_wants_held(f.run, false));
    assert_ptr_equal(run_choose_successor(f.run), f.records[1]);
    assert_int_equal(end(&f, 1, JOB_SUCCEEDED, false), 2);
    assert_int_equal(end(&f, 2, JOB_SUCCEEDED, false), -1);
    assert_true(run_wants_held(f.run, false));
    f.run->held_out = false;
    assert_ptr_equal(run_choose_successor(f.run), f.records[3]);
    assert_int_equal(end(&f, 3, JOB_SUCCEEDED, true), -1);
    finish(&f);
}

/* The successor is chosen before its predecessor is committed; it may be cancelled in between. */
static void a_chosen_successor_that_is_cancelled_passes_its_turn_on(void **state)
{
    struct batch_of_four f;

    (void)state;
    begin(&f, 1, ON_ERROR_CONTINUE);
    assert_int_equal(end(&f, 0, JOB_SUCCEEDED, false), 1);
    assert_true(f.records[1]->job->held);
    assert_int_equal(end(&f, 1, JOB_CANCELLED, false), 2);
    assert_int_equal(end(&f, 2, JOB_SUCCEEDED, false), 3);
    assert_int_equal(end(&f, 3, JOB_SUCCEEDED, true), -1);
    finish(&f);
}

static void on_error_cancel_lets_nobody_go_after_a_failure(void **state)
{
    struct batch_of_four f;

    (void)state;
    begin(&f, 1, ON_ERROR_CANCEL);
    assert_int_equal(end(&f, 0, JOB_FAILED, false), -1);
    assert_true(f.run->cancelling);
    for (unsigned i = 1; i < MEMBERS; i++)
        assert_int_equal(end(&f, i, JOB_CANCELLED, i == MEMBERS - 1), -1);
    assert_int_equal(f.run->batch.state, BATCH_FAILED);
    finish(&f);
}

static void a_batch_cancelled_by_request_says_so(void **state)
{
    struct batch_of_four f;

    (void)state;
    begin(&f, 0, ON_ERROR_CONTINUE);
    f.run->batch.cancelled = f.run->posted.cancelled = true;
    for (unsigned i = 0; i < MEMBERS; i++)
        end(&f, i, JOB_CANCELLED, i == MEMBERS - 1);
    assert_int_equal(f.run->batch.state, BATCH_CANCELLED);
    finish(&f);
}

static void a_cancel_that_came_too_late_changes_nothing(void **state)
{
    struct batch_of_four f;

    (void)state;
    begin(&f, 0, ON_ERROR_CONTINUE);
    f.run->batch.cancelled = f.run->posted.cancelled = true;
    for (unsigned i = 0; i < MEMBERS; i++)
        end(&f, i, JOB_SUCCEEDED, i == MEMBERS - 1);
    assert_int_equal(f.run->batch.state, BATCH_SUCCEEDED);
    finish(&f);
}

static void finishing_order_is_numbered_from_one(void **state)
{
    struct batch_of_four f;

    (void)state;
    begin(&f, 0, ON_ERROR_CONTINUE);
    end(&f, 3, JOB_SUCCEEDED, false);
    end(&f, 1, JOB_SUCCEEDED, false);
    assert_int_equal(f.records[3]->job->finished_seq, 1);
    assert_int_equal(f.records[1]->job->finished_seq, 2);
    end(&f, 0, JOB_SUCCEEDED, false);
    end(&f, 2, JOB_SUCCEEDED, true);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gather_lets_everybody_go),
        cmocka_unit_test(a_sequence_lets_one_go_after_the_other),
        cmocka_unit_test(a_held_member_that_ends_lets_nobody_go),
        cmocka_unit_test(nobody_goes_before_one_that_memory_refused),
        cmocka_unit_test(no_more_are_read_while_memory_refuses_one),
        cmocka_unit_test(nobody_goes_before_one_that_is_paged_out),
        cmocka_unit_test(a_chosen_successor_that_is_cancelled_passes_its_turn_on),
        cmocka_unit_test(on_error_cancel_lets_nobody_go_after_a_failure),
        cmocka_unit_test(a_batch_cancelled_by_request_says_so),
        cmocka_unit_test(a_cancel_that_came_too_late_changes_nothing),
        cmocka_unit_test(finishing_order_is_numbered_from_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
