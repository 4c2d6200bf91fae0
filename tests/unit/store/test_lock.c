#include "daemon/store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/store/sample.h"

static void a_second_taker_is_told_who_has_it(void **state)
{
    struct sample *s = *state;
    struct lock first, second;
    struct error why;
    char pid[32];

    snprintf(pid, sizeof(pid), "process %d", (int)getpid());
    assert_int_equal(lock_take(s->directory, &first, &why), 0);
    assert_int_equal(lock_take(s->directory, &second, &why), -EBUSY);
    assert_non_null(strstr(why.text, pid));
    assert_non_null(strstr(why.text, s->directory));
    lock_release(&first);
    assert_int_equal(lock_take(s->directory, &second, &why), 0);
    lock_release(&second);
    lock_release(&second);
}

static void it_goes_with_its_process(void **state)
{
    struct sample *s = *state;
    struct lock lock;
    struct error why;
    int status, ready[2];
    char byte;
    pid_t child;

    assert_int_equal(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        if (lock_take(s->directory, &lock, &why) < 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(lock_take(s->directory, &lock, &why), -EBUSY);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(lock_take(s->directory, &lock, &why), 0);
    lock_release(&lock);
    close(ready[0]);
    close(ready[1]);
}

static void a_missing_directory_is_made(void **state)
{
    struct sample *s = *state;
    struct stat made;
    struct lock lock;
    struct error why;
    char path[128];

    snprintf(path, sizeof(path), "%s/a", s->directory);
    assert_int_equal(lock_take(path, &lock, &why), 0);
    assert_int_equal(fstat(lock.directory_fd, &made), 0);
    assert_int_equal(made.st_mode & 07777, 0700);
    unlinkat(lock.directory_fd, "lock", 0);
    lock_release(&lock);
    rmdir(path);

    snprintf(path, sizeof(path), "%s/a/b", s->directory);
    assert_int_equal(lock_take(path, &lock, &why), -ENOENT);
    assert_non_null(strstr(why.text, path));
}

/* In a child that is nobody, since root may write anywhere. */
static void an_unwritable_directory_is_refused(void **state)
{
    struct sample *s = *state;
    int status;
    pid_t child;

    assert_int_equal(chmod(s->directory, 0555), 0);
    child = fork();
    if (child == 0) {
        struct lock lock;
        struct error why;

        if (geteuid() == 0 && setuid(65534) < 0)
            _exit(2);
        if (lock_take(s->directory, &lock, &why) != -EACCES || !strstr(why.text, s->directory))
            _exit(1);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(chmod(s->directory, 0700), 0);
}

/* In a child whose files can't grow, which is what a full disk looks like. */
static void a_full_disk_does_not_keep_it_from_being_taken(void **state)
{
    struct sample *s = *state;
    int status;
    pid_t child = fork();

    if (child == 0) {
        struct rlimit none = { 0, 0 };
        struct lock lock, second;
        struct error why;

        signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &none) < 0 || lock_take(s->directory, &lock, &why) < 0)
            _exit(1);
        if (lock_take(s->directory, &second, &why) != -EBUSY ||
                !strstr(why.text, "another process"))
            _exit(2);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAMPLE_TEST(a_second_taker_is_told_who_has_it),
        SAMPLE_TEST(it_goes_with_its_process),
        SAMPLE_TEST(a_missing_directory_is_made),
        SAMPLE_TEST(an_unwritable_directory_is_refused),
        SAMPLE_TEST(a_full_disk_does_not_keep_it_from_being_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
