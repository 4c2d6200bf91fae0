/*
 * Which of these ports of 127.0.0.1 are open? At most 100 are tried at once. As portscan.py.
 *
 *     portscan SECONDS PORT...      how long each may take
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/co/co.h"

enum port_state { OPEN, CLOSED, SILENT };
static const char *const state_names[] = { "open", "closed", "silent" };

#define MAX_PORTS 65535

static double timeout;
static struct co_gate gate;
static struct co_task tasks[MAX_PORTS];
static int states[MAX_PORTS];

CO_SUSPENDS static int connect_to(int fd, int port)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int rc, error;

    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return -errno;
    rc = co_wait_fd(fd, CO_WRITABLE);
    if (rc < 0)
        return rc;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof(error) }) < 0)
        return -errno;
    return -error;
}

CO_SUSPENDS static int try_port(int port)
{
    int rc, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct co_scope scope;

    if (fd < 0)
        return -errno;
    co_scope_open(&scope, co_deadline((int64_t)(timeout * 1e9)), 0);
    rc = co_scope_close(&scope, connect_to(fd, port));
    close(fd);
    return rc;
}

CO_SUSPENDS static int scan(void *arg)
{
    int rc = co_gate_enter(&gate);

    if (rc < 0)
        return rc;
    rc = try_port(atoi(arg));
    co_gate_leave(&gate);
    if (rc == -ETIMEDOUT)
        return SILENT;
    return rc == -ECONNREFUSED ? CLOSED : rc;
}

CO_SUSPENDS static int scan_all(void *arg)
{
    char **ports = arg;
    size_t n = 0;
    int rc = 0;

    for (; rc == 0 && ports[n]; n++)
        rc = co_spawn("scan", scan, ports[n], &tasks[n]);
    if (rc == 0)
        rc = co_gather(tasks, n, states, 0);
    for (size_t i = 0; rc == 0 && i < n; i++)
        printf("%s %s\n", ports[i], state_names[states[i]]);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc > MAX_PORTS)
        return 2;
    timeout = atof(argv[1]);
    co_gate_init(&gate, 100);
    return co_run(NULL, NULL, scan_all, argv + 2) < 0;
}
