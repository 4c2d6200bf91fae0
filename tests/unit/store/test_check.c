/* The check finds each kind of fault, and changes nothing. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "tests/unit/store/driver.h"
#include "tests/unit/store/place.h"

#define TEXT_SIZE 20000

/* What it returns; *text (TEXT_SIZE) is what it printed, *why the reason. */
static int check(const struct sample *s, char *text, struct error *why)
{
    FILE *out = fmemopen(text, TEXT_SIZE, "w");
    int rc;

    memset(text, 0, TEXT_SIZE);
    why->text[0] = 0;
    assert_non_null(out);
    rc = store_check(s->directory, out, why);
    fclose(out);
    return rc;
}

static void expect_sound(const struct sample *s, const char *summary)
{
    static char text[TEXT_SIZE];
    struct error why;

    if (check(s, text, &why) < 0)
        fail_msg("%s\n%s", why.text, text);
    assert_string_equal(text, summary);
}

/* Each file's name, size, times and contents in one number. */
static uint64_t fingerprint(const char *directory, uint64_t sum)
{
    DIR *stream = opendir(directory);
    struct dirent *entry;
    uint64_t all = sum;

    assert_non_null(stream);
    while ((entry = readdir(stream))) {
        uint64_t one = 14695981039346656037ULL;
        char path[512], data[4096];
        struct stat file;
        ssize_t n;
        int fd;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        assert_int_equal(stat(path, &file), 0);
        for (const char *c = path; *c; c++)
            one = (one ^ (uint64_t)*c) * 1099511628211ULL;
        one = (one ^ (uint64_t)file.st_mtim.tv_nsec ^ (uint64_t)file.st_size) * 1099511628211ULL;
        if (S_ISDIR(file.st_mode)) {
            all += fingerprint(path, one);
            continue;
        }
        fd = open(path, O_RDONLY);
        while ((n = read(fd, data, sizeof(data))) > 0)
            for (ssize_t i = 0; i < n; i++)
                one = (one ^ (unsigned char)data[i]) * 1099511628211ULL;
        close(fd);
        all += one;
    }
    closedir(stream);
    return all;
}

/* A batch, ended and live jobs, labels, attempts, bodies inline and in a file. */
static int fill(void *arg)
{
    struct place *p = arg;
    struct batch b = sample_batch(3);
    struct job *j = sample_full(), **members = sample_jobs(&b);
    struct sample_step step;
    struct checkpoint *c = &step.checkpoint;

    j->held = false;
    assert_int_equal(store_insert(p->store, &j, 1, (struct store_outcome[1]){ 0 }), 0);
    assert_int_equal(
            store_insert_batch(p->store, &b, members, 3, NULL, &(struct store_outcome){ 0 }), 0);
    sample_step_init(&step, j, JOB_WAITING, "x");
    assert_int_equal(store_checkpoint(p->store, &c, 1, NULL), 0);
    sample_step_apply(&step);
    sample_step_init(&step, members[0], JOB_SUCCEEDED, NULL);
    sample_step_use_file(p->sample, &step, 70000);
    step.checkpoint.finished_seq = 1;
    assert_int_equal(store_checkpoint(p->store, &c, 1, NULL), 0);
    sample_step_apply(&step);
    job_unref(j);
    sample_jobs_free(members, 3);
    return 0;
}

#define FILLED "4 jobs, 1 batches, 1 body files: "

static void a_sound_store_stays_as_it_is(void **state)
{
    struct place *p = *state;
    uint64_t before;

    place_run(p, fill, p);
    place_close(p);
    before = fingerprint(p->sample->directory, 0);
    expect_sound(p->sample, FILLED "sound\n");
    assert_true(fingerprint(p->sample->directory, 0) == before);
}

/* The log is read where it is: what is in it is checked, and nothing is folded or recovered. */
static void so_does_what_a_crash_left(void **state)
{
    struct place *p = *state;
    char log[128];
    struct stat file;
    uint64_t before;
    int status;
    pid_t child = fork();

    if (child == 0) {
        place_run(p, fill, p);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    snprintf(log, sizeof(log), "%s-wal", p->sample->database);
    assert_int_equal(stat(log, &file), 0);
    assert_true(file.st_size > 8192);
    before = fingerprint(p->sample->directory, 0);
    expect_sound(p->sample, FILLED "sound\n");
    expect_sound(p->sample, FILLED "sound\n");
    assert_true(fingerprint(p->sample->directory, 0) == before);
    place_open(p);
    place_close(p);
    expect_sound(p->sample, FILLED "sound\n");
}

static void run_sql(const struct sample *s, const char *sql)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(s->database, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* One breach at a time, in the same store. */
static void each_broken_rule_is_found(void **state)
{
    static const struct {
        const char *sql, *text;
    } breaches[] = {
        { "DELETE FROM live WHERE key=(SELECT min(key) FROM live)", ": neither live nor ended" },
        { "INSERT INTO live(key, held, state, step, tries, attempts, due_us, started_us,"
          " delivered_us, waited_us, collected_us, failure, phase, retry_safe, message, status,"
          " answer_step, body_bytes, truncated, body_type) SELECT key, 0, state, step, tries, attempts, due_us, started_us,"
          " delivered_us, waited_us, collected_us, failure, phase, retry_safe, message, status,"
          " answer_step, body_bytes, truncated, body_type FROM done;"
          "UPDATE live SET state=0 WHERE state>1",
                ": both live and ended" },
        { "INSERT INTO paged VALUES(7, 0, 0, 0, 0, 0, 0)", "job 7: paged out, but not live" },
        { "DELETE FROM job WHERE key=(SELECT min(key) FROM job)", ": there is no such job" },
        { "INSERT INTO paged SELECT key, 0, 0, 1-held, due_us, 0, 0 FROM live LIMIT 1",
                ": paged out otherwise than it is" },
        { "INSERT INTO paged VALUES(7, 0, 0, 0, 0, 0, 0)", "job 7: paged out, but not live" },
        { "INSERT INTO label VALUES(7, 0, 'a', 'b')", "label a of job 7: there is no such job" },
        { "INSERT INTO attempt VALUES(7, 0, x'00')", "attempts of job 7: there is no such job" },
        { "INSERT INTO answer(key, truncated) VALUES(56, 0)",
                "answer 0 of job 7: there is no such job" },
        { "DELETE FROM label WHERE seq=3", " labels, not 16" },
        { "UPDATE job SET kind=2", "a kind, an executor or the like that does not exist" },
        { "UPDATE live SET state=2", ": live with state 2" },
        { "UPDATE live SET step=9", " and step 9" },
        { "UPDATE done SET state=1", ": ended with state 1" },
        { "DELETE FROM batch", " does not exist" },
        { "UPDATE done SET batch_key=5", ": ended in batch 5, but is of batch" },
        { "UPDATE live SET held=1", ": held, but no batch that runs has it" },
        { "UPDATE batch SET state=2", " but has not ended" },
        { "UPDATE done SET answer_step=3", ": its answer of step 3 is missing" },
        { "UPDATE answer SET bytes=5 WHERE data IS NOT NULL", " bytes of body, not 5" },
        { "UPDATE batch SET run=7", ": has a state, a run or the like" },
        { "UPDATE batch SET total=5", ": has 3 of 5 jobs" },
        { "UPDATE batch SET state=3, jobs_failed=1, jobs_succeeded=2",
                ": says that of its jobs 2 succeeded, 1 failed, 0 were cancelled; it is 1, 0, 0" },
        { "DELETE FROM ended", ": ended, but not listed as that" },
        { "INSERT INTO ended(keys) SELECT keys FROM ended", ": listed as ended twice" },
        { "UPDATE ended SET keys=CAST('0000000000000007' || keys AS BLOB)",
                "job 7: listed as ended, but has not" },
        { "INSERT INTO ended(keys) VALUES(CAST('7fffffffffffffff' AS BLOB))",
                "job 9223372036854775807: listed as ended, but has not" },
        { "UPDATE ended SET id=5, keys=CAST(keys || '0' AS BLOB)",
                "row 5 of the ended jobs: no list of keys" },
        { "UPDATE ended SET id=5, keys=CAST(replace(keys, '0', 'G') AS BLOB)",
                "row 5 of the ended jobs: no list of keys" },
        { "UPDATE answer SET file='../lock' WHERE file IS NOT NULL",
                "not the name of a body file" },
        { "UPDATE answer SET bytes=5 WHERE file IS NOT NULL", ": 70000 bytes, not 5" },
        { "UPDATE answer SET file='gone' WHERE file IS NOT NULL", "bodies/gone: No such file" },
    };
    struct place *p = *state;
    static char text[TEXT_SIZE];
    char command[300];
    struct error why;

    place_run(p, fill, p);
    place_close(p);
    snprintf(command, sizeof(command), "cp %s %s.kept", p->sample->database, p->sample->database);
    assert_int_equal(system(command), 0);
    for (size_t i = 0; i < ARRAY_LEN(breaches); i++) {
        run_sql(p->sample, breaches[i].sql);
        if (check(p->sample, text, &why) != -EBADMSG || !strstr(text, breaches[i].text) ||
                !strstr(text, " fault"))
            fail_msg("%s\n%s%s", breaches[i].sql, text, why.text);
        assert_non_null(strstr(why.text, "is damaged"));
        assert_null(strstr(text, "sound"));
        snprintf(command, sizeof(command), "cp %s.kept %s", p->sample->database,
                p->sample->database);
        assert_int_equal(system(command), 0);
    }
    expect_sound(p->sample, FILLED "sound\n");
}

static void many_faults_are_counted(void **state)
{
    struct place *p = *state;
    static char text[TEXT_SIZE];
    struct error why;
    int lines = 0;

    place_run(p, fill, p);
    place_close(p);
    run_sql(p->sample, "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n WHERE x<250)"
                       " INSERT INTO label SELECT x, 0, 'a', 'b' FROM n");
    assert_int_equal(check(p->sample, text, &why), -EBADMSG);
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 100 + 2);
    assert_non_null(strstr(text, "and 150 more\n" FILLED "250 faults\n"));
}

static void damaged_pages_are_found(void **state)
{
    struct place *p = *state;
    static char text[TEXT_SIZE];
    struct error why;
    char garbage[400];
    struct stat file;
    int fd, found = 0, n = 0;

    place_run(p, fill, p);
    place_close(p);
    memset(garbage, 0xa5, sizeof(garbage));
    fd = open(p->sample->database, O_RDWR);
    assert_int_equal(fstat(fd, &file), 0);
    for (off_t at = 8192; at < file.st_size; at += 8192) {
        char before[sizeof(garbage)];

        assert_int_equal(pread(fd, before, sizeof(before), at), sizeof(before));
        assert_int_equal(pwrite(fd, garbage, sizeof(garbage), at), sizeof(garbage));
        found += check(p->sample, text, &why) == -EBADMSG;
        n++;
        assert_int_equal(pwrite(fd, before, sizeof(before), at), sizeof(before));
    }
    close(fd);
    /* A large body's page is bytes to SQLite, all of them as good as any. */
    assert_true(found > n / 2);
    expect_sound(p->sample, FILLED "sound\n");
}

static void what_is_no_store_is_said(void **state)
{
    struct place *p = *state;
    static char text[TEXT_SIZE];
    struct error why;

    assert_int_equal(check(p->sample, text, &why), -ENOENT);
    assert_non_null(strstr(why.text, "baedal.db"));
    sample_write_file(p->sample->directory, "baedal.db", 0);
    expect_sound(p->sample, "0 jobs, 0 batches, 0 body files: sound\n");
    sample_write_file(p->sample->directory, "baedal.db", 10000);
    assert_int_equal(check(p->sample, text, &why), -EBADMSG);
    unlink(p->sample->database);
    place_open(p);
    assert_int_equal(check(p->sample, text, &why), -EBUSY);
    assert_non_null(strstr(why.text, "in use by process"));
    place_close(p);
    run_sql(p->sample, "PRAGMA user_version=1");
    assert_int_equal(check(p->sample, text, &why), 0);
    assert_non_null(strstr(text, "older version"));
    run_sql(p->sample, "PRAGMA user_version=99");
    assert_int_equal(check(p->sample, text, &why), -ENOTSUP);
    assert_non_null(strstr(why.text, "newer version"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACE_TEST(a_sound_store_stays_as_it_is),
        PLACE_TEST(so_does_what_a_crash_left),
        PLACE_TEST(each_broken_rule_is_found),
        PLACE_TEST(many_faults_are_counted),
        PLACE_TEST(damaged_pages_are_found),
        PLACE_TEST(what_is_no_store_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
