#include "api/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/framing.h"
#include "api/listen_address.h"
#include "api/reply.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/loop.h"
#include "daemon/base/notify.h"

#define LISTENER_BACKLOG 4096
#define ACCEPTS_AT_ONCE  64
#define ACCEPT_PAUSE_US  (CLOCK_US_PER_S / 10) /* when even the spare descriptor is of no use */
#define SOCKET_MODE      0660

struct listener_socket {
    struct loop_watch watch;
    struct listener *listener;
    int fd; /* -1: closed */
    union listen_address address;
    char text[LISTEN_ADDRESS_SIZE];
    char unlink[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "" when it is not ours */
};

struct listener {
    struct loop *loop;
    struct listener_socket sockets[LISTENER_SOCKETS_MAX];
    size_t n;
    int spare_fd; /* given up to accept and refuse one more client; -1: gone */
    struct loop_timer pause;
    void (*accepted)(void *arg, int fd, const struct sockaddr *address, socklen_t address_n);
    void *arg;
};

static int spare_open(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void listener_refuse(int fd, unsigned status, const char *detail)
{
    char text[512], scrap[2048];
    size_t n = reply_format_raw(status, detail, text, sizeof(text));

    /* Unread bytes would make the close a reset, which could overtake the answer. */
    (void)!recv(fd, scrap, sizeof(scrap), MSG_DONTWAIT);
    (void)!send(fd, text, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    (void)!recv(fd, scrap, sizeof(scrap), MSG_DONTWAIT);
    close(fd);
}

/* Out of descriptors: the spare one lets one client in, to be told so. */
static bool listener_refuse_one(struct listener *l, int fd)
{
    int client;

    if (l->spare_fd < 0)
        return false;
    close(l->spare_fd);
    client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client >= 0)
        listener_refuse(client, 503, reply_error_detail(-EMFILE));
    l->spare_fd = spare_open();
    return client >= 0;
}

static void listener_resume(struct loop_timer *t)
{
    struct listener *l = CONTAINER_OF(t, struct listener, pause);

    if (l->spare_fd < 0)
        l->spare_fd = spare_open();
    for (size_t i = 0; i < l->n; i++)
        if (l->sockets[i].fd >= 0)
            loop_watch_set(&l->sockets[i].watch, LOOP_READ);
}

static void listener_pause(struct listener *l)
{
    for (size_t i = 0; i < l->n; i++)
        loop_watch_set(&l->sockets[i].watch, 0);
    loop_timer_set(&l->pause, ACCEPT_PAUSE_US);
}

static void listener_ready(struct loop_watch *w, unsigned events)
{
    struct listener_socket *s = CONTAINER_OF(w, struct listener_socket, watch);
    struct listener *l = s->listener;

    (void)events;
    for (unsigned i = 0; i < ACCEPTS_AT_ONCE && s->fd >= 0; i++) {
        union listen_address address = { .any = { .sa_family = s->address.any.sa_family } };
        socklen_t n = sizeof(address);
        int fd = accept4(s->fd, &address.any, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            l->accepted(l->arg, fd, &address.any, n);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            if (listener_refuse_one(l, s->fd))
                continue;
            listener_pause(l);
        }
        return;
    }
}

/* A socket file that nobody listens on is what a crash left behind. */
static void unlink_stale(const union listen_address *a, socklen_t n)
{
    CLEANUP(cleanup_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stat st;

    if (fd < 0 || lstat(a->un.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return;
    if (connect(fd, &a->any, n) < 0 && errno == ECONNREFUSED)
        unlink(a->un.sun_path);
}

static int bind_socket(int fd, const union listen_address *a, socklen_t n)
{
    bool local = a->any.sa_family == AF_UNIX;

    if (local)
        unlink_stale(a, n);
    else if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) < 0)
        return -errno;
    if (a->any.sa_family == AF_INET6 &&
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){ 1 }, sizeof(int)) < 0)
        return -errno;
    if (bind(fd, &a->any, n) < 0)
        return -errno;
    if (local && chmod(a->un.sun_path, SOCKET_MODE) < 0)
        return -errno;
    return listen(fd, LISTENER_BACKLOG) < 0 ? -errno : 0;
}

/* Takes the descriptor over. */
static int listener_add(struct listener *l, int fd, const char *path)
{
    struct listener_socket *s = &l->sockets[l->n];
    socklen_t n = sizeof(s->address);

    *s = (struct listener_socket){ .listener = l, .fd = fd };
    if (getsockname(fd, &s->address.any, &n) < 0)
        return -errno;
    listen_address_format(&s->address, s->text);
    snprintf(s->unlink, sizeof(s->unlink), "%s", path);
    loop_watch_init(&s->watch, l->loop, fd, listener_ready);
    l->n++;
    return 0;
}

static int listener_bind(struct listener *l, const char *text, struct error *ret_why)
{
    CLEANUP(cleanup_close) int fd = -1;
    union listen_address address;
    socklen_t n = 0;
    int rc = listen_address_parse(text, &address, &n, ret_why);

    if (rc < 0)
        return rc;
    if (l->n == LISTENER_SOCKETS_MAX)
        return error_set(ret_why, -E2BIG, "can't listen on %s: %d addresses are the most", text,
                LISTENER_SOCKETS_MAX);
    fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    rc = fd < 0 ? -errno : bind_socket(fd, &address, n);
    if (rc == 0) {
        rc = listener_add(l, fd, address.any.sa_family == AF_UNIX ? address.un.sun_path : "");
        if (rc == 0)
            (void)TAKE_FD(fd);
    }
    return rc < 0 ? error_set(ret_why, rc, "can't listen on %s: %s", text, strerror(-rc)) : 0;
}

static int listener_inherit(struct listener *l, int fd, struct error *ret_why)
{
    int listening = 0, flags = fcntl(fd, F_GETFL);
    struct listener_socket *s = &l->sockets[l->n];

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &(socklen_t){ sizeof(int) }) < 0 ||
            !listening)
        return error_set(ret_why, -EINVAL,
                "descriptor %d of the service manager is no listening stream socket", fd);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || listener_add(l, fd, "") < 0)
        return error_set(ret_why, -EIO, "descriptor %d of the service manager can't be used", fd);
    if (s->address.any.sa_family != AF_UNIX && !listen_address_is_loopback(&s->address))
        return error_set(ret_why, -EPERM,
                "can't listen on %s, which the service manager handed over: only loopback "
                "addresses and Unix sockets are allowed, because the API has no authentication",
                s->text);
    return 0;
}

static int listener_open_all(struct listener *l, const char *const *listen, struct error *ret_why)
{
    int first = -1, n = notify_listen_fds(&first), rc = 0;

    if (n < 0)
        return error_set(
                ret_why, n, "can't take the sockets of the service manager: %s", strerror(-n));
    if (n > LISTENER_SOCKETS_MAX)
        return error_set(ret_why, -E2BIG,
                "the service manager handed over %d sockets: %d are the most", n,
                LISTENER_SOCKETS_MAX);
    for (int i = 0; i < n && rc == 0; i++)
        rc = listener_inherit(l, first + i, ret_why);
    for (; n == 0 && rc == 0 && *listen; listen++)
        rc = listener_bind(l, *listen, ret_why);
    if (rc == 0 && l->n == 0)
        rc = error_set(ret_why, -EINVAL, "api.listen names no address");
    return rc;
}

int listener_new(
        struct loop *loop, const char *const *listen, struct listener **ret, struct error *ret_why)
{
    struct listener *l = calloc(1, sizeof(*l));
    int rc;

    if (!l)
        return error_set(ret_why, -ENOMEM, "out of memory");
    l->loop = loop;
    l->spare_fd = spare_open();
    loop_timer_init(&l->pause, loop, listener_resume);
    rc = listener_open_all(l, listen, ret_why);
    if (rc < 0) {
        listener_free(l);
        return rc;
    }
    *ret = l;
    return 0;
}

int listener_start(struct listener *l,
        void (*accepted)(void *arg, int fd, const struct sockaddr *address, socklen_t address_n),
        void *arg)
{
    l->accepted = accepted;
    l->arg = arg;
    for (size_t i = 0; i < l->n; i++) {
        int rc = loop_watch_set(&l->sockets[i].watch, LOOP_READ);

        if (rc < 0)
            return rc;
        log_info("listening on %s", l->sockets[i].text);
    }
    return 0;
}

void listener_stop(struct listener *l)
{
    loop_timer_stop(&l->pause);
    for (size_t i = 0; i < l->n; i++) {
        struct listener_socket *s = &l->sockets[i];

        if (s->fd < 0)
            continue;
        loop_watch_done(&s->watch);
        if (s->unlink[0])
            unlink(s->unlink);
        close(s->fd);
        s->fd = -1;
    }
}

struct listener *listener_free(struct listener *l)
{
    if (!l)
        return NULL;
    listener_stop(l);
    if (l->spare_fd >= 0)
        close(l->spare_fd);
    free(l);
    return NULL;
}

static int host_list_add_port(struct host_list *hosts, const char *host, unsigned port)
{
    char text[LISTEN_ADDRESS_SIZE + 8];
    int rc;

    snprintf(text, sizeof(text), "%s:%u", host, port);
    rc = host_list_add(hosts, text);
    if (rc == 0 && port == 80)
        rc = host_list_add(hosts, host);
    return rc;
}

int listener_hosts(const struct listener *l, struct host_list *ret)
{
    int rc = 0;

    for (size_t i = 0; i < l->n && rc == 0; i++) {
        const union listen_address *a = &l->sockets[i].address;
        char host[LISTEN_ADDRESS_SIZE];
        unsigned port;

        if (a->any.sa_family == AF_UNIX)
            continue;
        port = ntohs(a->any.sa_family == AF_INET ? a->in.sin_port : a->in6.sin6_port);
        snprintf(host, sizeof(host), "%s", l->sockets[i].text);
        *strrchr(host, ':') = 0;
        rc = host_list_add_port(ret, host, port);
        if (rc == 0)
            rc = host_list_add_port(ret, "localhost", port);
    }
    return rc;
}
