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
#include "tests/unit/store/place.h"
#include "tests/unit/store/purging.h"

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

    slice = purge(d, nothing_due);
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
    slice = purge(d, all_due);
    assert_gone(&slice, j + 3, 2);
    assert_int_equal(slice.oldest_us, 0);
    assert_false(slice.more);
    assert_stored(d, j[5]);
    end_at(d, j[5], JOB_CANCELLED, 60, 0);
    slice = purge(d, all_due);
    assert_gone(&slice, j + 5, 1);
    assert_int_equal(all_rows(d), 0);
    sqlite_close(d);
    for (int i = 0; i < 6; i++)
        job_unref(j[i]);
}

/* How many go when so many may stay. Not in its caller, whose frame it would make too large. */
__attribute__((noinline)) static size_t purge_count_to(struct sqlite *d, int64_t max_ended)
{
    return purge(d, (struct store_limits){ 0, max_ended, INT64_MAX }).n;
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
    assert_int_equal(purge_count_to(d, 4), 0);
    assert_int_equal(sqlite_begin(d), 0);
    assert_int_equal(purge_run_slice(d, &all_due, &slice), 0);
    assert_true(slice.n > 0);
    sqlite_rollback(d);
    assert_int_equal(purge_count_to(d, 3), 1);
    sqlite_close(d);
    d = open_database(*state);
    assert_int_equal(purge_count_to(d, 3), 0);
    assert_int_equal(purge_count_to(d, 1), 2);
    assert_true(is_there(d, j[3]));
    sqlite_close(d);
    for (int i = 0; i < 5; i++)
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
        slice = purge_slice(d, (struct store_limits){ 10 + n - 1, INT64_MAX, INT64_MAX });
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
        slice = purge_slice(d, (struct store_limits){ 0, INT64_MAX, full_bytes / 2 });
        assert_int_equal(purge_used_bytes(d, &bytes), 0);
    } while (slice.more);
    assert_true(bytes <= full_bytes / 2);
    assert_true(bytes > full_bytes / 2 - 400000);
    assert_false(is_there(d, j[140]));
    assert_true(is_there(d, j[170]));
    while (purge_slice(d, all_due).more)
        ;
    assert_int_equal(all_rows(d), 0);
    assert_int_equal(sqlite_tidy(d, false), 0);
    assert_int_equal(stat(s->database, &after), 0);
    assert_true(after.st_size < before.st_size / 2);
    sqlite_close(d);
    for (int i = 0; i < 300; i++)
        job_unref(j[i]);
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
    assert_int_equal(purge(d, all_due).n, 0);
    b.state = BATCH_FAILED;
    b.counts[JOB_SUCCEEDED] = 2;
    b.counts[JOB_FAILED] = 1;
    update_batch(d, &b);
    assert_int_equal(purge(d, all_due).n, 1);
    assert_int_equal(sqlite_read_batch(d, b.id, &found), -ENOENT);
    assert_int_equal(all_rows(d), 0);
    sqlite_close(d);
    sample_jobs_free(j, 3);
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
        SAMPLE_TEST(the_number_of_ended_jobs_is_known),
        SAMPLE_TEST(one_slice_is_small_and_says_that_there_is_more),
        SAMPLE_TEST(the_file_shrinks),
        SAMPLE_TEST(a_batch_goes_with_its_last_job),
        SAMPLE_TEST(no_statement_scans_a_table),
        PLACE_TEST(body_files_count_and_go),
        PLACE_TEST(a_file_stays_until_its_end_is_durable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
