/*
 * The files are replaced by rename, edited in place, are links to other places, or are mounted
 * from outside: so both the directories that name them and what they are now are watched.
 */
#include "daemon/transfer/resolve_files.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/log.h"
#include "daemon/base/loop.h"

#define SETTLE_US     100000
#define DIRECTORY_IN  (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE)
#define FILE_IN       (IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)
#define EVENTS_BUFFER 4096

struct resolve_files {
    const char *paths[2];
    char targets[2][PATH_MAX]; /* what the paths lead to */
    struct loop_watch watch;
    struct loop_timer settle;
    int fd;
    void (*changed)(void *arg);
    void *arg;
};

/* Nothing is said of what can't be watched: there may be no such file, and that may be right. */
static void files_watch(struct resolve_files *f, const char *path)
{
    char copy[PATH_MAX];

    inotify_add_watch(f->fd, path, FILE_IN);
    snprintf(copy, sizeof(copy), "%s", path);
    inotify_add_watch(f->fd, dirname(copy), DIRECTORY_IN | IN_MASK_ADD | IN_ONLYDIR);
}

static void files_watch_all(struct resolve_files *f)
{
    for (size_t i = 0; i < ARRAY_LEN(f->paths); i++) {
        if (!realpath(f->paths[i], f->targets[i]))
            snprintf(f->targets[i], sizeof(f->targets[i]), "%s", f->paths[i]);
        files_watch(f, f->paths[i]);
        files_watch(f, f->targets[i]);
    }
}

static bool files_has(const struct resolve_files *f, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(f->paths); i++)
        if (strcmp(name, strrchr(f->paths[i], '/') + 1) == 0 ||
                strcmp(name, strrchr(f->targets[i], '/') + 1) == 0)
            return true;
    return false;
}

static void files_settled(struct loop_timer *t)
{
    struct resolve_files *f = CONTAINER_OF(t, struct resolve_files, settle);

    files_watch_all(f);
    log_debug("the files for name resolution have changed");
    f->changed(f->arg);
}

static void files_ready(struct loop_watch *w, unsigned events)
{
    struct resolve_files *f = CONTAINER_OF(w, struct resolve_files, watch);
    _Alignas(struct inotify_event) char buffer[EVENTS_BUFFER];
    bool ours = false;
    ssize_t n;

    (void)events;
    while ((n = read(f->fd, buffer, sizeof(buffer))) > 0)
        for (char *p = buffer; p < buffer + n;) {
            const struct inotify_event *e = (const void *)p;

            if (e->mask & IN_IGNORED)
                ;
            else if (e->mask & IN_Q_OVERFLOW || e->len == 0 || files_has(f, e->name))
                ours = true;
            p += sizeof(*e) + e->len;
        }
    if (ours)
        loop_timer_set(&f->settle, SETTLE_US);
}

int resolve_files_new(struct loop *l, const char *resolv_conf, void (*changed)(void *arg),
        void *arg, struct resolve_files **ret)
{
    struct resolve_files *f = calloc(1, sizeof(*f));
    int rc;

    if (!f)
        return -ENOMEM;
    f->paths[0] = resolv_conf ? resolv_conf : "/etc/resolv.conf";
    f->paths[1] = "/etc/hosts";
    f->changed = changed;
    f->arg = arg;
    loop_timer_init(&f->settle, l, files_settled);
    f->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    rc = f->fd < 0 ? -errno : 0;
    if (rc == 0) {
        loop_watch_init(&f->watch, l, f->fd, files_ready);
        files_watch_all(f);
        rc = loop_watch_set(&f->watch, LOOP_READ);
    }
    if (rc < 0) {
        resolve_files_free(f);
        return rc;
    }
    *ret = f;
    return 0;
}

struct resolve_files *resolve_files_free(struct resolve_files *f)
{
    if (!f)
        return NULL;
    loop_watch_done(&f->watch);
    loop_timer_stop(&f->settle);
    if (f->fd >= 0)
        close(f->fd);
    free(f);
    return NULL;
}
