/*
 * flock(2) is the lock: it goes with the process, however that ends. The number in the file is for
 * people. The file is never removed: another process may have it open and wait to lock it.
 */
#include "daemon/store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"

#define LOCK_NAME "lock"

/* A directory that a power cut takes away takes all that is in it. */
static int lock_sync_parent(int directory_fd)
{
    int fd CLEANUP(cleanup_close) = openat(directory_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int lock_open_directory(const char *directory, struct error *ret_why)
{
    bool made = mkdir(directory, 0700) == 0;
    int fd CLEANUP(cleanup_close) = -1;
    int rc;

    if (!made && errno != EEXIST)
        return error_set(
                ret_why, -errno, "can't create the directory %s: %s", directory, strerror(errno));
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set(
                ret_why, -errno, "can't open the directory %s: %s", directory, strerror(errno));
    rc = made ? lock_sync_parent(fd) : 0;
    if (rc < 0)
        return error_set(
                ret_why, rc, "can't sync the directory above %s: %s", directory, strerror(-rc));
    return TAKE_FD(fd);
}

static long lock_holder(int fd)
{
    char text[32] = "";

    if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
        return 0;
    return strtol(text, NULL, 10);
}

static int lock_say_busy(int fd, const char *directory, struct error *ret_why)
{
    long pid = lock_holder(fd);

    if (pid > 0)
        return error_set(ret_why, -EBUSY, "%s is in use by process %ld", directory, pid);
    return error_set(ret_why, -EBUSY, "%s is in use by another process", directory);
}

/* A full disk leaves it out, and whoever finds the lock taken is not told by whom. */
static void lock_write_pid(int fd)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

    if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) != n)
        (void)!ftruncate(fd, 0);
}

static int lock_file(int directory_fd, const char *directory, struct error *ret_why)
{
    int fd CLEANUP(cleanup_close) =
            openat(directory_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return error_set(ret_why, -errno, "can't write into the directory %s: %s", directory,
                strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return lock_say_busy(fd, directory, ret_why);
        return error_set(
                ret_why, -errno, "can't lock %s/%s: %s", directory, LOCK_NAME, strerror(errno));
    }
    lock_write_pid(fd);
    return TAKE_FD(fd);
}

int lock_take(const char *directory, struct lock *ret, struct error *ret_why)
{
    int directory_fd CLEANUP(cleanup_close) = lock_open_directory(directory, ret_why);
    int file_fd;

    if (directory_fd < 0)
        return directory_fd;
    file_fd = lock_file(directory_fd, directory, ret_why);
    if (file_fd < 0)
        return file_fd;
    *ret = (struct lock){ .directory_fd = TAKE_FD(directory_fd), .file_fd = file_fd };
    return 0;
}

int lock_take_as_it_is(const char *directory, struct lock *ret, struct error *ret_why)
{
    int directory_fd CLEANUP(cleanup_close) = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int file_fd CLEANUP(cleanup_close) = -1;

    if (directory_fd < 0)
        return error_set(
                ret_why, -errno, "can't open the directory %s: %s", directory, strerror(errno));
    file_fd = openat(directory_fd, LOCK_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file_fd < 0 && errno != ENOENT)
        return error_set(
                ret_why, -errno, "can't open %s/%s: %s", directory, LOCK_NAME, strerror(errno));
    if (file_fd >= 0 && flock(file_fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? lock_say_busy(file_fd, directory, ret_why)
                                    : error_set(ret_why, -errno, "can't lock %s/%s: %s", directory,
                                              LOCK_NAME, strerror(errno));
    *ret = (struct lock){ .directory_fd = TAKE_FD(directory_fd), .file_fd = TAKE_FD(file_fd) };
    return 0;
}

void lock_release(struct lock *l)
{
    cleanup_close(&l->file_fd);
    cleanup_close(&l->directory_fd);
    l->file_fd = l->directory_fd = -1;
}
