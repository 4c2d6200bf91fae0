/* A database that an earlier version wrote becomes one of this version. */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "daemon/store/sqlite_page.h"
#include "tests/unit/store/old_schema.h"
#include "tests/unit/store/purging.h"

#define NOW_US   1800000000000000
#define SITE     "http://a.example:80"
#define COLLECTS "http://b.example:80"

/* Of each job: key, kind, origin of its collection, deadline, at, priority; then held, state, step. */
static const struct old_job {
    int64_t key;
    int kind;
    const char *collects;
    int64_t deadline_us, at_us;
    int priority, held, state, step;
} old_jobs[] = {
    { .key = 10, .kind = JOB_FETCH, .step = STEP_REQUEST, .priority = 3 },
    { .key = 11, .kind = JOB_FETCH, .step = STEP_REQUEST, .deadline_us = 60000000 },
    { .key = 12, .kind = JOB_FETCH, .step = STEP_REQUEST, .held = 1, .at_us = NOW_US + 7 },
    { .key = 13, .kind = JOB_DELIVERY, .collects = COLLECTS, .step = STEP_WAIT, .state = 1 },
    { .key = 14, .kind = JOB_DELIVERY, .collects = COLLECTS, .step = STEP_COLLECT, .state = 1 },
    { .key = 15, .kind = JOB_DELIVERY, .collects = COLLECTS, .step = STEP_DELIVER },
};

static void run_sql(sqlite3 *db, const char *sql)
{
    char *why = NULL;

    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s", why);
}

static void add_job(sqlite3 *db, const struct old_job *j)
{
    char sql[2000], collects[200] = "NULL, NULL, NULL";

    if (j->collects)
        snprintf(collects, sizeof(collects), "'%s/', '%s', 'GET'", j->collects, j->collects);
    snprintf(sql, sizeof(sql),
            "INSERT INTO job(key, tail, kind, created_us, url, origin, method, body_bytes,"
            " collect_url, collect_origin, collect_method, collect_body_bytes, wait_us, timeout_us,"
            " deadline_us, delay_us, at_us, max_body_bytes, redirects, expect, tries_max, backoff_us,"
            " max_backoff_us, priority, on_unknown, idempotent, labels)"
            " VALUES(%lld, 5, %d, %lld, '%s/', '%s', 'GET', 0, %s, 0, 0, 1, %lld, 0, %lld, 1, 0,"
            " x'0100c8012b', 1, 1, 1, %d, 0, 1, 0);"
            "INSERT INTO live(key, held, state, step, due_us) VALUES(%lld, %d, %d, %d, %lld)",
            (long long)j->key, j->kind, (long long)NOW_US, SITE, SITE, collects,
            (long long)j->deadline_us, (long long)j->at_us, j->priority, (long long)j->key, j->held,
            j->state, j->step, (long long)(NOW_US + j->key));
    run_sql(db, sql);
}

static sqlite3 *open_old(const struct sample *s, int version)
{
    static const char *const steps[] = { schema_1_sql, schema_2_sql, schema_3_sql, schema_4_sql };
    char text[100];
    sqlite3 *db;

    assert_int_equal(sqlite3_open(s->database, &db), SQLITE_OK);
    snprintf(text, sizeof(text), "PRAGMA application_id=%d; PRAGMA user_version=%d", 0x62616564,
            version);
    for (int i = 0; i < version; i++)
        run_sql(db, steps[i]);
    run_sql(db, text);
    return db;
}

static void write_old(const struct sample *s, int version)
{
    sqlite3 *db = open_old(s, version);

    for (size_t i = 0; i < sizeof(old_jobs) / sizeof(old_jobs[0]); i++)
        add_job(db, &old_jobs[i]);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void assert_class(
        const struct store_census *c, const char *origin, int priority, int64_t due_us)
{
    for (size_t i = 0; i < c->n_classes; i++)
        if (c->classes[i].lane == lane_key(origin) && c->classes[i].priority == priority) {
            assert_int_equal(c->classes[i].due_us, due_us);
            return;
        }
    fail_msg("no class of %s, %d", origin ? origin : "none", priority);
}

static void assert_migrated(struct sqlite *d)
{
    struct store_census census;
    struct store_page page;
    struct job *j;

    assert_int_equal(sqlite_read_job(d, (struct uuid7){ 12, 5 }, &j), 0);
    assert_true(j->paged_out && j->held);
    assert_int_equal(j->spec.executor, EXECUTOR_COROUTINE);
    job_unref(j);
    assert_int_equal(sqlite_take_census(d, &census), 0);
    assert_int_equal(census.n_live, 6);
    assert_int_equal(census.n_classes, 4);
    assert_class(&census, SITE, 3, NOW_US + 10);
    assert_class(&census, SITE, 0, NOW_US + 11);
    assert_class(&census, NULL, 0, NOW_US + 13);
    assert_class(&census, COLLECTS, 0, NOW_US + 14);
    assert_int_equal(census.ends_us, NOW_US + 60000000);
    store_census_done(&census);
    assert_int_equal(sqlite_page_class(d, lane_key(SITE), 0, INT64_MAX, 10, INT64_MAX, &page), 0);
    assert_int_equal(page.n, 2); /* not the held one */
    store_page_done(&page);
}

static void a_job_is_paged_out_by_it(void **state)
{
    struct sqlite *d;

    for (int version = 1; version <= 2; version++) {
        struct sample *s = *state;

        write_old(s, version);
        d = open_database(s);
        assert_migrated(d);
        sqlite_close(d);
        assert_int_equal(remove(s->database), 0);
    }
}

static void new_jobs_go_beside_the_old_ones(void **state)
{
    struct job *new = sample_full();
    struct sqlite *d;

    write_old(*state, 1);
    d = open_database(*state);
    write_jobs(d, &new, 1);
    assert_stored(d, new);
    sqlite_close(d);
    d = open_database(*state);
    assert_stored(d, new);
    sqlite_close(d);
    job_unref(new);
}

/* One that ended with an answer of each step, and one that is to collect after its delivery's. */
static void add_answers(const struct sample *s)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(s->database, &db), SQLITE_OK);
    run_sql(db,
            "INSERT INTO job SELECT 16, tail, kind, NULL, NULL, NULL, created_us, name, url,"
            " origin, method, headers, body_bytes, collect_url, collect_origin, collect_method,"
            " collect_headers, collect_body_bytes, wait_us, timeout_us, deadline_us, delay_us,"
            " at_us, max_body_bytes, redirects, expect, tries_max, backoff_us, max_backoff_us,"
            " priority, on_unknown, idempotent, labels, body, collect_body"
            " FROM job WHERE key=15;"
            "INSERT INTO done(key, finished_seq, finished_us, state, step, due_us, status,"
            " answer_step, body_bytes) VALUES(16, 0, 1, 2, 3, 0, 200, 3, 9);"
            "INSERT INTO answer VALUES(16 << 3 | 3, NULL, 'b/b', 9, 0, NULL, x'626262626262626262'),"
            " (16 << 3 | 1, NULL, 'a/a', 3, 0, NULL, x'616161'),"
            " (14 << 3 | 1, NULL, 'c/c', 1, 0, NULL, x'63')");
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void assert_body(
        struct sqlite *d, int64_t key, enum job_step step, const char *type, const char *data)
{
    struct store_body b;

    assert_int_equal(sqlite_read_body(d, (struct uuid7){ key, 5 }, step, &b), 0);
    assert_string_equal(b.type, type);
    assert_int_equal(b.body.bytes, strlen(data));
    assert_memory_equal(b.body.data, data, strlen(data));
    store_body_done(&b);
}

static void answers_are_found_again(void **state)
{
    struct sqlite *d;

    write_old(*state, 1);
    add_answers(*state);
    d = open_database(*state);
    assert_body(d, 16, STEP_MAX, "b/b", "bbbbbbbbb");
    assert_body(d, 16, STEP_COLLECT, "b/b", "bbbbbbbbb");
    assert_body(d, 16, STEP_DELIVER, "a/a", "aaa");
    assert_body(d, 14, STEP_DELIVER, "c/c", "c");
    sqlite_close(d);
}

/* Keys as long as real ones are; what was finished at the same time goes in their order. */
#define OLD_KEY (0x0655000000000000 + INT64_C(0xfedcba98))

static void add_ended(sqlite3 *db, int64_t key, int64_t finished_us)
{
    struct old_job j = { .key = key, .kind = JOB_FETCH, .step = STEP_REQUEST };
    char sql[300];

    add_job(db, &j);
    snprintf(sql, sizeof(sql),
            "INSERT INTO done(key, finished_seq, finished_us, state, step, due_us)"
            " VALUES(%lld, 0, %lld, 3, 0, 0); DELETE FROM live",
            (long long)key, (long long)finished_us);
    run_sql(db, sql);
}

static void assert_goes(struct sqlite *d, int64_t max_ended, const int *order, size_t n)
{
    struct purge_slice slice = purge(d, (struct store_limits){ 0, max_ended, INT64_MAX });

    assert_int_equal(slice.n, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(slice.ids[i].key, OLD_KEY + order[i]);
}

/* And the old ones before the new ones. */
static void old_ended_jobs_go_in_the_order_of_their_finish(void **state)
{
    static const int64_t finished_us[] = { 30, 10, 20, 20, 20, 5 };
    static const int order[] = { 5, 1, 2, 3, 4, 0 };
    struct job *new = sample_fetch();
    struct sqlite *d;
    struct purge_slice slice;
    sqlite3 *db = open_old(*state, 4);

    for (int i = 5; i >= 0; i--)
        add_ended(db, OLD_KEY + i, finished_us[i]);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    d = open_database(*state);
    write_jobs(d, &new, 1);
    end_job(d, new, JOB_SUCCEEDED, 0);
    assert_goes(d, 4, order, 3);
    assert_goes(d, 1, order + 3, 3);
    slice = purge(d, all_due);
    assert_gone(&slice, &new, 1);
    sqlite_close(d);
    job_unref(new);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAMPLE_TEST(a_job_is_paged_out_by_it),
        SAMPLE_TEST(new_jobs_go_beside_the_old_ones),
        SAMPLE_TEST(answers_are_found_again),
        SAMPLE_TEST(old_ended_jobs_go_in_the_order_of_their_finish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
