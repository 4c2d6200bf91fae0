"""What processes and disks cost: CPU and memory from /proc, and fdatasync."""
import os
import statistics
import tempfile
import time

TICK = os.sysconf('SC_CLK_TCK')
SYNC_BYTES = 4096
SYNCS = 200


def _stat_cpu(path):
    with open(path) as f:
        fields = f.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def cpu_seconds(pid):
    """User and system time of all threads of a process."""
    return _stat_cpu('/proc/%d/stat' % pid)


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


def peak_rss_bytes(pid):
    with open('/proc/%d/status' % pid) as f:
        for line in f:
            if line.startswith('VmHWM:'):
                return int(line.split()[1]) * 1024
    raise RuntimeError('no VmHWM')


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


def disk_directory(preferred):
    """Where state is kept: a directory that is on no memory filesystem."""
    for directory in (preferred, '/var/tmp'):
        if filesystem(directory) not in ('tmpfs', 'ramfs', 'devtmpfs'):
            return directory
    raise RuntimeError('%s and /var/tmp are in memory: give a --build on a disk' % preferred)


def fdatasync_us(directory):
    """Median time of appending a little and fdatasync, as a write-ahead log does."""
    times = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as f:
        for _ in range(SYNCS):
            begun = time.perf_counter()
            f.write(b'x' * SYNC_BYTES)
            os.fdatasync(f.fileno())
            times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e6
