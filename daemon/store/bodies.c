#include "daemon/store/bodies.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/failpoint.h"
#include "daemon/base/uuid7.h"
#include "daemon/store/sqlite.h"
#include "daemon/store/sqlite_purge.h"

#define REMOVE_SLICE 32 /* files: more than a slice of retention leaves behind */

int bodies_open(int directory_fd, int *ret_fd, struct error *ret_why)
{
    int fd;

    if (mkdirat(directory_fd, "bodies", 0700) == 0)
        fsync(directory_fd);
    else if (errno != EEXIST)
        return error_set(ret_why, -errno, "can't create bodies/: %s", strerror(errno));
    fd = openat(directory_fd, "bodies", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_set(ret_why, -errno, "can't open bodies/: %s", strerror(errno));
    *ret_fd = fd;
    return 0;
}

/* A name begins with its job's id. 1: a row has it. */
static int bodies_known(struct sqlite *db, const char *name)
{
    char text[UUID7_TEXT_SIZE] = "";
    struct uuid7 id;

    memcpy(text, name, strnlen(name, sizeof(text) - 1));
    if (uuid7_parse(text, &id) < 0)
        return 0;
    return sqlite_has_file(db, id.key, name);
}

static int bodies_sweep_stream(DIR *stream, struct sqlite *db)
{
    struct dirent *entry;
    struct stat file;
    int64_t bytes = 0;
    int known;

    while (errno = 0, entry = readdir(stream)) {
        if (entry->d_type == DT_DIR)
            continue;
        known = bodies_known(db, entry->d_name);
        if (known < 0)
            return known;
        if (!known)
            unlinkat(dirfd(stream), entry->d_name, 0);
        else if (fstatat(dirfd(stream), entry->d_name, &file, AT_SYMLINK_NOFOLLOW) == 0)
            bytes += file.st_size;
    }
    purge_set_file_bytes(db, bytes);
    return -errno;
}

int bodies_sweep(int fd, struct sqlite *db, struct error *ret_why)
{
    /* A descriptor of its own: the stream has a position and is closed. */
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = own < 0 ? NULL : fdopendir(own);
    int rc;

    if (!stream) {
        rc = -errno;
        cleanup_close(&own);
        return error_set(ret_why, rc, "can't read bodies/: %s", strerror(-rc));
    }
    rc = bodies_sweep_stream(stream, db);
    closedir(stream);
    return rc < 0 ? error_set(ret_why, rc, "can't clean up bodies/: %s", strerror(-rc)) : 0;
}

size_t bodies_remove(int fd, struct buf *names, size_t n)
{
    size_t at = 0;

    if (n > 0)
        failpoint(purge_before_unlink);
    for (unsigned i = 0; i < REMOVE_SLICE && at < n; i++) {
        unlinkat(fd, names->data + at, 0);
        failpoint(purge_half_unlinked);
        at += strlen(names->data + at) + 1;
    }
    buf_consume(names, at);
    return at;
}
