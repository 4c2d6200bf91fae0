/*
 * Capabilities go first: a daemon that was started as root has them all. Then two walls. Landlock
 * takes the file system away, and the filter of system calls takes away all that an exchange has no
 * use for: what is not on the list ends the process. Calls that open or look at files are answered
 * EACCES instead, because libraries look for files of their own accord and live without them.
 */
#include "daemon/transfer/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"

#define DESCRIPTORS_MAX 64

#define SOCKET_FLAGS (SOCK_CLOEXEC | SOCK_NONBLOCK) /* in the type that socket(2) is given */

#define LANDLOCK_VERSION_ASKED 1U /* flag of landlock_create_ruleset(2) */

/* struct landlock_ruleset_attr of the newest kernel; an older one takes the beginning of it. */
struct landlock_rules {
    uint64_t files, net, scoped;
};

/* What each version of Landlock can forbid beyond the one before (landlock(7)). */
static const struct {
    int version;
    struct landlock_rules forbids;
} landlock_versions[] = {
    { 1, { .files = (1 << 13) - 1 } }, { 2, { .files = 1 << 13 } }, /* moving between directories */
    { 3, { .files = 1 << 14 } },                                    /* truncating */
    { 4, { .net = 1 << 0 } },                                       /* binding a TCP port */
    { 5, { .files = 1 << 15 } },                                    /* ioctl(2) of devices */
    { 6, { .scoped = 3 } }, /* abstract Unix sockets, signals */
};

/* Nothing is allowed of what it can forbid. 1: there is no Landlock. */
static int sandbox_landlock(void)
{
    struct landlock_rules rules = { 0 };
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION_ASKED);
    size_t bytes = version < 4   ? sizeof(rules.files)
                   : version < 6 ? 2 * sizeof(rules.files)
                                 : sizeof(rules);
    int fd, rc;

    if (version < 1)
        return 1;
    for (size_t i = 0; i < ARRAY_LEN(landlock_versions); i++)
        if (version >= landlock_versions[i].version) {
            rules.files |= landlock_versions[i].forbids.files;
            rules.net |= landlock_versions[i].forbids.net;
            rules.scoped |= landlock_versions[i].forbids.scoped;
        }
    fd = (int)syscall(SYS_landlock_create_ruleset, &rules, bytes, 0);
    if (fd < 0)
        return -errno;
    rc = syscall(SYS_landlock_restrict_self, fd, 0) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

static const int sandbox_allowed[] = {
    SCMP_SYS(brk),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(close),
    SCMP_SYS(connect),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(fstat),
    SCMP_SYS(futex),
    SCMP_SYS(getpeername),
    SCMP_SYS(getpid),
    SCMP_SYS(getrandom),
    SCMP_SYS(getsockname),
    SCMP_SYS(getsockopt),
    SCMP_SYS(gettid),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(lseek),
    SCMP_SYS(madvise),
    SCMP_SYS(mremap),
    SCMP_SYS(munmap),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(setsockopt),
    SCMP_SYS(shutdown),
    SCMP_SYS(time),
    SCMP_SYS(write),
    SCMP_SYS(writev),
#ifdef BAEDAL_SANITIZED
    /* Reports of the sanitizers, and the thread of one. */
    SCMP_SYS(dup),
    SCMP_SYS(getppid),
    SCMP_SYS(getrusage),
    SCMP_SYS(nanosleep),
    SCMP_SYS(pipe2),
    SCMP_SYS(prctl),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(sysinfo),
    SCMP_SYS(tgkill),
    SCMP_SYS(uname),
#endif
};

static const int sandbox_refused[] = {
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(newfstatat),
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(stat),
    SCMP_SYS(statx),
};

/*
 * Some only with certain arguments: memory that is not to be run, and TCP sockets. (libcurl asks for
 * a datagram socket to learn whether there is IPv6, but does so when the multi is made.)
 */
static int sandbox_allow_some(scmp_filter_ctx filter)
{
    static const int families[] = { AF_INET, AF_INET6 };
    static const int mapping[] = { SCMP_SYS(mmap), SCMP_SYS(mprotect) };
    static const int controls[] = { F_GETFD, F_SETFD, F_GETFL, F_SETFL };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(mapping); i++)
        rc = seccomp_rule_add(
                filter, SCMP_ACT_ALLOW, mapping[i], 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(families); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
                SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]),
                SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX & ~(scmp_datum_t)SOCKET_FLAGS, SOCK_STREAM));
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(controls); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)controls[i]));
    return rc;
}

static int sandbox_fill_filter(scmp_filter_ctx filter)
{
    int rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(sandbox_allowed); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, sandbox_allowed[i], 0);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(sandbox_refused); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), sandbox_refused[i], 0);
    return rc < 0 ? rc : sandbox_allow_some(filter);
}

static int sandbox_seccomp(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int rc;

    if (!filter)
        return -ENOMEM;
    rc = sandbox_fill_filter(filter);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc;
}

/* Where a limit can't be set it is the service manager's to set. */
static void sandbox_limit(int what, rlim_t most)
{
    (void)setrlimit(what, &(struct rlimit){ most, most });
}

/* Of the effective, permitted and inheritable sets. */
static bool sandbox_is_powerless(const struct __user_cap_data_struct *sets)
{
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        if (sets[i].effective | sets[i].permitted | sets[i].inheritable)
            return false;
    return true;
}

/*
 * All for good: no_new_privs is set, and who may not shrink the bounding set has nothing to gain from
 * it. A service manager that took them away may forbid capset(2), so it is not called in vain. The
 * ambient set empties with the permitted one.
 */
static int sandbox_drop_capabilities(void)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];

    if (syscall(SYS_capget, &header, sets) < 0)
        return -errno;
    if (sandbox_is_powerless(sets))
        return 0;
    for (unsigned long i = 0; prctl(PR_CAPBSET_DROP, i, 0, 0, 0) == 0; i++)
        ;
    for (size_t i = 0; i < ARRAY_LEN(sets); i++)
        sets[i] = (struct __user_cap_data_struct){ 0 };
    return syscall(SYS_capset, &header, sets) < 0 ? -errno : 0;
}

int sandbox_enter(void)
{
    int landlock, rc;

    sandbox_limit(RLIMIT_CORE, 0);
    sandbox_limit(RLIMIT_FSIZE, 0);
    sandbox_limit(RLIMIT_NOFILE, DESCRIPTORS_MAX);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
#ifndef BAEDAL_SANITIZED
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return -errno;
#endif
    rc = sandbox_drop_capabilities();
    if (rc < 0)
        return rc;
    landlock = sandbox_landlock();
    if (landlock < 0)
        return landlock;
    rc = sandbox_seccomp();
    return rc < 0 ? rc : landlock;
}
