/* Opening: what is no database of ours, or a damaged one, is refused; what a crash left is read. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/store/sqlite_statement.h"
#include "tests/unit/store/driver.h"

static size_t read_database(const struct sample *s, char *buffer, size_t size)
{
    int fd = open(s->database, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, buffer, size);

    close(fd);
    assert_true(n >= 0 && (size_t)n < size);
    return (size_t)n;
}

/* And the file stays as it was. */
static void expect_refused(const struct sample *s, int rc, const char *text)
{
    static char before[1 << 20], after[1 << 20];
    size_t n = read_database(s, before, sizeof(before));
    struct sqlite *d = NULL;
    struct error why = { "" };

    assert_int_equal(sqlite_open(&(struct sqlite_options){ .path = s->database }, &d, &why), rc);
    assert_null(d);
    assert_non_null(strstr(why.text, text));
    assert_non_null(strstr(why.text, s->database));
    assert_int_equal(read_database(s, after, sizeof(after)), n);
    assert_memory_equal(before, after, n);
}

static void run_sql(const struct sample *s, const char *sql)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(s->database, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_newer_schema_is_refused(void **state)
{
    sqlite_close(open_database(*state));
    run_sql(*state, "PRAGMA user_version=99");
    expect_refused(*state, -ENOTSUP, "newer version");
}

static void the_database_of_another_is_refused(void **state)
{
    run_sql(*state, "CREATE TABLE t(x); INSERT INTO t VALUES(1)");
    expect_refused(*state, -EBADMSG, "not a database of baedal");
}

static void no_database_is_refused(void **state)
{
    struct sample *s = *state;
    int fd = open(s->database, O_WRONLY | O_CREAT, 0600);

    for (int i = 0; i < 1000; i++)
        assert_int_equal(write(fd, "this is a text, no database\n", 28), 28);
    close(fd);
    expect_refused(s, -EBADMSG, "damaged or no database");
}

/* Whatever page is damaged, the file is refused or was not read wrong. */
static void a_damaged_database_is_refused(void **state)
{
    struct sample *s = *state;
    struct sqlite *d = open_database(s);
    struct job *jobs[40];
    off_t size;
    int fd, refused = 0;

    for (int i = 0; i < 40; i++)
        jobs[i] = sample_full();
    write_jobs(d, jobs, 40);
    sqlite_close(d);
    fd = open(s->database, O_RDWR);
    size = lseek(fd, 0, SEEK_END);
    for (off_t at = 4096; at < size; at += 4096 * 7) {
        char before[64], garbage[64];
        struct error why;

        memset(garbage, 0xa5, sizeof(garbage));
        assert_int_equal(pread(fd, before, sizeof(before), at), sizeof(before));
        assert_int_equal(pwrite(fd, garbage, sizeof(garbage), at), sizeof(garbage));
        d = NULL;
        if (sqlite_open(&(struct sqlite_options){ .path = s->database }, &d, &why) == -EBADMSG)
            refused++;
        sqlite_close(d);
        assert_int_equal(pwrite(fd, before, sizeof(before), at), sizeof(before));
    }
    close(fd);
    assert_true(refused > 10);
    d = open_database(s);
    assert_stored(d, jobs[39]);
    sqlite_close(d);
    for (int i = 0; i < 40; i++)
        job_unref(jobs[i]);
}

static void what_a_crash_left_in_the_log_is_read(void **state)
{
    struct job *j = sample_full();
    struct sqlite *d;
    int status;
    pid_t child = fork();

    if (child == 0) {
        write_jobs(open_database(*state), &j, 1);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    d = open_database(*state);
    assert_stored(d, j);
    sqlite_close(d);
    job_unref(j);
}

/* In a child whose files can't grow, which is what a full disk looks like. */
/* How long the log is; 0: there is none. */
static off_t log_size(const struct sample *s, char path[128])
{
    struct stat file;

    snprintf(path, 128, "%s-wal", s->database);
    return stat(path, &file) == 0 ? file.st_size : 0;
}

/* Two transactions in the log of a process that was killed. */
static void crash_with_log(const struct sample *s, struct job *first, struct job *second)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        struct sqlite *d = open_database(s);

        write_jobs(d, &first, 1);
        write_jobs(d, &second, 1);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

/* A power cut in the middle of a commit: nobody was told of it. */
static void a_torn_end_of_the_log_is_cut_off(void **state)
{
    struct job *first = sample_fetch(), *second = sample_fetch(), *found = NULL;
    struct sqlite *d = open_database(*state);
    char path[128];
    off_t n;

    sqlite_close(d);
    crash_with_log(*state, first, second);
    n = log_size(*state, path);
    assert_true(n > 8192);
    assert_int_equal(truncate(path, n - 4000), 0);
    d = open_database(*state);
    assert_stored(d, first);
    assert_int_equal(sqlite_read_job(d, second->id, &found), -ENOENT);
    write_jobs(d, &second, 1);
    assert_stored(d, second);
    sqlite_close(d);
    job_unref(first);
    job_unref(second);
}

/* The log of a crash belongs to what is refused, and stays too. */
static void a_refused_database_keeps_its_log(void **state)
{
    struct job *first = sample_fetch(), *second = sample_fetch(), *third = sample_fetch();
    char path[128];
    struct sqlite *d = open_database(*state);
    off_t n;

    write_jobs(d, &first, 1);
    sqlite_close(d);
    crash_with_log(*state, second, third);
    n = log_size(*state, path);
    assert_true(n > 8192);
    assert_int_equal(truncate(((struct sample *)*state)->database, 8192), 0);
    expect_refused(*state, -EBADMSG, "damaged");
    assert_int_equal(log_size(*state, path), n);
    job_unref(first);
    job_unref(second);
    job_unref(third);
}

/* What a newer version's crash left is that version's to read. */
static void a_newer_database_keeps_its_log(void **state)
{
    char path[128];
    int status;
    off_t n;
    pid_t child = fork();

    if (child == 0) {
        struct sqlite *d = open_database(*state);

        sqlite3_exec(d->db, "PRAGMA user_version=99", NULL, NULL, NULL);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    n = log_size(*state, path);
    assert_true(n > 8192);
    expect_refused(*state, -ENOTSUP, "newer version");
    assert_int_equal(log_size(*state, path), n);
}

static void a_truncated_database_is_refused(void **state)
{
    struct sample *s = *state;
    struct job *j = sample_full();
    struct sqlite *d = open_database(s);
    struct stat file;

    write_jobs(d, &j, 1);
    sqlite_close(d);
    assert_int_equal(stat(s->database, &file), 0);
    assert_int_equal(truncate(s->database, file.st_size - 8192), 0);
    expect_refused(s, -EBADMSG, "damaged");
    assert_int_equal(truncate(s->database, 100), 0);
    expect_refused(s, -EBADMSG, "damaged");
    job_unref(j);
}

static void an_empty_file_is_a_new_one(void **state)
{
    struct sample *s = *state;
    struct sqlite *d;

    close(open(s->database, O_WRONLY | O_CREAT, 0600));
    d = open_database(s);
    assert_int_equal(sqlite_last_key(d), 0);
    sqlite_close(d);
}

static void a_full_disk_does_not_keep_it_from_opening(void **state)
{
    struct sample *s = *state;
    struct job *j = sample_full();
    struct sqlite *d = open_database(s);
    int status;
    pid_t child;

    write_jobs(d, &j, 1);
    sqlite_close(d);
    child = fork();
    if (child == 0) {
        struct rlimit none = { 0, 0 };
        struct error why;

        signal(SIGXFSZ, SIG_IGN);
        d = NULL;
        if (setrlimit(RLIMIT_FSIZE, &none) < 0 ||
                sqlite_open(&(struct sqlite_options){ .path = s->database }, &d, &why) < 0)
            _exit(1);
        sqlite_close(d);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    job_unref(j);
}

static void a_new_file_gives_space_back(void **state)
{
    struct sample *s = *state;
    sqlite3_stmt *st;
    sqlite3 *db;

    sqlite_close(open_database(s));
    assert_int_equal(sqlite3_open(s->database, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT * FROM pragma_auto_vacuum, pragma_page_size",
                             -1, &st, NULL),
            SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(st, 0), 2); /* incremental */
    assert_int_equal(sqlite3_column_int(st, 1), 8192);
    sqlite3_finalize(st);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void the_log_is_folded_and_used_again(void **state)
{
    struct sqlite *d = open_database(*state);
    struct job *j[200];

    assert_false(sqlite_wants_tidy(d, true));
    for (int i = 0; i < 200; i++)
        j[i] = sample_full();
    write_jobs(d, j, 200);
    assert_true(sqlite_wants_tidy(d, true));
    assert_int_equal(sqlite_tidy(d, false), 0);
    assert_false(sqlite_wants_tidy(d, true));
    for (int i = 0; i < 200; i++) {
        assert_stored(d, j[i]);
        end_job(d, j[i], JOB_SUCCEEDED, 0);
    }
    assert_stored(d, j[199]);
    sqlite_close(d);
    for (int i = 0; i < 200; i++)
        job_unref(j[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAMPLE_TEST(a_newer_schema_is_refused),
        SAMPLE_TEST(the_database_of_another_is_refused),
        SAMPLE_TEST(no_database_is_refused),
        SAMPLE_TEST(a_damaged_database_is_refused),
        SAMPLE_TEST(what_a_crash_left_in_the_log_is_read),
        SAMPLE_TEST(a_torn_end_of_the_log_is_cut_off),
        SAMPLE_TEST(a_refused_database_keeps_its_log),
        SAMPLE_TEST(a_newer_database_keeps_its_log),
        SAMPLE_TEST(a_truncated_database_is_refused),
        SAMPLE_TEST(an_empty_file_is_a_new_one),
        SAMPLE_TEST(a_full_disk_does_not_keep_it_from_opening),
        SAMPLE_TEST(a_new_file_gives_space_back),
        SAMPLE_TEST(the_log_is_folded_and_used_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
