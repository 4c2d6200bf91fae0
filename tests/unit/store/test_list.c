/* Pages and filters, on the driver alone. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/sqlite.h"
#include "daemon/store/sqlite_read.h"
#include "daemon/store/sqlite_write.h"
#include "tests/unit/store/sample.h"

#define MANY 30

struct place {
    struct sample *sample;
    struct sqlite *db;
    struct job *jobs[MANY]; /* those that add_jobs() made, oldest first */
    size_t n;
};

static int place_setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    struct error why;
    void *sample;

    if (!p || sample_setup(&sample) < 0)
        return -1;
    p->sample = sample;
    *state = p;
    return sqlite_open(&(struct sqlite_options){ .path = p->sample->database }, &p->db, &why);
}

static int place_teardown(void **state)
{
    struct place *p = *state;
    void *sample = p->sample;

    for (size_t i = 0; i < p->n; i++)
        job_unref(p->jobs[i]);
    sqlite_close(p->db);
    free(p);
    return sample_teardown(&sample);
}

#define LIST_TEST(test) cmocka_unit_test_setup_teardown(test, place_setup, place_teardown)

static struct job *add_job(struct place *p, struct job *j)
{
    assert_true(p->n < MANY);
    assert_int_equal(sqlite_begin(p->db), 0);
    assert_int_equal(sqlite_write_job(p->db, j), 0);
    assert_int_equal(sqlite_commit(p->db), 0);
    p->jobs[p->n++] = j;
    return j;
}

static void add_jobs(struct place *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add_job(p, sample_fetch());
}

static void step(struct place *p, struct job *j, enum job_state state, int64_t seq)
{
    struct sample_step s;

    sample_step_init(&s, j, state, "body");
    s.checkpoint.finished_seq = seq;
    assert_int_equal(sqlite_begin(p->db), 0);
    assert_int_equal(sqlite_write_checkpoint(p->db, &s.checkpoint), 0);
    assert_int_equal(sqlite_commit(p->db), 0);
    sample_step_apply(&s);
}

static struct store_page list(
        struct place *p, const struct store_filter *f, int64_t from, size_t limit, bool full)
{
    struct store_page page = { 0 };

    assert_int_equal(sqlite_list_jobs(p->db, f, from, limit, full, &page), 0);
    return page;
}

/* The page holds these jobs, by their place in p->jobs, in this order, ended by -1. */
static void expect(struct place *p, const struct store_filter *f, const int *places)
{
    struct store_page page = list(p, f, 0, 100, false);
    size_t n = 0;

    for (; places[n] >= 0; n++) {
        assert_true(n < page.n);
        assert_int_equal(page.jobs[n]->id.key, p->jobs[places[n]]->id.key);
    }
    assert_int_equal(page.n, n);
    assert_int_equal(page.next, 0);
    store_page_done(&page);
}

static void the_newest_come_first_page_by_page(void **state)
{
    struct place *p = *state;
    struct store_filter all = { .kind = -1 };
    size_t sizes[] = { 10, 10, 5 }, seen = 0;
    int64_t from = 0;

    add_jobs(p, 25);
    for (size_t i = 0; i < 3; i++) {
        struct store_page page = list(p, &all, from, 10, false);

        assert_int_equal(page.n, sizes[i]);
        for (size_t j = 0; j < page.n; j++)
            assert_int_equal(page.jobs[j]->id.key, p->jobs[24 - seen++]->id.key);
        from = page.next;
        assert_int_equal(from == 0, i == 2);
        store_page_done(&page);
    }
}

static void a_full_last_page_is_the_last(void **state)
{
    struct place *p = *state;
    struct store_filter all = { .kind = -1 };
    struct store_page page;

    page = list(p, &all, 0, 10, false);
    assert_int_equal(page.n, 0);
    assert_int_equal(page.next, 0);
    store_page_done(&page);
    add_jobs(p, 10);
    page = list(p, &all, 0, 10, false);
    assert_int_equal(page.n, 10);
    assert_int_equal(page.next, 0);
    store_page_done(&page);
}

/* Places 0 to 4: pending, waiting, succeeded, failed, cancelled. */
static void add_each_state(struct place *p)
{
    add_jobs(p, 5);
    step(p, p->jobs[1], JOB_WAITING, 0);
    step(p, p->jobs[2], JOB_SUCCEEDED, 0);
    step(p, p->jobs[3], JOB_FAILED, 0);
    step(p, p->jobs[4], JOB_CANCELLED, 0);
}

static void states_filter(void **state)
{
    struct place *p = *state;

    add_each_state(p);
    for (int s = JOB_PENDING; s < JOB_RUNNING; s++)
        expect(p, &(struct store_filter){ .kind = -1, .states = 1u << s }, (int[]){ s, -1 });
    expect(p, &(struct store_filter){ .kind = -1, .states = 1u << JOB_WAITING | 1u << JOB_FAILED },
            (int[]){ 3, 1, -1 });
    expect(p,
            &(struct store_filter){ .kind = -1, .states = 1u << JOB_CANCELLED | 1u << JOB_FAILED },
            (int[]){ 4, 3, -1 });
    expect(p, &(struct store_filter){ .kind = -1, .states = 1u << JOB_PENDING | 1u << JOB_WAITING },
            (int[]){ 1, 0, -1 });
    expect(p, &(struct store_filter){ .kind = -1, .states = 1u << JOB_RUNNING }, (int[]){ -1 });
}

static void kinds_filter(void **state)
{
    struct place *p = *state;

    add_jobs(p, 1);
    add_job(p, sample_full());
    add_jobs(p, 1);
    expect(p, &(struct store_filter){ .kind = JOB_DELIVERY }, (int[]){ 1, -1 });
    expect(p, &(struct store_filter){ .kind = JOB_FETCH }, (int[]){ 2, 0, -1 });
}

static void lanes_filter(void **state)
{
    struct place *p = *state;

    add_jobs(p, 1);
    add_job(p, sample_full());
    expect(p, &(struct store_filter){ .kind = -1, .lane = "http://127.0.0.1:8080" },
            (int[]){ 0, -1 });
    expect(p, &(struct store_filter){ .kind = -1, .lane = "https://example.com:443" },
            (int[]){ 1, -1 });
    expect(p, &(struct store_filter){ .kind = -1, .lane = "https://example.org:443" },
            (int[]){ 1, -1 });
    expect(p, &(struct store_filter){ .kind = -1, .lane = "https://example" }, (int[]){ -1 });
}

static struct job *labelled(const char *key, const char *value)
{
    struct job *j = sample_fetch();

    j->spec.labels = calloc(1, sizeof(*j->spec.labels));
    j->spec.labels[0].key = strdup(key);
    j->spec.labels[0].value = strdup(value);
    j->spec.n_labels = 1;
    return j;
}

static void labels_filter(void **state)
{
    struct place *p = *state;
    struct store_filter red = { .kind = -1, .label_key = "colour", .label_value = "red" };
    struct store_page page;

    for (int i = 0; i < 3; i++) {
        add_job(p, labelled("colour", "red"));
        add_job(p, labelled("colour", "green"));
    }
    step(p, p->jobs[2], JOB_FAILED, 0);
    expect(p, &red, (int[]){ 4, 2, 0, -1 });
    red.states = 1u << JOB_FAILED;
    expect(p, &red, (int[]){ 2, -1 });
    red.states = 0;
    page = list(p, &red, 0, 2, false);
    assert_int_equal(page.n, 2);
    assert_int_equal(page.next, p->jobs[2]->id.key);
    store_page_done(&page);
    page = list(p, &red, p->jobs[2]->id.key, 2, false);
    assert_int_equal(page.n, 1);
    assert_int_equal(page.next, 0);
    assert_string_equal(page.jobs[0]->spec.labels[0].value, "red");
    store_page_done(&page);
}

static void a_batch_is_in_its_order(void **state)
{
    struct place *p = *state;
    struct batch b = sample_batch(5), other = sample_batch(2);
    struct store_filter f = { .kind = -1, .batch = b.id };
    struct job *stranger = sample_fetch();
    struct store_page page;

    /* The index goes down while the keys go up. */
    for (unsigned i = 0; i < 5; i++) {
        struct job *j = i == 2 ? labelled("a", "b") : sample_fetch();

        j->batch = b.id;
        j->index = 4 - i;
        add_job(p, j);
    }
    add_jobs(p, 1);
    stranger->batch = other.id;
    add_job(p, stranger);
    expect(p, &f, (int[]){ 4, 3, 2, 1, 0, -1 });
    step(p, p->jobs[3], JOB_SUCCEEDED, 1);
    f.states = 1u << JOB_PENDING;
    expect(p, &f, (int[]){ 4, 2, 1, 0, -1 });
    f.states = 0;
    f.label_key = "a";
    f.label_value = "b";
    expect(p, &f, (int[]){ 2, -1 });
    f.label_key = NULL;
    page = list(p, &f, 0, 2, false);
    assert_int_equal(page.next, 2);
    store_page_done(&page);
    page = list(p, &f, 2, 2, false);
    assert_int_equal(page.jobs[0]->index, 2);
    assert_int_equal(page.next, 4);
    store_page_done(&page);
    page = list(p, &f, 4, 2, false);
    assert_int_equal(page.n, 1);
    assert_int_equal(page.next, 0);
    store_page_done(&page);
    f.batch.tail ^= 1;
    expect(p, &f, (int[]){ -1 });
}

static void full_rows_have_everything(void **state)
{
    struct place *p = *state;
    struct store_filter all = { .kind = -1 };
    struct store_page page;

    add_jobs(p, 1);
    step(p, p->jobs[0], JOB_SUCCEEDED, 0);
    page = list(p, &all, 0, 1, true);
    sample_assert_same(page.jobs[0], p->jobs[0]);
    store_page_done(&page);
    page = list(p, &all, 0, 1, false);
    assert_int_equal(page.jobs[0]->n_attempts, 0);
    assert_int_equal(page.jobs[0]->result.headers.n, 0);
    assert_int_equal(page.jobs[0]->result.status, 200);
    assert_string_equal(page.jobs[0]->result.body_type, "text/plain");
    assert_string_equal(page.jobs[0]->spec.request.url, p->jobs[0]->spec.request.url);
    store_page_done(&page);
}

static void the_finished_come_in_their_order(void **state)
{
    struct place *p = *state;
    struct batch b = sample_batch(4);
    struct store_page page;
    const int order[] = { 2, 0, 3 };

    for (unsigned i = 0; i < 4; i++) {
        struct job *j = sample_fetch();

        j->batch = b.id;
        j->index = i;
        add_job(p, j);
    }
    for (int i = 0; i < 3; i++)
        step(p, p->jobs[order[i]], JOB_SUCCEEDED, i + 1);
    assert_int_equal(sqlite_list_finished(p->db, b.id.key, 0, 2, &page), 0);
    assert_int_equal(page.n, 2);
    sample_assert_same(page.jobs[0], p->jobs[2]);
    sample_assert_same(page.jobs[1], p->jobs[0]);
    assert_int_equal(page.next, 2);
    store_page_done(&page);
    assert_int_equal(sqlite_list_finished(p->db, b.id.key, 2, 2, &page), 0);
    assert_int_equal(page.n, 1);
    sample_assert_same(page.jobs[0], p->jobs[3]);
    assert_int_equal(page.next, 0);
    store_page_done(&page);
    assert_int_equal(sqlite_list_finished(p->db, b.id.key, 3, 2, &page), 0);
    assert_int_equal(page.n, 0);
    store_page_done(&page);
}

static void add_batch(struct place *p, const struct batch *b)
{
    assert_int_equal(sqlite_begin(p->db), 0);
    assert_int_equal(sqlite_write_batch(p->db, b), 0);
    assert_int_equal(sqlite_commit(p->db), 0);
}

static void batches_come_newest_first(void **state)
{
    struct place *p = *state;
    struct batch b[5];
    struct store_batches page;

    for (int i = 0; i < 5; i++) {
        b[i] = sample_batch(0);
        b[i].state = i % 2 ? BATCH_SUCCEEDED : BATCH_RUNNING;
        add_batch(p, &b[i]);
    }
    assert_int_equal(sqlite_list_batches(p->db, false, 0, 3, &page), 0);
    assert_int_equal(page.n, 3);
    assert_int_equal(page.batches[0].id.key, b[4].id.key);
    assert_int_equal(page.next, b[2].id.key);
    store_batches_done(&page);
    assert_int_equal(sqlite_list_batches(p->db, false, b[2].id.key, 3, &page), 0);
    assert_int_equal(page.n, 2);
    assert_int_equal(page.next, 0);
    store_batches_done(&page);
    assert_int_equal(sqlite_list_batches(p->db, true, 0, 10, &page), 0);
    assert_int_equal(page.n, 3);
    assert_int_equal(page.batches[2].id.key, b[0].id.key);
    assert_int_equal(page.next, 0);
    store_batches_done(&page);
}

/* A call looks at so many rows and says where to go on. */
static void a_call_examines_so_many_rows(void **state)
{
    struct place *p = *state;
    struct store_filter deliveries = { .kind = JOB_DELIVERY };
    struct job *first = add_job(p, sample_full());
    struct store_page page;
    int64_t from;

    assert_int_equal(sqlite_begin(p->db), 0);
    for (int i = 0; i < STORE_EXAMINED_MAX + 10; i++) {
        struct job *j = sample_fetch();

        assert_int_equal(sqlite_write_job(p->db, j), 0);
        job_unref(j);
    }
    assert_int_equal(sqlite_commit(p->db), 0);
    page = list(p, &deliveries, 0, 10, false);
    assert_int_equal(page.n, 0);
    assert_true(page.next > first->id.key);
    from = page.next;
    store_page_done(&page);
    page = list(p, &deliveries, from, 10, false);
    assert_int_equal(page.n, 1);
    assert_int_equal(page.jobs[0]->id.key, first->id.key);
    assert_int_equal(page.next, 0);
    store_page_done(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIST_TEST(the_newest_come_first_page_by_page),
        LIST_TEST(a_full_last_page_is_the_last),
        LIST_TEST(states_filter),
        LIST_TEST(kinds_filter),
        LIST_TEST(lanes_filter),
        LIST_TEST(labels_filter),
        LIST_TEST(a_batch_is_in_its_order),
        LIST_TEST(full_rows_have_everything),
        LIST_TEST(the_finished_come_in_their_order),
        LIST_TEST(batches_come_newest_first),
        LIST_TEST(a_call_examines_so_many_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
