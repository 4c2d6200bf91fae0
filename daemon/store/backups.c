#include "daemon/store/backups.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/failpoint.h"
#include "daemon/store/sqlite.h"

#define HALF_MADE     ".tmp"
#define HALF_MADE_MAX (BACKUPS_NAME_SIZE + sizeof(HALF_MADE))
#define COPY_BYTES    (1 << 20)
#define DIRECTORY     (O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)

static void backups_half_made(const struct backups_entry *e, char name[HALF_MADE_MAX])
{
    snprintf(name, HALF_MADE_MAX, "%s" HALF_MADE, e->name);
}

static void backups_name(char name[BACKUPS_NAME_SIZE])
{
    int64_t now_us = clock_wall_us();
    time_t seconds = now_us / CLOCK_US_PER_S;
    struct tm utc;
    size_t n;

    gmtime_r(&seconds, &utc);
    n = strftime(name, BACKUPS_NAME_SIZE, "%Y%m%dT%H%M%S", &utc);
    snprintf(name + n, BACKUPS_NAME_SIZE - n, ".%03uZ", (unsigned)(now_us % CLOCK_US_PER_S / 1000));
}

/* A directory of its own below another, opened. */
static int backups_make_directory(int above_fd, const char *name, int *ret_fd)
{
    if (mkdirat(above_fd, name, 0700) < 0)
        return -errno;
    *ret_fd = openat(above_fd, name, DIRECTORY);
    return *ret_fd < 0 ? -errno : 0;
}

static int backups_fill(struct backups_entry *e)
{
    int fd, rc = backups_make_directory(e->own_fd, "bodies", &e->bodies_fd);

    if (rc < 0)
        return rc;
    fd = openat(e->own_fd, SQLITE_DATABASE_NAME, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

int backups_begin(int directory_fd, int from_fd, struct backups_entry *ret)
{
    struct backups_entry e = { .above_fd = -1, .own_fd = -1, .bodies_fd = -1, .from_fd = from_fd };
    char name[HALF_MADE_MAX];
    int rc;

    if (mkdirat(directory_fd, BACKUPS_DIRECTORY, 0700) == 0) {
        if (fsync(directory_fd) < 0)
            return -errno;
    } else if (errno != EEXIST) {
        return -errno;
    }
    backups_name(e.name);
    backups_half_made(&e, name);
    e.above_fd = openat(directory_fd, BACKUPS_DIRECTORY, DIRECTORY);
    rc = e.above_fd < 0 ? -errno : backups_make_directory(e.above_fd, name, &e.own_fd);
    if (rc == 0)
        rc = backups_fill(&e);
    if (rc < 0)
        backups_end(&e);
    else
        *ret = e;
    return rc;
}

static int backups_copy(int from_fd, int to_fd)
{
    ssize_t n;

    while ((n = copy_file_range(from_fd, NULL, to_fd, NULL, COPY_BYTES, 0)) > 0)
        ;
    if (n < 0)
        return -errno;
    return fsync(to_fd) < 0 ? -errno : 0;
}

static int backups_copy_file(struct backups_entry *e, const char *name)
{
    int from_fd CLEANUP(cleanup_close) =
            openat(e->from_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int to_fd CLEANUP(cleanup_close) = -1;

    if (from_fd < 0)
        return -errno;
    to_fd = openat(e->bodies_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return to_fd < 0 ? -errno : backups_copy(from_fd, to_fd);
}

int backups_take_file(void *entry, const char *name)
{
    struct backups_entry *e = entry;
    struct stat file;
    int rc = 0;

    if (linkat(e->from_fd, name, e->bodies_fd, name, 0) < 0)
        rc = errno == ENOSPC || errno == EIO ? -errno : backups_copy_file(e, name);
    if (rc == 0 && fstatat(e->bodies_fd, name, &file, AT_SYMLINK_NOFOLLOW) < 0)
        rc = -errno;
    if (rc == 0)
        e->bytes += file.st_size;
    return rc;
}

static int backups_sync_database(struct backups_entry *e)
{
    int fd CLEANUP(cleanup_close) =
            openat(e->own_fd, SQLITE_DATABASE_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct stat file;

    if (fd < 0 || fstat(fd, &file) < 0 || fsync(fd) < 0)
        return -errno;
    e->bytes += file.st_size;
    return 0;
}

int backups_publish(struct backups_entry *e)
{
    char name[HALF_MADE_MAX];
    int rc = backups_sync_database(e);

    if (rc < 0)
        return rc;
    if (fsync(e->bodies_fd) < 0 || fsync(e->own_fd) < 0)
        return -errno;
    failpoint(backup_before_rename);
    backups_half_made(e, name);
    if (renameat(e->above_fd, name, e->above_fd, e->name) < 0)
        return -errno;
    failpoint(backup_after_rename);
    return fsync(e->above_fd) < 0 ? -errno : 0;
}

/* Files, and directories of files. */
static void backups_remove(int above_fd, const char *name, bool deeper)
{
    int fd = openat(above_fd, name, DIRECTORY);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!stream) {
        cleanup_close(&fd);
        return;
    }
    while ((entry = readdir(stream)))
        if (unlinkat(dirfd(stream), entry->d_name, 0) < 0 && errno == EISDIR && deeper &&
                entry->d_name[0] != '.')
            backups_remove(dirfd(stream), entry->d_name, false);
    closedir(stream);
    unlinkat(above_fd, name, AT_REMOVEDIR);
}

void backups_end(struct backups_entry *e)
{
    char name[HALF_MADE_MAX];

    backups_half_made(e, name);
    if (e->above_fd >= 0)
        backups_remove(e->above_fd, name, true);
    cleanup_close(&e->bodies_fd);
    cleanup_close(&e->own_fd);
    cleanup_close(&e->above_fd);
}

void backups_sweep(int directory_fd)
{
    int fd = openat(directory_fd, BACKUPS_DIRECTORY, DIRECTORY);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!stream) {
        cleanup_close(&fd);
        return;
    }
    while ((entry = readdir(stream))) {
        size_t n = strlen(entry->d_name);

        if (n > strlen(HALF_MADE) && strcmp(entry->d_name + n - strlen(HALF_MADE), HALF_MADE) == 0)
            backups_remove(dirfd(stream), entry->d_name, true);
    }
    closedir(stream);
}
