/*
 * The process is killed at each place that has a name, once. What was acknowledged before is there
 * afterwards, and the store is sound. Skipped in a build without these places.
 */
#include "daemon/base/failpoint.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "tests/unit/store/place.h"

#define MEMBERS 1000 /* some slices */
#define LARGE   60   /* with 64 KiB each: enough to be folded when there is time */

/* What the child was told, before it died. */
struct told {
    struct uuid7 jobs[LARGE + 2], batch, removed;
    int n_jobs;
    bool batch_done, removal_asked, backed_up;
};

struct scene {
    struct place *place;
    struct told *told;
};

static int insert(struct scene *s, struct job *j)
{
    int rc = store_insert(s->place->store, &j, 1, (struct store_outcome[1]){ 0 });

    if (rc == 0)
        s->told->jobs[s->told->n_jobs++] = j->id;
    return rc;
}

static int insert_twice(void *arg)
{
    struct scene *s = arg;
    struct job *j = sample_fetch();

    assert_int_equal(insert(s, j), 0);
    /* A group with an error is replayed, with the mark if that came to be in the same one. */
    for (int i = 0; i < 200; i++) {
        for (int marks = 0; marks < 10; marks++)
            assert_int_equal(store_mark_in_flight(s->place->store, &j->id.key, 1), 0);
        assert_int_equal(insert(s, j), -EEXIST);
    }
    job_unref(j);
    return 0;
}

static void load_batch(struct scene *s)
{
    struct batch b = sample_batch(MEMBERS);
    struct job **j = sample_jobs(&b);
    struct uuid7 id = j[MEMBERS - 1]->id;

    /* The last slice is refused, and what is there of it dropped. */
    j[MEMBERS - 1]->id = j[0]->id;
    assert_int_equal(
            store_insert_batch(s->place->store, &b, j, MEMBERS, NULL, &(struct store_outcome){ 0 }),
            -EEXIST);
    j[MEMBERS - 1]->id = id;
    while (store_insert_batch(
                   s->place->store, &b, j, MEMBERS, NULL, &(struct store_outcome){ 0 }) == -EEXIST)
        assert_int_equal(co_sleep(1000000), 0);
    s->told->batch = b.id;
    s->told->batch_done = true;
    sample_jobs_free(j, MEMBERS);
}

static void purge_one(struct scene *s)
{
    struct job *j = sample_fetch();
    struct sample_step step;
    struct checkpoint *c = &step.checkpoint;
    struct store_purge gone;

    assert_int_equal(store_insert(s->place->store, &j, 1, (struct store_outcome[1]){ 0 }), 0);
    sample_step_init(&step, j, JOB_SUCCEEDED, NULL);
    sample_step_use_file(s->place->sample, &step, 100000);
    assert_int_equal(store_checkpoint(s->place->store, &c, 1, NULL), 0);
    sample_step_apply(&step);
    s->told->removed = j->id;
    s->told->removal_asked = true;
    assert_int_equal(
            store_purge(s->place->store, &(struct store_limits){ INT64_MAX, 0, 0 }, &gone), 0);
    store_purge_done(&gone);
    job_unref(j);
}

/* Comes by every place. */
static int do_everything(void *arg)
{
    struct scene *s = arg;
    struct store_backup backup;

    assert_int_equal(insert_twice(s), 0);
    load_batch(s);
    for (int i = 0; i < LARGE; i++) {
        struct job *j = sample_full();

        j->held = false;
        assert_int_equal(insert(s, j), 0);
        job_unref(j);
    }
    purge_one(s);
    assert_int_equal(store_backup(s->place->store, &backup), 0);
    store_backup_done(&backup);
    s->told->backed_up = true;
    assert_true(store_more_space(s->place->store));
    /* For the log to be folded. */
    return co_sleep(300000000);
}

static int look(void *arg)
{
    struct scene *s = arg;
    struct told *t = s->told;
    struct batch b;

    for (int i = 0; i < t->n_jobs; i++) {
        struct job *j;

        assert_int_equal(store_get(s->place->store, t->jobs[i], &j), 0);
        job_unref(j);
    }
    if (t->batch_done) {
        assert_int_equal(store_get_batch(s->place->store, t->batch, &b), 0);
        assert_int_equal(b.counts[JOB_PENDING], MEMBERS);
    }
    if (t->backed_up) {
        struct job *j = NULL;

        assert_int_equal(store_get(s->place->store, t->removed, &j), -ENOENT);
    }
    return 0;
}

static void expect_sound(const char *directory, const char *name)
{
    static char text[20000];
    FILE *out = fmemopen(text, sizeof(text), "w");
    struct error why;
    int rc = store_check(directory, out, &why);

    fclose(out);
    /* The first step of the schema makes the file. */
    if (rc < 0 && rc != -ENOENT)
        fail_msg("%s: %s\n%s", name, why.text, text);
}

static void die_at(const char *name)
{
    struct told *told =
            mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct scene s = { .told = told };
    char set[100];
    void *place = NULL;
    int status;
    pid_t child;

    assert_true(told != MAP_FAILED);
    assert_int_equal(place_setup(&place), 0);
    s.place = place;
    s.place->ballast_bytes = 1 << 20;
    snprintf(set, sizeof(set), "%s:abort", name);
    child = fork();
    if (child == 0) {
        setenv("BAEDAL_FAILPOINT", set, 1);
        place_run(s.place, do_everything, &s);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("%s: never came there, status %x", name, (unsigned)status);
    /* In a child too: the variable is read once in a process. */
    child = fork();
    if (child == 0) {
        expect_sound(s.place->sample->directory, name);
        place_run(s.place, look, &s);
        place_close(s.place);
        expect_sound(s.place->sample->directory, name);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    place_teardown(&place);
    munmap(told, sizeof(*told));
}

static void each_place_is_a_good_one_to_die_at(void **state)
{
    const char *names = failpoint_names();
    char name[64];
    int n, died = 0;

    (void)state;
    if (!names)
        skip();
    for (; sscanf(names, "%63s%n", name, &n) == 1; names += n) {
        if (strcmp(name, "body_synced") == 0)
            continue; /* the transfer's */
        die_at(name);
        died++;
    }
    assert_int_equal(died, FAILPOINT_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_place_is_a_good_one_to_die_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
