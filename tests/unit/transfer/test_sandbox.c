#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/cleanup.h"
#include "daemon/transfer/sandbox.h"

#define NOT_SHUT_IN 77

/* valgrind makes some in the program's name, and knows no Landlock. */
static void needs_its_own_system_calls(void)
{
    if (getenv("BAEDAL_TEST_WRAPPED"))
        skip();
}

/* What a child that is shut in does: 0, or the errno of what was refused. Its wait status. */
static int shut_in(int (*act)(void))
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(sandbox_enter() < 0 ? NOT_SHUT_IN : act());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void expect_killed(int (*act)(void))
{
    int status = shut_in(act);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void expect_exit(int (*act)(void), int code)
{
    int status = shut_in(act);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

static int open_file(void)
{
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 ? errno : 0;
}

static int create_file(void)
{
    return open("/tmp/test-sandbox", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0 ? errno : 0;
}

static int stat_file(void)
{
    struct stat st;

    return stat("/etc/passwd", &st) < 0 ? errno : 0;
}

static void test_files_are_refused(void **state)
{
    (void)state;
    needs_its_own_system_calls();
    expect_exit(open_file, EACCES);
    expect_exit(create_file, EACCES);
    expect_exit(stat_file, EACCES);
    assert_int_equal(access("/tmp/test-sandbox", F_OK), -1);
}

static int execute(void)
{
    return execl("/bin/true", "true", NULL);
}

static int fork_off(void)
{
    return fork() < 0 ? errno : 0;
}

static int signal_another(void)
{
    return kill(getppid(), 0);
}

static int trace(void)
{
    return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int unlink_file(void)
{
    return unlink("/tmp/test-sandbox");
}

static int talk_to_neighbours(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0) < 0;
}

static int sniff(void)
{
    return socket(AF_PACKET, SOCK_RAW, 0) < 0;
}

static int send_datagrams(void)
{
    return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) < 0;
}

static int send_datagrams_over_ipv6(void)
{
    return socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP) < 0;
}

static int write_packets(void)
{
    return socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_TCP) < 0;
}

static int listen_on(void)
{
    return listen(socket(AF_INET, SOCK_STREAM, 0), 1);
}

static int run_data(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
           MAP_FAILED;
}

static int become(void)
{
    return setuid(0);
}

static void test_everything_else_ends_the_process(void **state)
{
    (void)state;
    needs_its_own_system_calls();
    expect_killed(execute);
    expect_killed(fork_off);
    expect_killed(signal_another);
    expect_killed(trace);
    expect_killed(unlink_file);
    expect_killed(talk_to_neighbours);
    expect_killed(sniff);
    expect_killed(send_datagrams);
    expect_killed(send_datagrams_over_ipv6);
    expect_killed(write_packets);
    expect_killed(listen_on);
    expect_killed(run_data);
    expect_killed(become);
}

/* To a port that nobody listens on: the answer comes from the network. */
static int connect_out(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_port = htons(1);
    return connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? errno : 0;
}

static int open_every_tcp_socket(void)
{
    static const int families[] = { AF_INET, AF_INET6 };
    static const int flags[] = { 0, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_CLOEXEC | SOCK_NONBLOCK };

    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        for (size_t k = 0; k < ARRAY_LEN(flags); k++)
            if (socket(families[i], SOCK_STREAM | flags[k], IPPROTO_TCP) < 0 &&
                    errno != EAFNOSUPPORT)
                return errno;
    return 0;
}

static int allocate(void)
{
    char *p = malloc(8 << 20);

    if (!p)
        return 1;
    memset(p, 1, 8 << 20);
    free(p);
    return 0;
}

static void test_an_exchange_needs(void **state)
{
    (void)state;
    needs_its_own_system_calls();
    expect_exit(connect_out, ECONNREFUSED);
    expect_exit(open_every_tcp_socket, 0);
    expect_exit(allocate, 0);
}

/* A line of /proc/PID/status. */
static unsigned long long capabilities(FILE *status, const char *name)
{
    char line[128];
    unsigned long long set = ~0ULL;

    rewind(status);
    while (fgets(line, sizeof(line), status))
        if (strncmp(line, name, strlen(name)) == 0)
            set = strtoull(line + strlen(name) + 1, NULL, 16);
    return set;
}

/* The child stands still behind its sandbox until it was looked at. */
static void test_no_capability_is_left(void **state)
{
    static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapAmb" };
    bool all = prctl(PR_CAPBSET_READ, CAP_SETPCAP, 0, 0, 0) == 1 && geteuid() == 0;
    int pair[2];
    char path[64], said = 0;
    FILE *status;
    pid_t pid;

    (void)state;
    needs_its_own_system_calls();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(pair[0]); /* so that it ends with the test, too */
        said = sandbox_enter() < 0 ? 'n' : 'y';
        (void)!write(pair[1], &said, 1);
        (void)!read(pair[1], &said, 1);
        _exit(0);
    }
    assert_int_equal(read(pair[0], &said, 1), 1);
    assert_int_equal(said, 'y');
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    status = fopen(path, "re");
    assert_non_null(status);
    for (size_t i = 0; i < ARRAY_LEN(sets); i++)
        assert_int_equal(capabilities(status, sets[i]), 0);
    if (all)
        assert_int_equal(capabilities(status, "CapBnd"), 0);
    fclose(status);
    assert_int_equal(write(pair[0], &said, 1), 1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_are_refused),
        cmocka_unit_test(test_everything_else_ends_the_process),
        cmocka_unit_test(test_an_exchange_needs),
        cmocka_unit_test(test_no_capability_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
