/*
 * libdw and what it loads end their process when they find no memory, by exit() or worse. So they
 * work in a copy of this one, whose memory shows them the same modules at the same addresses. It
 * is asked for one address at a time, and lives until its side of the socket is closed. When it
 * does not answer it is killed, and debug information counts as not there from then on.
 */
#include "daemon/base/debuginfo.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/debuginfo_libdw.h"

#define READER_FD   3
#define PATIENCE_MS 20000 /* for one answer; the first one reads files of many MB */

struct debuginfo {
    int fd; /* -1: there is no reader any more */
    pid_t reader;
};

/* One message for each function, and an empty one behind them. */
struct finding {
    int line;
    char file[512]; /* "": not known */
    char function[256];
};

/* Nothing of the copied process is run or written at its end. */
static void reader_end(void)
{
    _exit(EXIT_FAILURE);
}

static void reader_crashed(int signal)
{
    (void)signal;
    reader_end();
}

/* Only the socket is left of what the copied process had open: nobody waits for us to close it. */
static void reader_detach(int fd)
{
    const int faults[] = { SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV };

    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        signal(faults[i], reader_crashed);
    if (atexit(reader_end) != 0 || (fd != READER_FD && dup2(fd, READER_FD) < 0) ||
            close_range(READER_FD + 1, ~0U, 0) < 0)
        reader_end();
}

/* debuginfo_found. */
static void reader_tell(void *unused, const char *function, const char *file, int line)
{
    struct finding f = { .line = line };

    (void)unused;
    snprintf(f.function, sizeof(f.function), "%s", function);
    snprintf(f.file, sizeof(f.file), "%s", file ? file : "");
    if (send(READER_FD, &f, sizeof(f), MSG_NOSIGNAL) < 0)
        reader_end();
}

__attribute__((noreturn)) static void reader_main(int fd)
{
    const struct finding last = { 0 };
    struct debuginfo_libdw *d;
    uintptr_t at;

    reader_detach(fd);
    d = debuginfo_libdw_open();
    while (d && recv(READER_FD, &at, sizeof(at), 0) == sizeof(at)) {
        debuginfo_libdw_find(d, at, reader_tell, NULL);
        if (send(READER_FD, &last, sizeof(last), MSG_NOSIGNAL) < 0)
            break;
    }
    _exit(EXIT_SUCCESS);
}

struct debuginfo *debuginfo_new(void)
{
    struct debuginfo *d = calloc(1, sizeof(*d));
    int pair[2];

    if (!d || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        free(d);
        return NULL;
    }
    d->reader = fork();
    if (d->reader == 0)
        reader_main(pair[1]);
    close(pair[1]);
    d->fd = pair[0];
    if (d->reader > 0)
        return d;
    close(d->fd);
    free(d);
    return NULL;
}

static void debuginfo_end_reader(struct debuginfo *d)
{
    if (d->fd < 0)
        return;
    close(d->fd);
    d->fd = -1;
    kill(d->reader, SIGKILL);
    while (waitpid(d->reader, NULL, 0) < 0 && errno == EINTR)
        ;
}

struct debuginfo *debuginfo_free(struct debuginfo *d)
{
    if (!d)
        return NULL;
    debuginfo_end_reader(d);
    free(d);
    return NULL;
}

static bool debuginfo_receive(const struct debuginfo *d, struct finding *ret)
{
    struct pollfd p = { .fd = d->fd, .events = POLLIN };
    int rc;

    do
        rc = poll(&p, 1, PATIENCE_MS);
    while (rc < 0 && errno == EINTR);
    return rc > 0 && recv(d->fd, ret, sizeof(*ret), 0) == sizeof(*ret);
}

void debuginfo_find(struct debuginfo *d, uintptr_t at, debuginfo_found found, void *arg)
{
    struct finding f;

    if (d->fd < 0)
        return;
    if (send(d->fd, &at, sizeof(at), MSG_NOSIGNAL) < 0) {
        debuginfo_end_reader(d);
        return;
    }
    while (debuginfo_receive(d, &f)) {
        if (!f.function[0])
            return;
        found(arg, f.function, f.file[0] ? f.file : NULL, f.line);
    }
    debuginfo_end_reader(d);
}
