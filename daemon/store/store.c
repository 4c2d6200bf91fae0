#include "daemon/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/store/backups.h"
#include "daemon/store/bodies.h"
#include "daemon/store/lock.h"
#include "daemon/store/sqlite.h"
#include "daemon/store/sqlite_loading.h"
#include "daemon/store/store_internal.h"

/* SQLite would create it for all to read; the files beside it get its mode. */
static int store_create_file(struct store *s, const char *directory, struct error *ret_why)
{
    int fd = openat(s->lock.directory_fd, SQLITE_DATABASE_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return error_set(ret_why, -errno, "can't open %s/%s: %s", directory, SQLITE_DATABASE_NAME,
                strerror(errno));
    close(fd);
    if (fsync(s->lock.directory_fd) < 0)
        return error_set(ret_why, -errno, "can't sync %s: %s", directory, strerror(errno));
    return 0;
}

/* What to do about one that can't be opened. */
static int store_advise(const char *directory, int rc, struct error *why)
{
    char text[sizeof(why->text)];

    if (rc != -EBADMSG && rc != -ENOTSUP)
        return rc;
    snprintf(text, sizeof(text), "%s", why->text);
    if (rc == -EBADMSG)
        return error_set(why, rc,
                "%.*s; nothing was changed. Put a backup in its place (%s/backups has them, if any"
                " was made), or move %s away to begin with an empty one",
                300, text, directory, directory);
    return error_set(why, rc,
            "%.*s; nothing was changed. Start that version again, or move %s away", 300, text,
            directory);
}

static int store_open_database(
        struct store *s, const struct store_options *o, struct error *ret_why)
{
    char *path CLEANUP(cleanup_free) = NULL;
    int rc = store_create_file(s, o->directory, ret_why);

    if (rc < 0)
        return rc;
    if (asprintf(&path, "%s/%s", o->directory, SQLITE_DATABASE_NAME) < 0)
        return error_set(ret_why, -ENOMEM, "out of memory");
    rc = sqlite_open(
            &(struct sqlite_options){ .path = path, .relaxed = o->relaxed }, &s->db, ret_why);
    if (rc < 0)
        return store_advise(o->directory, rc, ret_why);
    while ((rc = loading_drop_slice(s->db)) > 0)
        ;
    if (rc < 0)
        return error_set(
                ret_why, rc, "%s: can't drop an unfinished batch: %s", path, strerror(-rc));
    return bodies_sweep(s->bodies_fd, s->db, ret_why);
}

static int store_start(struct store *s, const struct store_options *o, void (*failed)(void *arg),
        void *arg, struct error *ret_why)
{
    struct worker_options worker;
    int rc = lock_take(o->directory, &s->lock, ret_why);

    if (rc == 0)
        rc = bodies_open(s->lock.directory_fd, &s->bodies_fd, ret_why);
    if (rc == 0)
        rc = store_open_database(s, o, ret_why);
    if (rc < 0)
        return rc;
    backups_sweep(s->lock.directory_fd);
    space_init(&s->space, &(struct space_options){
                                  .directory_fd = s->lock.directory_fd,
                                  .min_free_bytes = o->min_free_bytes,
                                  .ballast_bytes = o->ballast_bytes,
                          });
    worker = (struct worker_options){
        .db = s->db,
        .space = &s->space,
        .bodies_fd = s->bodies_fd,
        .relaxed = o->relaxed,
        .failed = failed,
        .arg = arg,
    };
    rc = worker_start(&s->worker, &worker);
    if (rc < 0)
        return error_set(ret_why, rc, "can't start the store thread: %s", strerror(-rc));
    s->started = true;
    return 0;
}

int store_open(const struct store_options *options, void (*failed)(void *arg), void *arg,
        struct store **ret, struct error *ret_why)
{
    struct store *s = calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return error_set(ret_why, -ENOMEM, "out of memory");
    s->lock = (struct lock){ -1, -1 };
    s->bodies_fd = -1;
    s->directory = strdup(options->directory);
    rc = s->directory ? store_start(s, options, failed, arg, ret_why)
                      : error_set(ret_why, -ENOMEM, "out of memory");
    if (rc < 0) {
        store_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

struct store *store_close(struct store *s)
{
    if (!s)
        return NULL;
    if (s->started)
        worker_stop(&s->worker);
    sqlite_close(s->db);
    cleanup_close(&s->bodies_fd);
    lock_release(&s->lock);
    free(s->directory);
    free(s);
    return NULL;
}

int store_bodies_fd(const struct store *s)
{
    return s->bodies_fd;
}

int64_t store_last_key(const struct store *s)
{
    return sqlite_last_key(s->db);
}

void store_body_done(struct store_body *b)
{
    body_done(&b->body);
    free(b->type);
    b->type = NULL;
}

void store_page_done(struct store_page *p)
{
    for (size_t i = 0; i < p->n; i++)
        job_unref(p->jobs[i]);
    free(p->jobs);
    *p = (struct store_page){ 0 };
}

void store_batches_done(struct store_batches *b)
{
    free(b->batches);
    *b = (struct store_batches){ 0 };
}
