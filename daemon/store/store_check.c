/* The check of a state directory or of a backup. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/base/cleanup.h"
#include "daemon/store/lock.h"
#include "daemon/store/sqlite.h"
#include "daemon/store/sqlite_check.h"
#include "daemon/store/store.h"

static int check_sum_up(const struct check *c, struct error *ret_why, const char *directory)
{
    if (c->faults > CHECK_LINES_MAX)
        fprintf(c->out, "and %lld more\n", (long long)(c->faults - CHECK_LINES_MAX));
    fprintf(c->out, "%lld jobs, %lld batches, %lld body files: ", (long long)c->jobs,
            (long long)c->batches, (long long)c->files);
    if (c->faults == 0)
        fprintf(c->out, "sound\n");
    else
        fprintf(c->out, "%lld %s\n", (long long)c->faults, c->faults == 1 ? "fault" : "faults");
    if (ferror(c->out))
        return error_set(ret_why, -EIO, "can't write what was found");
    if (c->faults > 0)
        return error_set(ret_why, -EBADMSG, "%s is damaged", directory);
    return 0;
}

static int check_locked(const char *directory, int directory_fd, FILE *out, struct error *ret_why)
{
    int bodies_fd CLEANUP(cleanup_close) =
            openat(directory_fd, "bodies", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    char *path CLEANUP(cleanup_free) = NULL;
    struct check c = { .out = out };
    struct stat file;
    int rc;

    if (bodies_fd < 0 && errno != ENOENT)
        return error_set(ret_why, -errno, "can't open %s/bodies: %s", directory, strerror(errno));
    if (asprintf(&path, "%s/" SQLITE_DATABASE_NAME, directory) < 0) {
        path = NULL;
        return error_set(ret_why, -ENOMEM, "out of memory");
    }
    if (fstatat(directory_fd, SQLITE_DATABASE_NAME, &file, 0) < 0)
        return error_set(ret_why, -errno, "%s: %s", path, strerror(errno));
    rc = sqlite_check(path, bodies_fd, &c, ret_why);
    return rc < 0 ? rc : check_sum_up(&c, ret_why, directory);
}

int store_check(const char *directory, FILE *out, struct error *ret_why)
{
    struct lock lock = { -1, -1 };
    int rc = lock_take_as_it_is(directory, &lock, ret_why);

    if (rc == 0)
        rc = check_locked(directory, lock.directory_fd, out, ret_why);
    lock_release(&lock);
    return rc;
}
