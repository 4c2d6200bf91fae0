/* A key is known from its first insertion on, whoever repeats it, and whatever happens in between. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/store/place.h"

#define CROWD 100
#define LARGE 6000 /* jobs: many slices */
#define OLD   600  /* keys: more than two slices */

static struct idempotency make_key(char key, char fingerprint)
{
    struct idempotency k;

    memset(k.key, key, sizeof(k.key));
    memset(k.fingerprint, fingerprint, sizeof(k.fingerprint));
    return k;
}

static struct job *make_job(char key, char fingerprint)
{
    struct job *j = sample_fetch();

    j->spec.idempotency = malloc(sizeof(*j->spec.idempotency));
    *j->spec.idempotency = make_key(key, fingerprint);
    return j;
}

static bool is_stored(struct place *p, struct uuid7 id)
{
    struct job *j;

    if (store_get(p->store, id, &j) < 0)
        return false;
    job_unref(j);
    return true;
}

/* Inserts the job and frees it. */
static void expect_job(struct place *p, struct job *j, enum store_insertion what, struct uuid7 id)
{
    struct store_outcome o;

    assert_int_equal(store_insert(p->store, &j, 1, &o), 0);
    assert_int_equal(o.insertion, what);
    if (what == STORE_REPLAYED)
        assert_memory_equal(&o.id, &id, sizeof(id));
    assert_int_equal(is_stored(p, j->id), what == STORE_INSERTED);
    job_unref(j);
}

struct repeat {
    struct place *place;
    struct uuid7 id;
};

static int insert_first(void *arg)
{
    struct repeat *r = arg;
    struct job *j = make_job('k', 'f');

    r->id = j->id;
    expect_job(r->place, j, STORE_INSERTED, r->id);
    return 0;
}

static int repeat_it(void *arg)
{
    struct repeat *r = arg;

    expect_job(r->place, make_job('k', 'f'), STORE_REPLAYED, r->id);
    expect_job(r->place, make_job('k', 'g'), STORE_MISMATCHED, r->id);
    expect_job(r->place, make_job('k', 'f'), STORE_REPLAYED, r->id);
    expect_job(r->place, sample_fetch(), STORE_INSERTED, r->id);
    return 0;
}

static void a_repeat_inserts_nothing(void **state)
{
    struct repeat r = { .place = *state };

    place_run(r.place, insert_first, &r);
    place_run(r.place, repeat_it, &r);
    place_close(r.place);
    place_run(r.place, repeat_it, &r);
}

static int insert_twice_in_one_call(void *arg)
{
    struct place *p = arg;
    struct job *jobs[4] = { make_job('a', 'f'), sample_fetch(), make_job('a', 'f'),
        make_job('a', 'g') };
    struct store_outcome o[4];

    assert_int_equal(store_insert(p->store, jobs, 4, o), 0);
    assert_int_equal(o[0].insertion, STORE_INSERTED);
    assert_int_equal(o[1].insertion, STORE_INSERTED);
    assert_int_equal(o[2].insertion, STORE_REPLAYED);
    assert_int_equal(o[2].id.key, jobs[0]->id.key);
    assert_int_equal(o[2].id.tail, jobs[0]->id.tail);
    assert_int_equal(o[3].insertion, STORE_MISMATCHED);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(is_stored(p, jobs[i]->id), i < 2);
        job_unref(jobs[i]);
    }
    return 0;
}

static void a_repeat_in_the_same_call_is_one(void **state)
{
    place_run(*state, insert_twice_in_one_call, *state);
}

/* Many at once, so that they share a group; each seventh fails, so that the group is repeated. */
struct crowd {
    struct place *place;
    struct uuid7 taken; /* an id that is in use */
    struct uuid7 inserted;
    unsigned n_started, n_inserted, n_replayed;
    struct uuid7 replayed[CROWD];
};

static int one_of_the_crowd(void *arg)
{
    struct crowd *c = arg;
    bool fails = c->n_started++ % 7 == 3;
    struct job *j = fails ? sample_fetch() : make_job('k', 'f');
    struct store_outcome o;

    if (fails)
        j->id = c->taken;
    assert_int_equal(store_insert(c->place->store, &j, 1, &o), fails ? -EEXIST : 0);
    if (!fails && o.insertion == STORE_REPLAYED) {
        c->replayed[c->n_replayed++] = o.id;
    } else if (!fails) {
        assert_int_equal(o.insertion, STORE_INSERTED);
        c->inserted = j->id;
        c->n_inserted++;
    }
    job_unref(j);
    return 0;
}

static int run_crowd(void *arg)
{
    struct crowd *c = arg;
    struct job *j = sample_fetch();
    struct co_group group;

    c->taken = j->id;
    expect_job(c->place, j, STORE_INSERTED, c->taken);
    co_group_open(&group);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(co_group_spawn(&group, "one", one_of_the_crowd, c, NULL), 0);
    assert_int_equal(co_group_close(&group, 0), 0);
    return 0;
}

static void many_at_once_are_one(void **state)
{
    struct crowd c = { .place = *state };

    place_run(c.place, run_crowd, &c);
    assert_int_equal(c.n_inserted, 1);
    assert_int_equal(c.n_replayed, CROWD - CROWD / 7 - 1);
    for (unsigned i = 0; i < c.n_replayed; i++)
        assert_memory_equal(&c.replayed[i], &c.inserted, sizeof(c.inserted));
}

struct large {
    struct place *place;
    struct batch batch;
    struct job **jobs;
    struct idempotency key;
    struct store_outcome outcome;
    int rc;
};

static void large_init(struct large *l, struct place *p, unsigned total, char fingerprint)
{
    *l = (struct large){
        .place = p, .batch = sample_batch(total), .key = make_key('b', fingerprint)
    };
    l->jobs = sample_jobs(&l->batch);
}

static void large_done(struct large *l)
{
    sample_jobs_free(l->jobs, l->batch.total);
}

static int insert_large(void *arg)
{
    struct large *l = arg;

    l->rc = store_insert_batch(
            l->place->store, &l->batch, l->jobs, l->batch.total, &l->key, &l->outcome);
    return 0;
}

static bool batch_is_stored(struct large *l)
{
    struct batch b;

    return store_get_batch(l->place->store, l->batch.id, &b) == 0;
}

/* The first, and while it is being inserted its repeats. */
static void insert_three(struct large *first, struct large *same, struct large *other)
{
    struct large *all[] = { first, same, other };
    struct co_group group;

    co_group_open(&group);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(co_group_spawn(&group, "batch", insert_large, all[i], NULL), 0);
        assert_int_equal(co_yield(), 0);
    }
    assert_int_equal(co_group_close(&group, 0), 0);
}

static int repeat_while_loading(void *arg)
{
    struct large first, same, other, later;

    large_init(&first, arg, LARGE, 'f');
    large_init(&same, arg, 3, 'f');
    large_init(&other, arg, 3, 'g');
    large_init(&later, arg, 3, 'f');
    insert_three(&first, &same, &other);
    assert_int_equal(insert_large(&later), 0);
    assert_int_equal(first.rc, 0);
    assert_int_equal(first.outcome.insertion, STORE_INSERTED);
    assert_true(batch_is_stored(&first));
    assert_int_equal(same.rc, 0);
    assert_int_equal(same.outcome.insertion, STORE_REPLAYED);
    assert_int_equal(same.outcome.id.key, first.batch.id.key);
    assert_int_equal(other.rc, 0);
    assert_int_equal(other.outcome.insertion, STORE_MISMATCHED);
    assert_int_equal(later.outcome.insertion, STORE_REPLAYED);
    assert_false(batch_is_stored(&same) || batch_is_stored(&other) || batch_is_stored(&later));
    large_done(&first);
    large_done(&same);
    large_done(&other);
    large_done(&later);
    return 0;
}

static void a_repeat_waits_for_the_batch(void **state)
{
    place_run(*state, repeat_while_loading, *state);
}

/* The first has a job that is there already, so it fails late; its key is the next one's. */
static int repeat_of_a_failure(void *arg)
{
    struct large first, same, other;

    large_init(&first, arg, LARGE, 'f');
    large_init(&same, arg, 3, 'f');
    large_init(&other, arg, 3, 'g');
    first.jobs[LARGE - 1]->id = first.jobs[0]->id;
    insert_three(&first, &same, &other);
    assert_int_equal(first.rc, -EEXIST);
    assert_false(batch_is_stored(&first));
    assert_int_equal(same.rc, 0);
    assert_int_equal(same.outcome.insertion, STORE_INSERTED);
    assert_true(batch_is_stored(&same));
    assert_int_equal(other.rc, 0);
    assert_int_equal(other.outcome.insertion, STORE_MISMATCHED);

    /* What is left of the first one is removed while the store has time: not with the key. */
    place_close(arg);
    place_open(arg);
    large_done(&other);
    large_init(&other, arg, 3, 'f');
    assert_int_equal(insert_large(&other), 0);
    assert_int_equal(other.outcome.insertion, STORE_REPLAYED);
    assert_int_equal(other.outcome.id.key, same.batch.id.key);
    large_done(&first);
    large_done(&same);
    large_done(&other);
    return 0;
}

static void a_failed_batch_gives_its_key_up(void **state)
{
    place_run(*state, repeat_of_a_failure, *state);
}

/* The body of a child that is killed in the middle of it. */
static int crash_in_a_batch(void *arg)
{
    struct large l;
    struct co_task t;

    large_init(&l, arg, 50000, 'f');
    assert_int_equal(co_spawn("batch", insert_large, &l, &t), 0);
    for (int i = 0; i < 3; i++)
        expect_job(arg, sample_fetch(), STORE_INSERTED, (struct uuid7){ 0 });
    kill(getpid(), SIGKILL);
    return 0;
}

static int insert_after_the_crash(void *arg)
{
    struct large l;

    large_init(&l, arg, 3, 'f');
    assert_int_equal(insert_large(&l), 0);
    assert_int_equal(l.rc, 0);
    assert_int_equal(l.outcome.insertion, STORE_INSERTED);
    assert_true(batch_is_stored(&l));
    large_done(&l);
    return 0;
}

static void half_a_batch_gives_its_key_up(void **state)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        place_run(*state, crash_in_a_batch, *state);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    place_run(*state, insert_after_the_crash, *state);
}

static int forget(void *arg)
{
    struct place *p = arg;
    struct job *first[OLD], *j;
    struct store_outcome o;
    int64_t border_us;
    int rc, slices = 0;

    for (int i = 0; i < OLD; i++) {
        first[i] = make_job(0, 'f');
        memcpy(first[i]->spec.idempotency->key, &i, sizeof(i));
        assert_int_equal(store_insert(p->store, &first[i], 1, &o), 0);
    }
    border_us = ((first[OLD - 1]->id.key >> 12) + 3600000) * 1000; /* no id of today is there */
    j = make_job('n', 'f');
    j->id.key = uuid7_first_key(border_us);
    assert_int_equal(store_insert(p->store, &j, 1, &o), 0);

    do {
        rc = store_forget_keys(p->store, border_us);
        slices++;
    } while (rc == 1);
    assert_int_equal(rc, 0);
    assert_true(slices > 2);
    expect_job(p, make_job('n', 'f'), STORE_REPLAYED, j->id);
    for (int i = 0; i < OLD; i++) {
        first[i]->id = sample_id();
        assert_int_equal(store_insert(p->store, &first[i], 1, &o), 0);
        assert_int_equal(o.insertion, STORE_INSERTED);
        job_unref(first[i]);
    }
    job_unref(j);
    return 0;
}

static void old_keys_are_forgotten(void **state)
{
    place_run(*state, forget, *state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACE_TEST(a_repeat_inserts_nothing),
        PLACE_TEST(a_repeat_in_the_same_call_is_one),
        PLACE_TEST(many_at_once_are_one),
        PLACE_TEST(a_repeat_waits_for_the_batch),
        PLACE_TEST(a_failed_batch_gives_its_key_up),
        PLACE_TEST(half_a_batch_gives_its_key_up),
        PLACE_TEST(old_keys_are_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
