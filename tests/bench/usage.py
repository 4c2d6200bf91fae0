"""What processes and disks cost: CPU and memory from /proc, and fdatasync."""
import contextlib
import os
import tempfile
import time
from typing import NamedTuple

from tests.fixture.processes import descendants

TICK = os.sysconf('SC_CLK_TCK')
SYNC_BYTES = 8192  # a commit of one small row: its page and the frame's header
SYNCS = 300


def _stat_cpu(path, fields=2):
    with open(path) as f:
        times = f.read().rpartition(')')[2].split()[11:11 + fields]
    return sum(map(int, times)) / TICK


def cpu_seconds(pid):
    """User and system time of all threads of a process, to the nanosecond: by its CPU clock
    (clock_getcpuclockid(3), whose number the C library makes in this way)."""
    return time.clock_gettime(~pid << 3 | 2)


def tree_cpu_seconds(pid):
    """Of a process and all below it, those that have ended and were waited for included."""
    seconds = 0
    for process in {pid, *descendants(pid)}:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            seconds += _stat_cpu('/proc/%d/stat' % process, 4)
    return seconds


def thread_cpu_seconds(pid):
    """{thread id: (name, user and system time)}"""
    threads = {}
    for tid in os.listdir('/proc/%d/task' % pid):
        with open('/proc/%d/task/%s/comm' % (pid, tid)) as f:
            name = f.read().strip()
        threads[int(tid)] = (name, _stat_cpu('/proc/%d/task/%s/stat' % (pid, tid)))
    return threads


def stolen_ticks():
    """(time that a hypervisor gave to others, all time) since boot, over all cores."""
    with open('/proc/stat') as f:
        ticks = [int(n) for n in f.readline().split()[1:9]]
    return ticks[7], sum(ticks)


def _status(path, name):
    with open(path) as f:
        for line in f:
            if line.startswith(name + ':'):
                return int(line.split()[1])
    raise RuntimeError('no %s in %s' % (name, path))


def peak_rss_bytes(pid):
    return _status('/proc/%d/status' % pid, 'VmHWM') * 1024


def rss_bytes(pid):
    return _status('/proc/%d/status' % pid, 'VmRSS') * 1024


def wakeups(pid):
    """How often a thread of the process has gone to sleep, and so been woken, since its start."""
    return sum(_status('/proc/%d/task/%s/status' % (pid, tid), 'voluntary_ctxt_switches')
               for tid in os.listdir('/proc/%d/task' % pid))


def filesystem(path):
    """The type of the filesystem that holds the path."""
    path = os.path.realpath(path)
    found = ('', '')
    with open('/proc/self/mounts') as f:
        for line in f:
            mount, kind = line.split()[1:3]
            if (path + '/').startswith(mount.rstrip('/') + '/') and len(mount) >= len(found[0]):
                found = (mount, kind)
    return found[1]


def open_to_others(path):
    """Whether a user without rights of its own can get at what lies below."""
    while path != '/':
        if not os.stat(path).st_mode & 0o001:
            return False
        path = os.path.dirname(path)
    return True


def disk_directory(preferred):
    """Where state is kept: a directory on no memory filesystem, and that servers which do not run
    as root can enter."""
    for directory in (os.path.realpath(preferred), '/var/tmp'):
        if filesystem(directory) not in ('tmpfs', 'ramfs', 'devtmpfs') and \
                open_to_others(directory):
            return directory
    raise RuntimeError('%s and /var/tmp are in memory: give a --build on a disk' % preferred)


class Sync(NamedTuple):
    """How long an fdatasync takes, in microseconds."""
    median_us: float
    p99_us: float


def fdatasync(directory):
    """Of appending a little and fdatasync, as a write-ahead log does."""
    times = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as f:
        for _ in range(SYNCS):
            begun = time.perf_counter()
            f.write(b'x' * SYNC_BYTES)
            os.fdatasync(f.fileno())
            times.append((time.perf_counter() - begun) * 1e6)
    times.sort()
    return Sync(times[SYNCS // 2], times[SYNCS * 99 // 100])
