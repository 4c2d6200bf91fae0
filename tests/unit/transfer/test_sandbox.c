#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/transfer/sandbox.h"

#define NOT_SHUT_IN 77

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
    expect_killed(execute);
    expect_killed(fork_off);
    expect_killed(signal_another);
    expect_killed(trace);
    expect_killed(unlink_file);
    expect_killed(talk_to_neighbours);
    expect_killed(sniff);
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
    expect_exit(connect_out, ECONNREFUSED);
    expect_exit(allocate, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_are_refused),
        cmocka_unit_test(test_everything_else_ends_the_process),
        cmocka_unit_test(test_an_exchange_needs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
