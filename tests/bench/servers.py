"""The servers behind the job queues of other makers, each started for one run: its own directory
and port, nothing left behind. As root they run as a user without rights.

  Redis       Debian's, appendonly yes, appendfsync everysec: what is acknowledged may be lost for a
              second (BullMQ's own advice for production; "always" would be the same promise as
              ours). No snapshots beside it.
  PostgreSQL  Debian's, as initdb leaves it: fsync and synchronous_commit on.
"""
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import usage
from tests.fixture.daemon import free_port

START_SECONDS = 30
STOP_SECONDS = 30
HOST = '127.0.0.1'


def unprivileged(name):
    """What subprocess needs to run something as that user; nothing unless we are root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(name)
    return {'user': user.pw_uid, 'group': user.pw_gid, 'extra_groups': []}


def postgres_programs():
    """The newest version's directory; Debian has one for each."""
    return max(glob.glob('/usr/lib/postgresql/*/bin'), key=lambda path: int(path.split('/')[4]))


class Server:
    """`with Server(...) as server:`; a subclass says how to prepare it and what to run."""

    user = ''
    stop_signal = 'TERM'

    def __init__(self, parent):
        self.parent = parent
        self.process = None
        self.port = None

    def prepare(self):
        """What must be done in the directory before the start."""

    def command(self):
        raise NotImplementedError

    def __enter__(self):
        self.port = free_port()
        self.directory = tempfile.mkdtemp(prefix='bench-server-', dir=self.parent)
        self.log = open(self.directory + '/log', 'w+')
        self.identity = unprivileged(self.user)
        if self.identity:
            os.chown(self.directory, self.identity['user'], self.identity['group'])
        try:
            self.prepare()
            self.process = subprocess.Popen(
                ['setpriv', '--pdeathsig', self.stop_signal, *self.command()],
                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                **self.identity)
            self._await()
        except BaseException:
            self.__exit__()
            raise
        return self

    def run(self, *command):
        subprocess.run(command, cwd=self.directory, check=True, stdin=subprocess.DEVNULL,
                       stdout=self.log, stderr=self.log, **self.identity)

    def _await(self):
        until = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > until:
                self.log.seek(0)
                raise RuntimeError('%s does not start: %s'
                                   % (type(self).__name__, self.log.read()[-2000:]))
            time.sleep(0.02)

    def answers(self):
        try:
            socket.create_connection((HOST, self.port), 1).close()
            return True
        except OSError:
            return False

    def cpu_seconds(self):
        return usage.tree_cpu_seconds(self.process.pid)

    def __exit__(self, *_):
        if self.process:
            self.process.send_signal(getattr(signal, 'SIG' + self.stop_signal))
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class Redis(Server):
    user = 'redis'

    def command(self):
        return ['redis-server', '--bind', HOST, '--port', str(self.port), '--dir', self.directory,
                '--appendonly', 'yes', '--appendfsync', 'everysec', '--save', '',
                '--maxmemory-policy', 'noeviction']


class Postgres(Server):
    user = 'postgres'
    stop_signal = 'INT'  # "fast": with TERM it waits for its clients

    def prepare(self):
        self.programs = postgres_programs()
        self.data = self.directory + '/data'
        self.run(self.programs + '/initdb', '-D', self.data, '-U', 'bench', '-A', 'trust',
                 '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync')

    def command(self):
        return [self.programs + '/postgres', '-D', self.data, '-p', str(self.port),
                '-c', 'listen_addresses=' + HOST, '-c', 'unix_socket_directories=']

    def answers(self):
        """It listens before it takes clients."""
        return subprocess.run([self.programs + '/pg_isready', '-q', '-h', HOST, '-p',
                               str(self.port)], stdin=subprocess.DEVNULL).returncode == 0
