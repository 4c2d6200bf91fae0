/* The list of ended jobs, by which retention goes: their order, its rows, and what stays in it. */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>

#include "daemon/base/cleanup.h"
#include "tests/unit/store/purging.h"

static void run_sql(struct sqlite *d, const char *sql)
{
    assert_int_equal(sqlite3_exec(d->db, sql, NULL, NULL, NULL), SQLITE_OK);
}

/* A clock that goes back, and a start, change nothing in it. */
static void the_order_is_that_of_the_ends(void **state)
{
    struct sqlite *d = open_database(*state);
    struct purge_slice slice;
    struct job *j[3];

    for (int i = 0; i < 3; i++)
        j[i] = sample_fetch();
    write_jobs(d, j, 3);
    end_at(d, j[2], JOB_SUCCEEDED, 30, 0);
    end_at(d, j[0], JOB_SUCCEEDED, 20, 0);
    sqlite_close(d);
    d = open_database(*state);
    end_at(d, j[1], JOB_SUCCEEDED, 10, 0);

    slice = purge(d, (struct store_limits){ 25, INT64_MAX, INT64_MAX });
    assert_int_equal(slice.n, 0);
    assert_int_equal(slice.oldest_us, 30);
    slice = purge(d, (struct store_limits){ 31, 1, INT64_MAX });
    assert_int_equal(slice.n, 3);
    assert_memory_equal(&slice.ids[0], &j[2]->id, sizeof(j[2]->id));
    assert_memory_equal(&slice.ids[1], &j[0]->id, sizeof(j[0]->id));
    assert_memory_equal(&slice.ids[2], &j[1]->id, sizeof(j[1]->id));
    sqlite_close(d);
    for (int i = 0; i < 3; i++)
        job_unref(j[i]);
}

/* An end that is undone is in the list as little as in its table, and so is one that can't be listed. */
static void what_is_rolled_back_has_not_ended(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j[3] = { sample_fetch(), sample_fetch(), sample_fetch() };
    struct purge_slice slice;
    struct sample_step step;

    write_jobs(d, j, 3);
    sample_step_init(&step, j[0], JOB_SUCCEEDED, NULL);
    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(sqlite_write_checkpoint(d, &step.checkpoint), 0);
    sqlite_rollback(d);
    run_sql(d, "CREATE TRIGGER refuse BEFORE INSERT ON ended BEGIN SELECT RAISE(FAIL, 'no'); END");
    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(sqlite_write_checkpoint(d, &step.checkpoint), 0);
    assert_int_equal(sqlite_commit(d), -EIO);
    sample_step_done(&step);
    run_sql(d, "DROP TRIGGER refuse");
    assert_int_equal(number(d, "SELECT count(*) FROM done"), 0);
    assert_stored(d, j[0]);

    end_at(d, j[1], JOB_SUCCEEDED, 10, 0);
    assert_int_equal(number(d, "SELECT sum(length(keys)) FROM ended"), 16);
    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(purge_run_slice(d, &all_due, &slice), 0);
    assert_int_equal(slice.n, 1);
    sqlite_rollback(d);
    slice = purge(d, all_due);
    assert_gone(&slice, j + 1, 1);
    sqlite_close(d);
    for (int i = 0; i < 3; i++)
        job_unref(j[i]);
}

/* What ended in one transaction may go in many, with starts between them. */
static void a_slice_ends_anywhere(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j[PURGE_SLICE * 3];
    size_t n = ARRAY_LEN(j), gone = 0;
    struct purge_slice slice;

    for (size_t i = 0; i < n; i++)
        j[i] = sample_fetch();
    write_jobs(d, j, n);
    end_together(d, j, n / 2 + 1, 10);
    end_together(d, j + n / 2 + 1, n - n / 2 - 1, 1000);
    for (int64_t at_once = 1; gone < n; at_once += 20) {
        slice = purge_slice(
                d, (struct store_limits){ 0, (int64_t)(n - gone) - at_once, INT64_MAX });
        assert_true(slice.n > 0 && slice.n <= (size_t)at_once);
        assert_gone(&slice, j + gone, slice.n);
        gone += slice.n;
        assert_int_equal(slice.oldest_us, gone < n ? j[gone]->finished_us : 0);
        assert_int_equal(
                number(d, "SELECT coalesce(sum(length(keys)), 0) FROM ended"), (n - gone) * 16);
        sqlite_close(d);
        d = open_database(*state);
    }
    assert_int_equal(all_rows(d), 0);
    sqlite_close(d);
    for (size_t i = 0; i < n; i++)
        job_unref(j[i]);
}

/* The only job of a batch that is about to end stays; those around it go all the same. */
static void what_has_to_stay_hides_nothing(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j[5] = { sample_fetch(), NULL, sample_fetch(), NULL, sample_fetch() };
    struct job **members[2];
    struct batch b[2];
    struct purge_slice slice;

    for (int i = 0; i < 2; i++) {
        b[i] = sample_batch(1);
        members[i] = sample_jobs(&b[i]);
        j[i * 2 + 1] = members[i][0];
        assert_int_equal(sqlite_begin(d), 0);
        assert_int_equal(sqlite_write_batch(d, &b[i]), 0);
        assert_int_equal(sqlite_commit(d), 0);
    }
    write_jobs(d, j, 5);
    end_together(d, j, 3, 10);
    end_together(d, j + 3, 1, 20);
    end_together(d, j + 4, 1, 30);

    slice = purge(d, all_due);
    assert_gone(&slice, (struct job *[]){ j[0], j[2], j[4] }, 3);
    assert_int_equal(slice.oldest_us, 11);
    assert_true(is_there(d, j[1]) && is_there(d, j[3]));
    slice = purge_slice(d, all_due);
    assert_int_equal(slice.n, 0);
    assert_false(slice.more);
    assert_int_equal(slice.oldest_us, 11);

    for (int i = 1; i >= 0; i--) {
        b[i].state = BATCH_SUCCEEDED;
        b[i].counts[JOB_SUCCEEDED] = 1;
        update_batch(d, &b[i]);
        slice = purge(d, all_due);
        assert_gone(&slice, members[i], 1);
        sample_jobs_free(members[i], 1);
    }
    assert_int_equal(all_rows(d), 0);
    sqlite_close(d);
    for (int i = 0; i < 5; i += 2)
        job_unref(j[i]);
}

/* A slice sees what ended in its own transaction before it, and what ends after it is listed too. */
static void a_slice_among_others_sees_all_before_it(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j[3] = { sample_fetch(), sample_fetch(), sample_fetch() };
    struct sample_step steps[3];
    struct purge_slice slice;

    write_jobs(d, j, 3);
    assert_int_equal(sqlite_begin(d), 0);
    for (int i = 0; i < 3; i++) {
        sample_step_init(&steps[i], j[i], JOB_SUCCEEDED, NULL);
        steps[i].checkpoint.finished_us = 10 + i;
        assert_int_equal(sqlite_write_checkpoint(d, &steps[i].checkpoint), 0);
        if (i == 1)
            assert_int_equal(
                    purge_run_slice(d, &(struct store_limits){ 11, 9, 1 << 30 }, &slice), 0);
    }
    assert_int_equal(sqlite_commit(d), 0);
    assert_gone(&slice, j, 1);
    assert_int_equal(slice.oldest_us, 11);
    assert_int_equal(number(d, "SELECT sum(length(keys)) FROM ended"), 2 * 16);
    slice = purge(d, all_due);
    assert_gone(&slice, j + 1, 2);
    assert_int_equal(all_rows(d), 0);
    sqlite_close(d);
    for (int i = 0; i < 3; i++) {
        sample_step_apply(&steps[i]);
        job_unref(j[i]);
    }
}

static void a_look_at_what_is_not_due_reads_one_job(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j[20];

    for (int i = 0; i < 20; i++)
        j[i] = sample_fetch();
    write_jobs(d, j, 20);
    end_together(d, j, 10, 10);
    end_together(d, j + 10, 10, 20);
    (void)sqlite3_stmt_status(d->statements[SELECT_ENDED], SQLITE_STMTSTATUS_RUN, 1);
    assert_int_equal(purge(d, nothing_due).n, 0);
    assert_int_equal(sqlite3_stmt_status(d->statements[SELECT_ENDED], SQLITE_STMTSTATUS_RUN, 0), 1);
    sqlite_close(d);
    for (int i = 0; i < 20; i++)
        job_unref(j[i]);
}

/* Such a file can't be trusted. */
static void a_row_that_is_no_list_is_damage(void **state)
{
    static const char *const rows[] = { "x'3030'", "CAST('00000000000000G0' AS BLOB)" };
    struct sqlite *d = open_database(*state);
    struct purge_slice slice;
    char sql[100];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(sql, sizeof(sql), "INSERT OR REPLACE INTO ended VALUES(1, %s)", rows[i]);
        run_sql(d, sql);
        assert_int_equal(sqlite_begin(d), 0);
        assert_int_equal(purge_run_slice(d, &nothing_due, &slice), -EBADMSG);
        sqlite_rollback(d);
    }
    sqlite_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAMPLE_TEST(the_order_is_that_of_the_ends),
        SAMPLE_TEST(what_is_rolled_back_has_not_ended),
        SAMPLE_TEST(a_slice_ends_anywhere),
        SAMPLE_TEST(what_has_to_stay_hides_nothing),
        SAMPLE_TEST(a_slice_among_others_sees_all_before_it),
        SAMPLE_TEST(a_look_at_what_is_not_due_reads_one_job),
        SAMPLE_TEST(a_row_that_is_no_list_is_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
