/* Retention: what is removed, in which order, how much at a time, and what is left of it: nothing. */
#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/store/sqlite_purge.h"
#include "daemon/store/sqlite_statement.h"
#include "tests/unit/store/driver.h"
#include "tests/unit/store/place.h"

static const struct store_limits none = { 0, INT64_MAX, INT64_MAX };
static const struct store_limits all = { INT64_MAX, 0, 0 };

static void end_at(struct sqlite *d, struct job *j, enum job_state state, int64_t us, int64_t seq)
{
    struct sample_step step;

    sample_step_init(&step, j, state, "x");
    step.checkpoint.finished_us = us;
    step.checkpoint.started_us = us - 7;
    step.checkpoint.finished_seq = seq;
    commit_step(d, &step);
}

static struct purge_slice purge(struct sqlite *d, struct store_limits limits)
{
    struct purge_slice slice;

    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(purge_run_slice(d, &limits, &slice), 0);
    assert_int_equal(sqlite_commit(d), 0);
    return slice;
}

static bool is_there(struct sqlite *d, const struct job *j)
{
    struct job *stored = NULL;
    int rc = sqlite_read_job(d, j->id, &stored);

    job_unref(stored);
    assert_true(rc == 0 || rc == -ENOENT);
    return rc == 0;
}

static int64_t number(struct sqlite *d, const char *sql)
{
    sqlite3_stmt *st;
    int64_t n;

    assert_int_equal(sqlite3_prepare_v2(d->db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

static void run_sql(struct sqlite *d, const char *sql)
{
    assert_int_equal(sqlite3_exec(d->db, sql, NULL, NULL, NULL), SQLITE_OK);
}

/* Of the tables that a job has rows in. */
static int64_t all_rows(struct sqlite *d)
{
    return number(d, "SELECT (SELECT count(*) FROM job) + (SELECT count(*) FROM live)"
                     " + (SELECT count(*) FROM done) + (SELECT count(*) FROM label)"
                     " + (SELECT count(*) FROM attempt) + (SELECT count(*) FROM answer)"
                     " + (SELECT count(*) FROM batch) + (SELECT count(*) FROM ended)");
}

/* All in one transaction, one microsecond after the other. */
static void end_together(struct sqlite *d, struct job *const *j, size_t n, int64_t us)
{
    struct sample_step *steps = calloc(n, sizeof(*steps));

    assert_non_null(steps);
    assert_int_equal(sqlite_begin(d), 0);
    for (size_t i = 0; i < n; i++) {
        sample_step_init(&steps[i], j[i], JOB_SUCCEEDED, NULL);
        steps[i].checkpoint.finished_us = us + (int64_t)i;
        assert_int_equal(sqlite_write_checkpoint(d, &steps[i].checkpoint), 0);
    }
    assert_int_equal(sqlite_commit(d), 0);
    for (size_t i = 0; i < n; i++)
        sample_step_apply(&steps[i]);
    free(steps);
}

/* Those from `j` on and no others, in this order. */
static void assert_gone(const struct purge_slice *slice, struct job *const *j, size_t n)
{
    assert_int_equal(slice->n, n);
    for (size_t i = 0; i < n; i++)
        assert_memory_equal(&slice->ids[i], &j[i]->id, sizeof(j[i]->id));
}

static void the_first_to_end_go_first(void **state)
{
    struct sqlite *d = open_database(*state);
    struct purge_slice slice;
    struct job *j[6];

    for (int i = 0; i < 6; i++)
        j[i] = i % 2 ? sample_full() : sample_fetch();
    write_jobs(d, (struct job *[]){ j[4], j[1], j[5], j[0], j[3], j[2] }, 6);
    end_together(d, j, 2, 10);
    end_at(d, j[2], JOB_FAILED, 30, 0);
    end_together(d, j + 3, 2, 40);

    slice = purge(d, none);
    assert_int_equal(slice.n, 0);
    assert_false(slice.more);
    assert_int_equal(slice.oldest_us, 10);

    slice = purge(d, (struct store_limits){ 12, INT64_MAX, INT64_MAX });
    assert_gone(&slice, j, 2);
    assert_false(slice.more);
    assert_int_equal(slice.oldest_us, 30);

    slice = purge(d, (struct store_limits){ 0, 2, INT64_MAX });
    assert_gone(&slice, j + 2, 1);
    assert_true(is_there(d, j[3]));
    assert_true(is_there(d, j[4]));

    /* What is alive stays, whatever the limits are. */
    slice = purge(d, all);
    assert_gone(&slice, j + 3, 2);
    assert_int_equal(slice.oldest_us, 0);
    assert_false(slice.more);
    assert_stored(d, j[5]);
    end_at(d, j[5], JOB_CANCELLED, 60, 0);
    slice = purge(d, all);
    assert_gone(&slice, j + 5, 1);
    assert_int_equal(all_rows(d), 0);
    sqlite_close(d);
    for (int i = 0; i < 6; i++)
        job_unref(j[i]);
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

/* The count is kept over transactions that are rolled back, and found again by the next start. */
static void the_number_of_ended_jobs_is_known(void **state)
{
    struct sqlite *d = open_database(*state);
    struct sample_step step;
    struct purge_slice slice;
    struct job *j[5];

    for (int i = 0; i < 5; i++)
        j[i] = sample_fetch();
    write_jobs(d, j, 5);
    for (int i = 0; i < 4; i++)
        end_at(d, j[i], JOB_SUCCEEDED, 10 + i, 0);
    sample_step_init(&step, j[4], JOB_SUCCEEDED, NULL);
    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(sqlite_write_checkpoint(d, &step.checkpoint), 0);
    sqlite_rollback(d);
    sample_step_done(&step);
    assert_int_equal(purge(d, (struct store_limits){ 0, 4, INT64_MAX }).n, 0);
    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(purge_run_slice(d, &(struct store_limits){ INT64_MAX, 0, 0 }, &slice), 0);
    assert_int_equal(slice.n, 4);
    sqlite_rollback(d);
    assert_int_equal(purge(d, (struct store_limits){ 0, 3, INT64_MAX }).n, 1);
    sqlite_close(d);
    d = open_database(*state);
    assert_int_equal(purge(d, (struct store_limits){ 0, 3, INT64_MAX }).n, 0);
    assert_int_equal(purge(d, (struct store_limits){ 0, 1, INT64_MAX }).n, 2);
    assert_true(is_there(d, j[3]));
    sqlite_close(d);
    for (int i = 0; i < 5; i++)
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
    assert_int_equal(purge_run_slice(d, &all, &slice), 0);
    assert_int_equal(slice.n, 1);
    sqlite_rollback(d);
    slice = purge(d, all);
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
        slice = purge(d, (struct store_limits){ 0, (int64_t)(n - gone) - at_once, INT64_MAX });
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

static void one_slice_is_small_and_says_that_there_is_more(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j[PURGE_SLICE * 2 + 1];
    int slices = 0, n = ARRAY_LEN(j), gone = 0;
    struct purge_slice slice;

    for (int i = 0; i < n; i++)
        j[i] = sample_fetch();
    write_jobs(d, j, (size_t)n);
    for (int i = 0; i < n; i++)
        end_at(d, j[i], JOB_SUCCEEDED, 10 + i, 0);
    do {
        slice = purge(d, (struct store_limits){ 10 + n - 1, INT64_MAX, INT64_MAX });
        assert_true(slice.n > 0 && slice.n <= PURGE_SLICE);
        gone += (int)slice.n;
        slices++;
    } while (slice.more);
    assert_true(slices >= 2);
    assert_int_equal(gone, n - 1);
    assert_true(is_there(d, j[n - 1]));
    sqlite_close(d);
    for (int i = 0; i < n; i++)
        job_unref(j[i]);
}

/* Bytes follow what is in use, at once, and then the file does. */
static void the_file_shrinks(void **state)
{
    struct sample *s = *state;
    struct sqlite *d = open_database(s);
    int64_t full_bytes, bytes;
    struct purge_slice slice;
    struct stat before, after;
    struct job *j[300];

    for (int i = 0; i < 300; i++)
        j[i] = sample_full();
    write_jobs(d, j, 300);
    for (int i = 0; i < 300; i++)
        end_at(d, j[i], JOB_SUCCEEDED, 10 + i, 0);
    assert_int_equal(sqlite_tidy(d, false), 0);
    assert_int_equal(stat(s->database, &before), 0);
    assert_int_equal(purge_used_bytes(d, &full_bytes), 0);
    assert_true(full_bytes > 300 * 65536);

    do {
        slice = purge(d, (struct store_limits){ 0, INT64_MAX, full_bytes / 2 });
        assert_int_equal(purge_used_bytes(d, &bytes), 0);
    } while (slice.more);
    assert_true(bytes <= full_bytes / 2);
    assert_true(bytes > full_bytes / 2 - 400000);
    assert_false(is_there(d, j[140]));
    assert_true(is_there(d, j[170]));
    while (purge(d, (struct store_limits){ INT64_MAX, 0, 0 }).more)
        ;
    assert_int_equal(all_rows(d), 0);
    assert_int_equal(sqlite_tidy(d, false), 0);
    assert_int_equal(stat(s->database, &after), 0);
    assert_true(after.st_size < before.st_size / 2);
    sqlite_close(d);
    for (int i = 0; i < 300; i++)
        job_unref(j[i]);
}

static void update_batch(struct sqlite *d, const struct batch *b)
{
    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(sqlite_update_batch(d, b), 0);
    assert_int_equal(sqlite_commit(d), 0);
}

static void a_batch_goes_with_its_last_job(void **state)
{
    struct sqlite *d = open_database(*state);
    struct batch b = sample_batch(3), found;
    struct job **j = sample_jobs(&b);

    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(sqlite_write_batch(d, &b), 0);
    assert_int_equal(sqlite_commit(d), 0);
    write_jobs(d, j, 3);
    end_at(d, j[0], JOB_SUCCEEDED, 10, 1);
    end_at(d, j[1], JOB_FAILED, 20, 2);

    /* Of one that runs, the counts stay right though rows are gone. */
    assert_int_equal(purge(d, (struct store_limits){ 21, INT64_MAX, INT64_MAX }).n, 2);
    assert_int_equal(sqlite_read_batch(d, b.id, &found), 0);
    assert_int_equal(found.counts[JOB_SUCCEEDED], 1);
    assert_int_equal(found.counts[JOB_FAILED], 1);
    assert_int_equal(found.counts[JOB_PENDING], 1);
    assert_int_equal(found.finished_seq, 2);
    assert_int_equal(found.finished_us, 20);
    assert_int_equal(found.work_us, 14);

    /* The last one has ended, and the batch is about to. */
    end_at(d, j[2], JOB_SUCCEEDED, 30, 3);
    assert_int_equal(purge(d, (struct store_limits){ INT64_MAX, 0, 0 }).n, 0);
    b.state = BATCH_FAILED;
    b.counts[JOB_SUCCEEDED] = 2;
    b.counts[JOB_FAILED] = 1;
    update_batch(d, &b);
    assert_int_equal(purge(d, (struct store_limits){ INT64_MAX, 0, 0 }).n, 1);
    assert_int_equal(sqlite_read_batch(d, b.id, &found), -ENOENT);
    assert_int_equal(all_rows(d), 0);
    sqlite_close(d);
    sample_jobs_free(j, 3);
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

    slice = purge(d, all);
    assert_gone(&slice, (struct job *[]){ j[0], j[2], j[4] }, 3);
    assert_int_equal(slice.oldest_us, 11);
    assert_true(is_there(d, j[1]) && is_there(d, j[3]));
    slice = purge(d, all);
    assert_int_equal(slice.n, 0);
    assert_false(slice.more);
    assert_int_equal(slice.oldest_us, 11);

    for (int i = 1; i >= 0; i--) {
        b[i].state = BATCH_SUCCEEDED;
        b[i].counts[JOB_SUCCEEDED] = 1;
        update_batch(d, &b[i]);
        slice = purge(d, all);
        assert_gone(&slice, members[i], 1);
        sample_jobs_free(members[i], 1);
    }
    assert_int_equal(all_rows(d), 0);
    sqlite_close(d);
    for (int i = 0; i < 5; i += 2)
        job_unref(j[i]);
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
    assert_int_equal(purge(d, none).n, 0);
    assert_int_equal(sqlite3_stmt_status(d->statements[SELECT_ENDED], SQLITE_STMTSTATUS_RUN, 0), 1);
    sqlite_close(d);
    for (int i = 0; i < 20; i++)
        job_unref(j[i]);
}

/* What each statement of retention does, in the planner's words. */
static void no_statement_scans_a_table(void **state)
{
    struct sqlite *d = open_database(*state);
    int looked_at = 0;

    for (int i = COUNT_ENDED; i <= DELETE_JOB; i++) {
        const char *sql = sqlite3_sql(d->statements[i]);
        sqlite3_stmt *st;
        char *explain;

        if (strncmp(sql, "PRAGMA", 6) == 0)
            continue;
        assert_true(asprintf(&explain, "EXPLAIN QUERY PLAN %s", sql) > 0);
        assert_int_equal(sqlite3_prepare_v2(d->db, explain, -1, &st, NULL), SQLITE_OK);
        while (sqlite3_step(st) == SQLITE_ROW) {
            const char *detail = (const char *)sqlite3_column_text(st, 3);

            looked_at++;
            if (strstr(detail, "TEMP B-TREE") ||
                    (strncmp(detail, "SCAN", 4) == 0 && i != COUNT_ENDED))
                fail_msg("%s: %s", sql, detail);
        }
        sqlite3_finalize(st);
        free(explain);
    }
    assert_true(looked_at >= 10);
    sqlite_close(d);
}

static bool has_file(const struct sample *s, const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", s->bodies, name);
    return access(path, F_OK) == 0;
}

static int purge_with_files(void *arg)
{
    struct place *p = arg;
    struct job *j[3];
    char names[3][64];
    struct store_purge gone = { 0 };

    for (int i = 0; i < 3; i++) {
        struct sample_step step;
        struct checkpoint *c = &step.checkpoint;

        j[i] = sample_fetch();
        assert_int_equal(store_insert(p->store, &j[i], 1, (struct store_outcome[1]){ 0 }), 0);
        sample_step_init(&step, j[i], JOB_SUCCEEDED, NULL);
        sample_step_use_file(p->sample, &step, 1000000);
        step.checkpoint.finished_us = 10 + i;
        strcpy(names[i], step.body.file);
        assert_int_equal(store_checkpoint(p->store, &c, 1, NULL), 0);
        sample_step_apply(&step);
    }
    /* The files count: without them it is well below. */
    assert_int_equal(
            store_purge(p->store, &(struct store_limits){ 0, INT64_MAX, 1500000 }, &gone), 0);
    assert_int_equal(gone.n, 2);
    assert_memory_equal(&gone.ids[1], &j[1]->id, sizeof(gone.ids[1]));
    assert_int_equal(gone.oldest_us, 12);
    assert_false(has_file(p->sample, names[0]));
    assert_false(has_file(p->sample, names[1]));
    assert_true(has_file(p->sample, names[2]));
    store_purge_done(&gone);
    for (int i = 0; i < 3; i++)
        job_unref(j[i]);
    return 0;
}

static int purge_after_start(void *arg)
{
    struct place *p = arg;
    struct store_purge gone = { 0 };

    assert_int_equal(
            store_purge(p->store, &(struct store_limits){ 0, INT64_MAX, 1500000 }, &gone), 0);
    assert_int_equal(gone.n, 0);
    store_purge_done(&gone);
    assert_int_equal(
            store_purge(p->store, &(struct store_limits){ 0, INT64_MAX, 900000 }, &gone), 0);
    assert_int_equal(gone.n, 1);
    store_purge_done(&gone);
    return 0;
}

static void body_files_count_and_go(void **state)
{
    struct place *p = *state;

    place_run(p, purge_with_files, p);
    place_close(p);
    place_run(p, purge_after_start, p);
}

/* How often the disk was synced, and how often when a file was last removed. */
static atomic_int syncs, syncs_at_unlink;

int watched_fdatasync(int fd) __asm__("fdatasync");
int watched_unlinkat(int fd, const char *name, int flags) __asm__("unlinkat");

int watched_fdatasync(int fd)
{
    atomic_fetch_add(&syncs, 1);
    return (int)syscall(SYS_fdatasync, fd);
}

int watched_unlinkat(int fd, const char *name, int flags)
{
    atomic_store(&syncs_at_unlink, atomic_load(&syncs));
    return (int)syscall(SYS_unlinkat, fd, name, flags);
}

static int purge_relaxed(void *arg)
{
    struct place *p = arg;
    struct job *j = sample_fetch();
    struct sample_step step;
    struct checkpoint *c = &step.checkpoint;
    struct store_purge gone = { 0 };
    char name[64];
    int before;

    assert_int_equal(store_insert(p->store, &j, 1, (struct store_outcome[1]){ 0 }), 0);
    sample_step_init(&step, j, JOB_SUCCEEDED, NULL);
    sample_step_use_file(p->sample, &step, 100000);
    strcpy(name, step.body.file);
    assert_int_equal(store_checkpoint(p->store, &c, 1, NULL), 0);
    sample_step_apply(&step);
    before = syncs;
    assert_int_equal(store_purge(p->store, &(struct store_limits){ INT64_MAX, 0, 0 }, &gone), 0);
    assert_int_equal(gone.n, 1);
    store_purge_done(&gone);
    job_unref(j);
    for (int i = 0; i < 5000 && has_file(p->sample, name); i++)
        assert_int_equal(co_sleep(1000000), 0);
    assert_false(has_file(p->sample, name));
    assert_true(syncs_at_unlink > before);
    return 0;
}

/* A power cut could bring the row back, which must find its file. */
static void a_file_stays_until_its_end_is_durable(void **state)
{
    struct place *p = *state;

    p->relaxed = true;
    place_run(p, purge_relaxed, p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAMPLE_TEST(the_first_to_end_go_first),
        SAMPLE_TEST(the_order_is_that_of_the_ends),
        SAMPLE_TEST(the_number_of_ended_jobs_is_known),
        SAMPLE_TEST(what_is_rolled_back_has_not_ended),
        SAMPLE_TEST(a_slice_ends_anywhere),
        SAMPLE_TEST(one_slice_is_small_and_says_that_there_is_more),
        SAMPLE_TEST(the_file_shrinks),
        SAMPLE_TEST(a_batch_goes_with_its_last_job),
        SAMPLE_TEST(what_has_to_stay_hides_nothing),
        SAMPLE_TEST(a_look_at_what_is_not_due_reads_one_job),
        SAMPLE_TEST(no_statement_scans_a_table),
        PLACE_TEST(body_files_count_and_go),
        PLACE_TEST(a_file_stays_until_its_end_is_durable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
