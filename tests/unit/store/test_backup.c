/* A copy of the running store: consistent, complete, and one that a daemon starts on. */
#include <dirent.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/store/place.h"

#define JOBS 60

/* Calls that are made to fail. */
static struct {
    atomic_bool no_links, no_space;
    atomic_bool hold_link, held;            /* the next link waits for `go` */
    atomic_bool hold_removal, removal_held; /* the next removal of a file, too */
    atomic_int removals;
    atomic_int removals_at_write; /* of the next write; -1: it has not come */
    sem_t go;
} fault;

int fault_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) __asm__(
        "linkat");
ssize_t fault_pwrite64(int fd, const void *data, size_t n, off_t at) __asm__("pwrite64");
int fault_unlinkat(int fd, const char *name, int flags) __asm__("unlinkat");

int fault_unlinkat(int fd, const char *name, int flags)
{
    if (atomic_exchange(&fault.hold_removal, false)) {
        fault.removal_held = true;
        sem_wait(&fault.go);
    }
    fault.removals++;
    return (int)syscall(SYS_unlinkat, fd, name, flags);
}

int fault_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    if (atomic_exchange(&fault.hold_link, false)) {
        fault.held = true;
        sem_wait(&fault.go);
    }
    if (fault.no_links) {
        errno = EPERM;
        return -1;
    }
    return (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
}

ssize_t fault_pwrite64(int fd, const void *data, size_t n, off_t at)
{
    char link[64], path[256] = "";
    int none = -1;

    atomic_compare_exchange_strong(&fault.removals_at_write, &none, fault.removals);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    if (fault.no_space && readlink(link, path, sizeof(path) - 1) > 0 && strstr(path, "/backups/")) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, data, n, at);
}

static void insert(struct store *s, struct job *j)
{
    assert_int_equal(store_insert(s, &j, 1, (struct store_outcome[1]){ 0 }), 0);
}

static void end(struct place *p, struct job *j, size_t file_bytes)
{
    struct sample_step step;
    struct checkpoint *c = &step.checkpoint;

    sample_step_init(&step, j, JOB_SUCCEEDED, "body");
    if (file_bytes > 0)
        sample_step_use_file(p->sample, &step, file_bytes);
    assert_int_equal(store_checkpoint(p->store, &c, 1, NULL), 0);
    sample_step_apply(&step);
}

static void assert_stored(struct store *s, const struct job *j)
{
    struct job *stored = NULL;

    assert_int_equal(store_get(s, j->id, &stored), 0);
    sample_assert_same(stored, j);
    job_unref(stored);
}

/* How many entries the directory below the state directory has. */
static int count_entries(const struct sample *s, const char *directory)
{
    char path[256];
    struct dirent *entry;
    DIR *stream;
    int n = 0;

    snprintf(path, sizeof(path), "%s/%s", s->directory, directory);
    stream = opendir(path);
    if (!stream)
        return 0;
    while ((entry = readdir(stream)))
        n += entry->d_name[0] != '.';
    closedir(stream);
    return n;
}

struct scene {
    struct place *place;
    struct job *jobs[JOBS]; /* even ones ended, each sixth with a file */
    struct store_backup backup;
    bool stop;
    int inserted;
};

static void scene_fill(struct scene *c)
{
    for (int i = 0; i < JOBS; i++) {
        c->jobs[i] = sample_full();
        c->jobs[i]->held = false; /* by no batch */
        insert(c->place->store, c->jobs[i]);
        if (i % 2 == 0)
            end(c->place, c->jobs[i], i % 6 == 0 ? 100000 + (size_t)i : 0);
    }
}

static void scene_done(struct scene *c)
{
    for (int i = 0; i < JOBS; i++)
        job_unref(c->jobs[i]);
    store_backup_done(&c->backup);
}

static int make_backup(void *arg)
{
    struct scene *c = arg;

    scene_fill(c);
    return store_backup(c->place->store, &c->backup);
}

static int look_at_backup(void *arg)
{
    struct scene *c = arg;
    struct store_body body;

    for (int i = 0; i < JOBS; i++)
        assert_stored(c->place->store, c->jobs[i]);
    assert_int_equal(store_get_body(c->place->store, c->jobs[6]->id, STEP_MAX, &body), 0);
    assert_int_equal(body.body.bytes, 100006);
    assert_true(faccessat(store_bodies_fd(c->place->store), body.body.file, R_OK, 0) == 0);
    store_body_done(&body);
    return 0;
}

/* As an administrator would put it back. */
static void start_on(struct scene *c)
{
    struct store_options options = { .directory = c->backup.path };
    struct error why;

    place_close(c->place);
    if (store_open(&options, place_failed, c->place, &c->place->store, &why) < 0)
        fail_msg("%s", why.text);
    place_run(c->place, look_at_backup, c);
}

static void a_daemon_starts_on_it(void **state)
{
    struct scene c = { .place = *state };
    const char *directory = c.place->sample->directory;
    struct stat file;
    char path[256], found[2000];
    FILE *out = fmemopen(found, sizeof(found), "w");
    struct error why;

    place_run(c.place, make_backup, &c);
    assert_int_equal(strncmp(c.backup.path, directory, strlen(directory)), 0);
    assert_int_equal(stat(c.backup.path, &file), 0);
    assert_int_equal(file.st_mode & 07777, 0700);
    assert_int_equal(count_entries(c.place->sample, "backups"), 1);
    /* One file beside the bodies, which are shared. */
    assert_int_equal(count_entries(c.place->sample, c.backup.path + strlen(directory)), 2);
    snprintf(path, sizeof(path), "%s/baedal.db", c.backup.path);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    assert_int_equal(c.backup.bytes, file.st_size + 10 * 100000 + 270);
    assert_int_equal(store_check(c.backup.path, out, &why), 0);
    fclose(out);
    assert_non_null(strstr(found, "60 jobs, 0 batches, 10 body files: sound"));
    start_on(&c);
    scene_done(&c);
}

static void it_copies_where_links_do_not_go(void **state)
{
    struct scene c = { .place = *state };

    fault.no_links = true;
    place_run(c.place, make_backup, &c);
    fault.no_links = false;
    start_on(&c);
    scene_done(&c);
}

static int work_on(void *arg)
{
    struct scene *c = arg;

    while (!c->stop) {
        struct job *j = sample_fetch();

        insert(c->place->store, j);
        end(c->place, j, 0);
        job_unref(j);
        c->inserted++;
    }
    return 0;
}

static int purge_on(void *arg)
{
    struct scene *c = arg;

    while (!c->stop) {
        struct store_purge gone = { 0 };

        assert_int_equal(store_purge(c->place->store,
                                 &(struct store_limits){ 0, JOBS / 4, INT64_MAX }, &gone),
                0);
        store_purge_done(&gone);
        assert_int_equal(co_yield(), 0);
    }
    return 0;
}

static int second_backup(void *arg)
{
    struct scene *c = arg;
    struct store_backup other;

    return store_backup(c->place->store, &other);
}

/* Others work, files lose their rows, and a second one is refused. */
static int backup_in_a_crowd(void *arg)
{
    struct scene *c = arg;
    struct co_task tasks[3];
    int files, second;

    scene_fill(c);
    files = count_entries(c->place->sample, "bodies");
    assert_int_equal(files, 10);
    assert_int_equal(co_spawn("work", work_on, c, &tasks[0]), 0);
    assert_int_equal(co_spawn("purge", purge_on, c, &tasks[1]), 0);
    assert_int_equal(co_spawn("second", second_backup, c, &tasks[2]), 0);
    assert_int_equal(store_backup(c->place->store, &c->backup), 0);
    assert_int_equal(co_await(tasks[2], &second), 0);
    assert_int_equal(second, -EBUSY);
    c->stop = true;
    assert_int_equal(co_gather(tasks, 2, NULL, 0), 0);
    assert_true(c->inserted > 0);
    /* What was kept for the copy goes after it. */
    while (count_entries(c->place->sample, "bodies") > 0) {
        struct store_purge gone = { 0 };

        assert_int_equal(
                store_purge(c->place->store, &(struct store_limits){ INT64_MAX, 0, 0 }, &gone), 0);
        store_purge_done(&gone);
    }
    return 0;
}

static void it_is_consistent_while_others_work(void **state)
{
    struct scene c = { .place = *state };
    char found[4000] = "";
    FILE *out = fmemopen(found, sizeof(found), "w");
    struct error why;
    int rc;

    place_run(c.place, backup_in_a_crowd, &c);
    rc = store_check(c.backup.path, out, &why);
    fclose(out);
    if (rc < 0)
        fail_msg("%s", found);
    assert_non_null(strstr(found, "sound"));
    scene_done(&c);
}

/* The database is copied, its files are not linked yet, and retention comes by. */
static int purge_between(void *arg)
{
    struct scene *c = arg;
    struct store_purge gone = { .more = true };

    while (!fault.held)
        assert_int_equal(co_yield(), 0);
    while (gone.more) {
        store_purge_done(&gone);
        assert_int_equal(
                store_purge(c->place->store, &(struct store_limits){ INT64_MAX, 0, 0 }, &gone), 0);
    }
    store_purge_done(&gone);
    sem_post(&fault.go);
    return 0;
}

static int backup_and_purge(void *arg)
{
    struct scene *c = arg;
    struct co_task purge;

    scene_fill(c);
    fault.hold_link = true;
    assert_int_equal(co_spawn("purge", purge_between, c, &purge), 0);
    assert_int_equal(store_backup(c->place->store, &c->backup), 0);
    assert_int_equal(co_await(purge, NULL), 0);
    while (count_entries(c->place->sample, "bodies") > 0)
        assert_int_equal(co_yield(), 0);
    return 0;
}

static void no_file_is_lost_to_retention(void **state)
{
    struct scene c = { .place = *state };

    place_run(c.place, backup_and_purge, &c);
    start_on(&c);
    scene_done(&c);
}

#define MANY_FILES 200

static int backup_again(void *arg)
{
    struct scene *c = arg;

    return store_backup(c->place->store, &c->backup);
}

static int insert_another(void *arg)
{
    struct job *j = sample_fetch();

    insert(((struct place *)arg)->store, j);
    job_unref(j);
    return 0;
}

/* Retention took many files' rows meanwhile. An insert comes while they are being removed. */
static int backup_with_many_files(void *arg)
{
    struct scene *c = arg;
    struct co_task backup, other;

    for (int i = 0; i < MANY_FILES; i++) {
        struct job *j = sample_fetch();

        insert(c->place->store, j);
        end(c->place, j, 1);
        job_unref(j);
    }
    fault.held = false;
    fault.hold_link = true;
    assert_int_equal(co_spawn("backup", backup_again, c, &backup), 0);
    while (!fault.held)
        assert_int_equal(co_yield(), 0);
    fault.hold_removal = true;
    assert_int_equal(purge_between(c), 0);
    while (!fault.removal_held)
        assert_int_equal(co_yield(), 0);
    assert_int_equal(co_spawn("insert", insert_another, c->place, &other), 0);
    assert_int_equal(co_yield(), 0);
    fault.removals = 0;
    fault.removals_at_write = -1;
    sem_post(&fault.go);
    assert_int_equal(co_await(other, NULL), 0);
    assert_in_range(fault.removals_at_write, 1, MANY_FILES / 2);
    while (count_entries(c->place->sample, "bodies") > 0)
        assert_int_equal(co_yield(), 0);
    return co_await(backup, NULL);
}

static void others_do_not_wait_for_the_files_it_kept(void **state)
{
    struct scene c = { .place = *state };

    place_run(c.place, backup_with_many_files, &c);
    store_backup_done(&c.backup);
}

static int backup_without_space(void *arg)
{
    struct scene *c = arg;
    struct job *j = sample_fetch();

    scene_fill(c);
    fault.no_space = true;
    assert_int_equal(store_backup(c->place->store, &c->backup), -ENOSPC);
    fault.no_space = false;
    assert_int_equal(count_entries(c->place->sample, "backups"), 0);
    insert(c->place->store, j);
    assert_stored(c->place->store, j);
    job_unref(j);
    return store_backup(c->place->store, &c->backup);
}

static void a_full_disk_is_its_own_matter(void **state)
{
    struct scene c = { .place = *state };

    place_run(c.place, backup_without_space, &c);
    assert_int_equal(c.place->failures, 0);
    start_on(&c);
    scene_done(&c);
}

static void what_is_half_made_goes_at_the_start(void **state)
{
    struct place *p = *state;
    char path[256];

    snprintf(path, sizeof(path), "%s/backups", p->sample->directory);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/backups/20260101T000000.000Z", p->sample->directory);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/backups/20260102T000000.000Z.tmp", p->sample->directory);
    assert_int_equal(mkdir(path, 0700), 0);
    sample_write_file(path, "baedal.db", 10);
    snprintf(
            path, sizeof(path), "%s/backups/20260102T000000.000Z.tmp/bodies", p->sample->directory);
    assert_int_equal(mkdir(path, 0700), 0);
    sample_write_file(path, "x", 10);
    place_open(p);
    assert_int_equal(count_entries(p->sample, "backups"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACE_TEST(a_daemon_starts_on_it),
        PLACE_TEST(it_copies_where_links_do_not_go),
        PLACE_TEST(it_is_consistent_while_others_work),
        PLACE_TEST(no_file_is_lost_to_retention),
        PLACE_TEST(others_do_not_wait_for_the_files_it_kept),
        PLACE_TEST(a_full_disk_is_its_own_matter),
        PLACE_TEST(what_is_half_made_goes_at_the_start),
    };

    sem_init(&fault.go, 0, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
