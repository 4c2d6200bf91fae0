"""The origin server of a bench: an nginx of its own on eight loopback addresses, one file."""
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

from usage import cpu_seconds

ADDRESSES = ['127.0.0.%d' % n for n in range(1, 9)]
FILE_NAME = '1k.txt'
FILE_BYTES = 1024
STOP_SECONDS = 10

# Read and written in one writev(): for so small a file sendfile() costs a second packet.
CONF = '''
{user}
worker_processes {workers};
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; multi_accept on; }}
http {{
    access_log off;
    server_tokens off;
    default_type text/plain;
    sendfile off;
    tcp_nodelay on;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    open_file_cache max=16 inactive=600s;
    open_file_cache_valid 600s;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        {listens}
        root {directory}/www;
        location = /requests {{ stub_status; }}
    }}
}}
'''


def free_port():
    """A port that is free on all addresses, below those that outgoing connections take."""
    while True:
        port = random.randint(20000, 32000)
        with contextlib.ExitStack() as sockets:
            try:
                for address in ADDRESSES:
                    sockets.enter_context(socket.socket()).bind((address, port))
                return port
            except OSError:
                continue


class Origin:
    """`with Origin(workers) as origin:` serves origin.urls until the end of the block."""

    def __init__(self, workers):
        self.workers = workers
        self.directory = None
        self.process = None
        self.asked = 0

    def __enter__(self):
        parent = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
        self.directory = tempfile.mkdtemp(prefix='bench-origin-', dir=parent)
        try:
            self._serve()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _serve(self):
        os.chmod(self.directory, 0o755)  # the workers are somebody else when we are root
        os.mkdir(self.directory + '/www')
        with open('%s/www/%s' % (self.directory, FILE_NAME), 'wb') as f:
            f.write(bytes(33 + i % 90 for i in range(FILE_BYTES)))
        self.port = free_port()
        with open(self.directory + '/nginx.conf', 'w') as f:
            f.write(CONF.format(
                directory=self.directory, workers=self.workers,
                user='user nobody nogroup;' if os.geteuid() == 0 else '',
                listens=' '.join('listen %s:%d backlog=4096;' % (a, self.port) for a in ADDRESSES)))
        self.process = subprocess.Popen(
            ['setpriv', '--pdeathsig', 'TERM', 'nginx', '-p', self.directory,
             '-e', self.directory + '/error.log', '-c', self.directory + '/nginx.conf'],
            stdin=subprocess.DEVNULL)
        self.urls = ['http://%s:%d/%s' % (a, self.port, FILE_NAME) for a in ADDRESSES]
        self._await()

    def _await(self):
        until = time.monotonic() + 10
        for address in ADDRESSES:
            while True:
                try:
                    socket.create_connection((address, self.port), 1).close()
                    break
                except OSError:
                    if self.process.poll() is not None or time.monotonic() > until:
                        raise RuntimeError('nginx does not start: ' + self._errors())
                    time.sleep(0.01)

    def _errors(self):
        try:
            with open(self.directory + '/error.log') as f:
                return f.read().strip()
        except OSError:
            return ''

    def requests(self):
        """How many were made so far, those to this call not counted."""
        self.asked += 1
        address = 'http://%s:%d/requests' % (ADDRESSES[0], self.port)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=60) as f:
            return int(f.read().splitlines()[2].split()[2]) - self.asked

    def _workers(self):
        pid = self.process.pid
        with open('/proc/%d/task/%d/children' % (pid, pid)) as f:
            return [int(child) for child in f.read().split()]

    @contextlib.contextmanager
    def stopped(self):
        """It takes connections and answers nothing in this block."""
        workers = self._workers()
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGCONT)

    def cpu_seconds(self):
        return sum(map(cpu_seconds, self._workers()))

    def __exit__(self, *_):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
