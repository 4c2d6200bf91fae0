/*
 * A disk that is really full: a small file system of its own, which takes root. Skipped where none
 * can be mounted.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/store/store_internal.h"
#include "tests/unit/store/place.h"

#define DISK_BYTES "48m"
#define MIN_FREE   (2 << 20)
#define BALLAST    (8 << 20)
#define HEAL_US    2000000

static struct {
    atomic_bool hold, held; /* the next removal of a file waits for `go` */
    sem_t go;
} removal;

int held_unlinkat(int fd, const char *name, int flags) __asm__("unlinkat");

int held_unlinkat(int fd, const char *name, int flags)
{
    if (atomic_exchange(&removal.hold, false)) {
        removal.held = true;
        sem_wait(&removal.go);
    }
    return (int)syscall(SYS_unlinkat, fd, name, flags);
}

static int disk_mount(struct place *p)
{
    const char *at = p->sample->directory;
    char command[400];

    snprintf(command, sizeof(command),
            "truncate -s " DISK_BYTES " %s.disk && mkfs.ext4 -q -m 0 %s.disk &&"
            " mount -o loop %s.disk %s",
            at, at, at, at);
    if (geteuid() != 0)
        return -EPERM;
    if (system(command) == 0)
        return 0;
    return mount("none", at, "tmpfs", 0, "size=" DISK_BYTES) < 0 ? -errno : 0;
}

static int disk_setup(void **state)
{
    struct place *p;

    if (place_setup(state) < 0)
        return -1;
    p = *state;
    p->min_free_bytes = MIN_FREE;
    p->ballast_bytes = BALLAST;
    if (disk_mount(p) < 0)
        p->ballast_bytes = -1;
    return 0;
}

static int disk_teardown(void **state)
{
    struct place *p = *state;
    char path[128];

    place_close(p);
    if (p->ballast_bytes >= 0)
        assert_int_equal(umount(p->sample->directory), 0);
    snprintf(path, sizeof(path), "%s.disk", p->sample->directory);
    unlink(path);
    return place_teardown(state);
}

#define DISK_TEST(test) cmocka_unit_test_setup_teardown(test, disk_setup, disk_teardown)

static void need_disk(const struct place *p)
{
    if (p->ballast_bytes < 0)
        skip();
}

static void path_of(const struct place *p, const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", p->sample->directory, name);
}

static int64_t disk_free(const struct place *p)
{
    struct statvfs disk;

    assert_int_equal(statvfs(p->sample->directory, &disk), 0);
    return (int64_t)(disk.f_bavail * disk.f_frsize);
}

/* Takes all but `left` bytes, as another program would. */
static void disk_fill(const struct place *p, int64_t left)
{
    static char zeros[4096];
    char path[128];
    int fd;

    path_of(p, "filler", path);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_true(fd >= 0);
    while (disk_free(p) > left && write(fd, zeros, sizeof(zeros)) > 0)
        ;
    close(fd);
}

static void disk_clear(const struct place *p)
{
    char path[128];

    path_of(p, "filler", path);
    assert_int_equal(unlink(path), 0);
}

static bool ballast_there(const struct place *p)
{
    char path[128];
    struct stat file;

    path_of(p, "ballast", path);
    return stat(path, &file) == 0 && file.st_size == BALLAST && file.st_blocks * 512 >= BALLAST;
}

static int insert(struct place *p, struct job *j)
{
    return store_insert(p->store, &j, 1, (struct store_outcome[1]){ 0 });
}

static int end(struct place *p, struct job *j, size_t bytes, int64_t seq)
{
    char *body = calloc(1, bytes + 1);
    struct sample_step step;
    struct checkpoint *c = &step.checkpoint;
    int rc;

    assert_non_null(body);
    memset(body, 'b', bytes);
    sample_step_init(&step, j, JOB_SUCCEEDED, body);
    step.checkpoint.finished_seq = seq;
    rc = store_checkpoint(p->store, &c, 1, NULL);
    if (rc == 0)
        sample_step_apply(&step);
    else
        sample_step_done(&step);
    free(body);
    return rc;
}

static void assert_stored(struct place *p, const struct job *j)
{
    struct job *stored = NULL;

    assert_int_equal(store_get(p->store, j->id, &stored), 0);
    sample_assert_same(stored, j);
    job_unref(stored);
}

static void wait_for_ballast(struct place *p)
{
    int64_t until_us = clock_mono_us() + HEAL_US;

    while (!ballast_there(p) && clock_mono_us() < until_us)
        assert_int_equal(co_sleep(10000000), 0);
    assert_true(ballast_there(p));
}

/* What the disk said holds for a tenth of a second. */
static void wait_for_refusal(struct place *p, struct job *fresh)
{
    int64_t until_us = clock_mono_us() + 1000000;

    while (clock_mono_us() < until_us) {
        struct job *j = sample_fetch();
        int rc = insert(p, j);

        job_unref(j);
        if (rc == -ENOSPC)
            break;
        assert_int_equal(rc, 0);
    }
    assert_int_equal(insert(p, fresh), -ENOSPC);
}

#define RUNNING 100

static int run_full(void *arg)
{
    struct place *p = arg;
    struct job *j[RUNNING], *fresh = sample_fetch();

    assert_true(ballast_there(p));
    for (int i = 0; i < RUNNING; i++) {
        j[i] = sample_fetch();
        assert_int_equal(insert(p, j[i]), 0);
    }
    disk_fill(p, 0);
    wait_for_refusal(p, fresh);
    assert_true(ballast_there(p)); /* what is new gets nothing of it */

    for (int i = 0; i < RUNNING; i++)
        assert_int_equal(end(p, j[i], 40000, 0), 0);
    assert_false(ballast_there(p));
    assert_int_equal(insert(p, fresh), -ENOSPC);
    for (int i = 0; i < RUNNING; i++)
        assert_stored(p, j[i]);

    disk_clear(p);
    wait_for_ballast(p);
    assert_int_equal(space_wait_ms(&p->store->space), -1);
    assert_int_equal(insert(p, fresh), 0);
    for (int i = 0; i < RUNNING; i++) {
        assert_stored(p, j[i]);
        job_unref(j[i]);
    }
    job_unref(fresh);
    return 0;
}

static void running_work_gets_the_ballast(void **state)
{
    need_disk(*state);
    place_run(*state, run_full, *state);
    assert_int_equal(((struct place *)*state)->failures, 0);
}

static int begin_full(void *arg)
{
    struct place *p = arg;
    struct job *j = sample_fetch();

    assert_false(ballast_there(p));
    assert_int_equal(insert(p, j), -ENOSPC);
    assert_false(store_more_space(p->store));
    disk_clear(p);
    wait_for_ballast(p);
    assert_int_equal(insert(p, j), 0);
    assert_true(store_more_space(p->store));
    assert_false(ballast_there(p));
    job_unref(j);
    return 0;
}

static void a_start_on_a_full_disk_makes_it_later(void **state)
{
    struct place *p = *state;

    need_disk(p);
    disk_fill(p, 1 << 20);
    place_run(p, begin_full, p);
}

static int end_in_order(void *arg)
{
    struct place *p = arg;
    struct batch b = sample_batch(3);
    struct job **j = sample_jobs(&b);
    struct store_page page;

    assert_int_equal(store_insert_batch(p->store, &b, j, 3, NULL, &(struct store_outcome){ 0 }), 0);
    disk_fill(p, 600000);
    /* It has no room, the next one would. */
    assert_int_equal(end(p, j[0], 4000000, 1), -ENOSPC);
    assert_int_equal(end(p, j[1], 10, 2), -ENOSPC);
    assert_int_equal(store_list_finished(p->store, b.id.key, 0, 10, &page), 0);
    assert_int_equal(page.n, 0);
    store_page_done(&page);
    disk_clear(p);
    assert_int_equal(end(p, j[2], 10, 3), -ENOSPC);
    assert_int_equal(end(p, j[0], 4000000, 1), 0);
    assert_int_equal(end(p, j[2], 10, 3), -ENOSPC);
    assert_int_equal(end(p, j[1], 10, 2), 0);
    assert_int_equal(end(p, j[2], 10, 3), 0);
    assert_int_equal(store_list_finished(p->store, b.id.key, 0, 10, &page), 0);
    assert_int_equal(page.n, 3);
    for (size_t i = 0; i < 3; i++)
        assert_memory_equal(&page.jobs[i]->id, &j[i]->id, sizeof(j[i]->id));
    store_page_done(&page);
    sample_jobs_free(j, 3);
    return 0;
}

static void a_batch_keeps_its_order(void **state)
{
    struct place *p = *state;

    need_disk(p);
    p->ballast_bytes = 0;
    place_run(p, end_in_order, p);
    assert_int_equal(p->failures, 0);
}

#define CYCLES    20
#define MOST_JOBS 20000
#define PACE_NS   20000000 /* or the jobs alone would fill the disk */

struct load {
    struct place *place;
    struct job *jobs[MOST_JOBS];
    int n, refused;
    bool stop;
};

/* Ends each job that it began, however long that takes. */
static int load_on(void *arg)
{
    struct load *l = arg;

    while (!l->stop && l->n < MOST_JOBS) {
        struct job *j = sample_fetch();

        if (insert(l->place, j) < 0) {
            l->refused++;
            job_unref(j);
            assert_int_equal(co_sleep(1000000), 0);
            continue;
        }
        l->jobs[l->n++] = j;
        while (end(l->place, j, 3000, 0) == -ENOSPC)
            assert_int_equal(co_sleep(1000000), 0);
        assert_int_equal(co_sleep(PACE_NS), 0);
    }
    return 0;
}

static int load_in_cycles(void *arg)
{
    struct load *l = arg;
    struct co_task tasks[4];

    for (int i = 0; i < 4; i++)
        assert_int_equal(co_spawn("load", load_on, l, &tasks[i]), 0);
    for (int i = 0; i < CYCLES; i++) {
        int refused = l->refused, n;

        disk_fill(l->place, i % 3 == 0 ? 0 : i * 100000);
        while (l->refused == refused) {
            assert_true(l->n < MOST_JOBS);
            assert_int_equal(co_sleep(1000000), 0);
        }
        disk_clear(l->place);
        n = l->n;
        for (int64_t until_us = clock_mono_us() + HEAL_US; l->n == n;) {
            assert_true(clock_mono_us() < until_us);
            assert_int_equal(co_sleep(1000000), 0);
        }
        wait_for_ballast(l->place);
    }
    l->stop = true;
    return co_gather(tasks, 4, NULL, 0);
}

static int look_at_load(void *arg)
{
    struct load *l = arg;

    for (int i = 0; i < l->n; i++) {
        assert_stored(l->place, l->jobs[i]);
        assert_int_equal(l->jobs[i]->state, JOB_SUCCEEDED);
    }
    return 0;
}

static void nothing_is_lost_over_many_full_disks(void **state)
{
    static struct load l;

    l.place = *state;
    need_disk(*state);
    place_run(l.place, load_in_cycles, &l);
    place_run(l.place, look_at_load, &l);
    place_close(l.place);
    place_run(l.place, look_at_load, &l);
    assert_int_equal(l.place->failures, 0);
    for (int i = 0; i < l.n; i++)
        job_unref(l.jobs[i]);
}
#define COPIED       30 /* jobs, of BODY_BYTES each */
#define BODY_BYTES   40000
#define LEFT_TO_COPY (COPIED * BODY_BYTES / 2)

static int run_backup(void *arg)
{
    struct place *p = arg;
    struct store_backup backup = { 0 };
    int64_t left;

    for (int i = 0; i < COPIED; i++) {
        struct job *j = sample_fetch();

        assert_int_equal(insert(p, j), 0);
        assert_int_equal(end(p, j, BODY_BYTES, 0), 0);
        job_unref(j);
    }
    disk_fill(p, MIN_FREE + LEFT_TO_COPY);
    left = disk_free(p);
    assert_int_equal(store_backup(p->store, &backup), -ENOSPC);
    assert_true(disk_free(p) > left - LEFT_TO_COPY / 2); /* nothing of a copy is left */

    disk_clear(p);
    assert_int_equal(store_backup(p->store, &backup), 0);
    assert_true(backup.bytes > 2 * LEFT_TO_COPY);
    store_backup_done(&backup);
    return 0;
}

static void a_backup_leaves_what_is_to_stay_free(void **state)
{
    need_disk(*state);
    place_run(*state, run_backup, *state);
    assert_int_equal(((struct place *)*state)->failures, 0);
}

#define WAIT_NS 50000000 /* for the second one, who has to wait for the first */

static void *ask_for_space(void *store)
{
    return store_more_space(store) ? store : NULL;
}

/* Two transfers find the disk full; the second one does while the first removes the ballast. */
static void two_get_the_ballast(void **state)
{
    struct place *p = *state;
    pthread_t first, second;
    void *more[2];

    p->ballast_bytes = 1 << 20;
    p->min_free_bytes = 0;
    place_open(p);
    removal.hold = true;
    assert_int_equal(pthread_create(&first, NULL, ask_for_space, p->store), 0);
    while (!removal.held)
        sched_yield();
    assert_int_equal(pthread_create(&second, NULL, ask_for_space, p->store), 0);
    nanosleep(&(struct timespec){ .tv_nsec = WAIT_NS }, NULL);
    sem_post(&removal.go);
    assert_int_equal(pthread_join(first, &more[0]), 0);
    assert_int_equal(pthread_join(second, &more[1]), 0);
    assert_non_null(more[0]);
    assert_non_null(more[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISK_TEST(running_work_gets_the_ballast),
        DISK_TEST(a_start_on_a_full_disk_makes_it_later),
        DISK_TEST(a_batch_keeps_its_order),
        DISK_TEST(nothing_is_lost_over_many_full_disks),
        DISK_TEST(a_backup_leaves_what_is_to_stay_free),
        PLACE_TEST(two_get_the_ballast),
    };

    sem_init(&removal.go, 0, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
