#include "tests/unit/api/server_fixture.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/server.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/loop.h"
#include "daemon/co/co.h"
#include "tests/unit/api/fake_service.h"

struct fixture_child {
    struct loop *loop;
    struct loop_signal signals;
    struct co_event term;
    struct api *api;
    struct service *service;
};

static void on_signal(struct loop_signal *s, int number)
{
    (void)number;
    co_event_set(&CONTAINER_OF(s, struct fixture_child, signals)->term);
}

static int child_main(void *arg)
{
    struct fixture_child *c = arg;
    int rc = api_start(c->api, c->service);

    if (rc == 0)
        rc = co_event_wait(&c->term);
    if (rc == 0)
        rc = api_stop(c->api, clock_mono_ns() + 2000000000LL);
    return rc;
}

int server_fixture_serve(const char *const *listen, const struct server_fixture_options *options,
        const char *directory)
{
    struct api_options api_options = { .listen = listen,
        .max_wait_us = 300 * CLOCK_US_PER_S,
        .max_body_bytes = options->max_body_bytes ? options->max_body_bytes : 8 << 20,
        .max_bulk_bytes = options->max_bulk_bytes ? options->max_bulk_bytes : 64 << 20,
        .max_lines = options->max_lines ? options->max_lines : 100000,
        .max_connections = options->max_connections ? options->max_connections : 10000,
        .max_connections_per_client =
                options->max_connections_per_client ? options->max_connections_per_client : 10000,
        .max_waiters = options->max_waiters ? options->max_waiters : 9000,
        .request_memory_bytes =
                options->request_memory_bytes ? options->request_memory_bytes : 256 << 20,
        .answer_memory_bytes =
                options->answer_memory_bytes ? options->answer_memory_bytes : 256 << 20,
        .header_timeout_us = options->header_timeout_us ? options->header_timeout_us : 5000000,
        .body_timeout_us = options->body_timeout_us ? options->body_timeout_us : 30000000,
        .write_timeout_us = options->write_timeout_us ? options->write_timeout_us : 60000000 };
    struct co_options co_options = { .max_tasks = 400000, .max_threads = 4 };
    const char *level = getenv("TEST_LOG");
    struct log_options log_options = { LOG_LEVEL_ERROR };
    struct fixture_child c = { 0 };
    struct error why = { "" };
    int bodies_fd, fd, rc;

    if (level)
        log_level_parse(level, &log_options.level);
    log_setup(&log_options);
    signal(SIGPIPE, SIG_IGN);
    bodies_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fd = openat(bodies_fd, "large", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    rc = fd < 0 ? -errno : ftruncate(fd, 200000);
    close(fd);
    if (options->descriptors)
        setrlimit(RLIMIT_NOFILE,
                &(struct rlimit){ (rlim_t)options->descriptors, (rlim_t)options->descriptors });
    c.service = fake_service_new(bodies_fd);
    co_event_init(&c.term);
    if (rc == 0)
        rc = loop_new(&c.loop);
    if (rc == 0)
        rc = loop_signal_init(&c.signals, c.loop, (int[]){ SIGTERM, SIGINT }, 2, on_signal);
    if (rc == 0)
        rc = api_new(c.loop, &api_options, &c.api, &why);
    if (rc == 0)
        rc = co_run(c.loop, &co_options, child_main, &c);
    if (rc < 0)
        fprintf(stderr, "server: %s %s\n", strerror(-rc), why.text);
    api_free(c.api);
    fake_service_free(c.service);
    loop_signal_done(&c.signals);
    loop_free(c.loop);
    close(bodies_fd);
    return rc < 0;
}

/* Both sockets are made here and inherited, so connecting to them works at once. */
static int listen_tcp(unsigned *ret_port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, n) == 0 && listen(fd, 4096) == 0);
    getsockname(fd, (struct sockaddr *)&address, &n);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static int listen_unix(const char *path)
{
    struct sockaddr_un {
        sa_family_t family;
        char path[108];
    } address = { .family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.path, sizeof(address.path), "%s", path);
    assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
            listen(fd, 4096) == 0);
    return fd;
}

static void hand_over(int tcp, int local)
{
    char pid[16];
    int high_tcp = fcntl(tcp, F_DUPFD, 100), high_local = fcntl(local, F_DUPFD, 100);

    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "2", 1);
    close(tcp);
    close(local);
    dup2(high_tcp, 3);
    dup2(high_local, 4);
    close(high_tcp);
    close(high_local);
}

void server_fixture_start(struct server_fixture *f, const struct server_fixture_options *options)
{
    int tcp, local;

    strcpy(f->directory, "/tmp/baedal-api-XXXXXX");
    if (!mkdtemp(f->directory))
        abort();
    snprintf(f->path, sizeof(f->path), "%s/socket", f->directory);
    tcp = listen_tcp(&f->port);
    local = listen_unix(f->path);
    f->pid = fork();
    if (f->pid == 0) {
        hand_over(tcp, local);
        exit(server_fixture_serve(NULL, options, f->directory));
    }
    close(tcp);
    close(local);
}

int server_fixture_stop(struct server_fixture *f)
{
    char command[128];
    int status = -1;

    kill(f->pid, SIGTERM);
    waitpid(f->pid, &status, 0);
    snprintf(command, sizeof(command), "rm -rf %s", f->directory);
    if (system(command) != 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
