#include "web_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_MAX (256 * 1024)
#define CONNECTIONS 1024

struct web_server {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int fd;
    uint16_t port;
    unsigned n_requests, n_connections, n_open;
    unsigned n_again; /* second answers that were sent */
    unsigned n_ended; /* by the client after that */
    bool again;
    char *last;
    pthread_t threads[CONNECTIONS];
    int fds[CONNECTIONS]; /* -1: closed by its thread */
};

/* One connection. */
struct talk {
    struct web_server *server;
    unsigned index;
    int fd;
    unsigned n; /* requests so far, this one included */
    char path[8192];
    char *request; /* header and body */
    size_t request_bytes;
};

static void say(struct talk *t, const void *data, size_t n)
{
    const char *p = data;

    while (n > 0) {
        ssize_t sent = send(t->fd, p, n, MSG_NOSIGNAL);

        if (sent <= 0)
            return;
        p += sent;
        n -= (size_t)sent;
    }
}

__attribute__((format(printf, 2, 3))) static void sayf(struct talk *t, const char *format, ...)
{
    char text[4096];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    say(t, text, (size_t)n);
}

static void reset(struct talk *t)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };

    setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/* Until the client goes away. */
static void wait_for_end(struct talk *t)
{
    char byte;

    while (recv(t->fd, &byte, 1, 0) > 0)
        ;
}

static bool serve_ok(struct talk *t)
{
    sayf(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Path: %s\r\nX-Two:  a \r\nx-two: b\r\n\r\nhello",
            t->path);
    return true;
}

static bool serve_echo(struct talk *t)
{
    sayf(t, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", t->request_bytes);
    if (strncmp(t->request, "HEAD ", 5) != 0)
        say(t, t->request, t->request_bytes);
    return true;
}

static bool serve_reset(struct talk *t)
{
    reset(t);
    return false;
}

static bool serve_close(struct talk *t)
{
    (void)t;
    return false;
}

static bool serve_silent(struct talk *t)
{
    wait_for_end(t);
    return false;
}

static bool serve_partial(struct talk *t)
{
    sayf(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nforty bytes of the hundred, and no more.");
    return false;
}

static bool serve_stuck(struct talk *t)
{
    sayf(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nforty bytes of the hundred, and no more.");
    wait_for_end(t);
    return false;
}

/* A byte of the body at that moment of the monotonic clock, in ns, and nothing more. */
static bool serve_byte_at(struct talk *t)
{
    long long at_ns = atoll(t->path + strlen("/byte-at/"));
    struct timespec at = { .tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000 };
    int on = 1;

    setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    sayf(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    say(t, "x", 1);
    wait_for_end(t);
    return false;
}

static bool serve_reset_in_body(struct talk *t)
{
    char byte;

    sayf(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
    /* The client must have read it before: a reset throws away what waits. */
    recv(t->fd, &byte, 1, MSG_DONTWAIT);
    usleep(50000);
    reset(t);
    return false;
}

static bool serve_chunked(struct talk *t)
{
    sayf(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            "5\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: no\r\n\r\n");
    return true;
}

static bool serve_bad_chunk(struct talk *t)
{
    sayf(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n");
    return false;
}

static bool serve_large(struct talk *t)
{
    size_t n = strtoul(t->path + strlen("/large/"), NULL, 10);
    bool chunked = strstr(t->path, "chunked") != NULL;
    char piece[4000];

    if (chunked)
        sayf(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    else
        sayf(t, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
    for (size_t i = 0; i < sizeof(piece); i++)
        piece[i] = (char)('a' + i % 26);
    for (size_t left = n; left > 0;) {
        size_t now = left < sizeof(piece) ? left : sizeof(piece);

        if (chunked)
            sayf(t, "%zx\r\n", now);
        say(t, piece, now);
        if (chunked)
            sayf(t, "\r\n");
        left -= now;
    }
    if (chunked)
        sayf(t, "0\r\n\r\n");
    return true;
}

static bool serve_endless_header(struct talk *t)
{
    sayf(t, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 100000; i++)
        sayf(t, "X-%d: %d\r\n", i, i);
    return false;
}

static bool serve_long_header(struct talk *t)
{
    char piece[1000];

    memset(piece, 'x', sizeof(piece));
    sayf(t, "HTTP/1.1 200 OK\r\nX: ");
    for (int i = 0; i < 200; i++)
        say(t, piece, sizeof(piece));
    sayf(t, "\r\n\r\n");
    return false;
}

static bool serve_length(struct talk *t)
{
    const char *kind = t->path + strlen("/length/");

    sayf(t, "HTTP/1.1 200 OK\r\nConnection: close\r\n%s\r\n\r\nhello",
            strcmp(kind, "fold") == 0     ? "Content-Length: 5\r\n 5"
            : strcmp(kind, "coding") == 0 ? "Transfer-Encoding: chunked\r\n , gzip"
            : strcmp(kind, "two") == 0    ? "Content-Length: 2\r\nContent-Length: 5"
            : strcmp(kind, "same") == 0   ? "Content-Length: 5\r\nContent-Length: 5"
            : strcmp(kind, "minus") == 0  ? "Content-Length: -5"
            : strcmp(kind, "huge") == 0   ? "Content-Length: 9007199254740993"
            : strcmp(kind, "vast") == 0   ? "Content-Length: 99999999999999999999999"
            : strcmp(kind, "list") == 0   ? "Content-Length: 5, 5"
                                          : "Content-Length: five");
    return false;
}

static bool serve_switch(struct talk *t)
{
    sayf(t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: tea\r\nConnection: Upgrade\r\n\r\n");
    wait_for_end(t);
    return false;
}

static bool serve_early(struct talk *t)
{
    sayf(t, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    return serve_ok(t);
}

static bool serve_early_only(struct talk *t)
{
    sayf(t, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    wait_for_end(t);
    return false;
}

static bool serve_garbage(struct talk *t)
{
    sayf(t, "whatever this is\r\n\r\n");
    return false;
}

static bool serve_fold(struct talk *t)
{
    sayf(t, "HTTP/1.1 200 OK\r\nX-Long: a\r\n   b\r\n\tc\r\nContent-Length: 0\r\n\r\n");
    return true;
}

/* No answer before that many requests are there. */
static bool serve_together(struct talk *t)
{
    web_server_await(t->server, (unsigned)atoi(t->path + strlen("/together/")));
    return serve_ok(t);
}

/* A second answer that nobody asked for, when the test says so. */
static bool serve_twice(struct talk *t)
{
    struct web_server *s = t->server;

    serve_ok(t);
    pthread_mutex_lock(&s->mutex);
    while (!s->again)
        pthread_cond_wait(&s->changed, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
    sayf(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray");
    pthread_mutex_lock(&s->mutex);
    s->n_again++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    wait_for_end(t);
    pthread_mutex_lock(&s->mutex);
    s->n_ended++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    return false;
}

static bool serve_redirect(struct talk *t)
{
    sayf(t, "HTTP/1.1 302 Found\r\nLocation: ../there?x=1#top\r\nContent-Length: 0\r\n\r\n");
    return true;
}

static bool serve_retry(struct talk *t)
{
    sayf(t, "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
    return true;
}

static bool serve_empty(struct talk *t)
{
    sayf(t, "HTTP/1.1 204 No Content\r\n\r\n");
    return true;
}

static bool serve_old(struct talk *t)
{
    sayf(t, "HTTP/1.0 200 OK\r\n\r\nuntil the end");
    return false;
}

/* The first request of a connection is answered; the second finds nobody. */
static bool serve_stale(struct talk *t)
{
    return t->n == 1 ? serve_ok(t) : false;
}

static const struct {
    const char *prefix;
    bool (*serve)(struct talk *t); /* whether the connection goes on */
} script[] = {
    { "/ok", serve_ok },
    { "/echo", serve_echo },
    { "/reset-in-body", serve_reset_in_body },
    { "/reset", serve_reset },
    { "/close", serve_close },
    { "/silent", serve_silent },
    { "/partial", serve_partial },
    { "/stuck", serve_stuck },
    { "/byte-at/", serve_byte_at },
    { "/chunked", serve_chunked },
    { "/bad-chunk", serve_bad_chunk },
    { "/large/", serve_large },
    { "/endless-header", serve_endless_header },
    { "/long-header", serve_long_header },
    { "/length/", serve_length },
    { "/switch", serve_switch },
    { "/early-only", serve_early_only },
    { "/early", serve_early },
    { "/garbage", serve_garbage },
    { "/fold", serve_fold },
    { "/together/", serve_together },
    { "/twice", serve_twice },
    { "/redirect", serve_redirect },
    { "/retry", serve_retry },
    { "/empty", serve_empty },
    { "/old", serve_old },
    { "/stale", serve_stale },
};

static size_t body_bytes(const char *header)
{
    const char *p = strcasestr(header, "\r\ncontent-length:");

    return p ? strtoul(p + 17, NULL, 10) : 0;
}

/* False: the client is gone. */
static bool read_request(struct talk *t)
{
    char *buffer = malloc(REQUEST_MAX + 1), *end = NULL;
    size_t n = 0, need = 0;

    assert(buffer);
    while (!end || n < need) {
        ssize_t got = recv(t->fd, buffer + n, REQUEST_MAX - n, 0);

        if (got <= 0) {
            free(buffer);
            return false;
        }
        n += (size_t)got;
        buffer[n] = '\0';
        if (!end && (end = strstr(buffer, "\r\n\r\n")))
            need = (size_t)(end + 4 - buffer) + body_bytes(buffer);
    }
    free(t->request);
    t->request = buffer;
    t->request_bytes = n;
    t->n++;
    t->path[0] = '\0';
    sscanf(buffer, "%*s %8191s", t->path);
    return true;
}

static void note_request(struct talk *t)
{
    struct web_server *s = t->server;

    pthread_mutex_lock(&s->mutex);
    s->n_requests++;
    free(s->last);
    s->last = strdup(t->request);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}

static bool serve_request(struct talk *t)
{
    note_request(t);
    for (size_t i = 0; i < sizeof(script) / sizeof(script[0]); i++)
        if (strncmp(t->path, script[i].prefix, strlen(script[i].prefix)) == 0)
            return script[i].serve(t);
    sayf(t, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    return true;
}

static void *serve_connection(void *arg)
{
    struct talk *t = arg;
    struct web_server *s = t->server;

    while (read_request(t) && serve_request(t))
        ;
    pthread_mutex_lock(&s->mutex);
    s->fds[t->index] = -1;
    close(t->fd);
    s->n_open--;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    free(t->request);
    free(t);
    return NULL;
}

static void *serve(void *arg)
{
    struct web_server *s = arg;
    int fd;

    while ((fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct talk *t = calloc(1, sizeof(*t));

        assert(t && s->n_connections < CONNECTIONS);
        t->server = s;
        t->fd = fd;
        pthread_mutex_lock(&s->mutex);
        t->index = s->n_connections++;
        s->n_open++;
        s->fds[t->index] = fd;
        pthread_create(&s->threads[t->index], NULL, serve_connection, t);
        pthread_mutex_unlock(&s->mutex);
    }
    return NULL;
}

struct web_server *web_server_start(void)
{
    struct web_server *s = calloc(1, sizeof(*s));
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(a);
    int rc;

    assert(s);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    rc = bind(s->fd, (struct sockaddr *)&a, sizeof(a));
    assert(rc == 0);
    rc = listen(s->fd, 128);
    assert(rc == 0);
    getsockname(s->fd, (struct sockaddr *)&a, &size);
    s->port = ntohs(a.sin_port);
    rc = pthread_create(&s->thread, NULL, serve, s);
    assert(rc == 0);
    (void)rc;
    return s;
}

void web_server_stop(struct web_server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    pthread_mutex_lock(&s->mutex);
    for (unsigned i = 0; i < s->n_connections; i++)
        if (s->fds[i] >= 0)
            shutdown(s->fds[i], SHUT_RDWR);
    pthread_mutex_unlock(&s->mutex);
    for (unsigned i = 0; i < s->n_connections; i++)
        pthread_join(s->threads[i], NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->mutex);
    free(s->last);
    free(s);
}

uint16_t web_server_port(const struct web_server *s)
{
    return s->port;
}

unsigned web_server_requests(struct web_server *s)
{
    unsigned n;

    pthread_mutex_lock(&s->mutex);
    n = s->n_requests;
    pthread_mutex_unlock(&s->mutex);
    return n;
}

unsigned web_server_connections(struct web_server *s)
{
    unsigned n;

    pthread_mutex_lock(&s->mutex);
    n = s->n_connections;
    pthread_mutex_unlock(&s->mutex);
    return n;
}

void web_server_await(struct web_server *s, unsigned requests)
{
    pthread_mutex_lock(&s->mutex);
    while (s->n_requests < requests)
        pthread_cond_wait(&s->changed, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
}

void web_server_await_open(struct web_server *s, unsigned most)
{
    pthread_mutex_lock(&s->mutex);
    while (s->n_open > most)
        pthread_cond_wait(&s->changed, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
}

void web_server_answer_again(struct web_server *s)
{
    pthread_mutex_lock(&s->mutex);
    s->again = true;
    pthread_cond_broadcast(&s->changed);
    while (s->n_ended == 0)
        pthread_cond_wait(&s->changed, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
}

void web_server_send_again(struct web_server *s)
{
    pthread_mutex_lock(&s->mutex);
    s->again = true;
    pthread_cond_broadcast(&s->changed);
    while (s->n_again == 0)
        pthread_cond_wait(&s->changed, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
}

char *web_server_last(struct web_server *s)
{
    char *last;

    pthread_mutex_lock(&s->mutex);
    last = strdup(s->last ? s->last : "");
    pthread_mutex_unlock(&s->mutex);
    return last;
}
