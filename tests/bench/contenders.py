"""Whom tests/bench/run measures, and how each of them is run once."""
import json
import os
import shutil
import statistics
import subprocess
from typing import Callable, NamedTuple

from bulk import check_bulk, fresh_daemon, run_bulk
from origin import FILE_BYTES
from program import PYTHON
from servers import Postgres, Redis, postgres_programs

HERE = os.path.dirname(os.path.realpath(__file__))
CLIENT_SECONDS = 300
AT_ONCE = 256
QUEUES = ['package.json', 'package-lock.json', 'bullmq.js', 'graphile.js']


class Sample:
    """One contender in one round."""

    def __init__(self, fetches, seconds, cpu_seconds, origin_seconds):
        self.fetches = fetches
        self.rate = fetches / seconds
        self.cpu_us = cpu_seconds / fetches * 1e6
        self.origin = origin_seconds / seconds


class Contender(NamedTuple):
    label: str
    share: int     # runs that part of the jobs
    at_once: int
    packages: list
    run: Callable  # (fetches) -> Sample
    prepare: Callable = lambda: None


def clean_environment():
    return {k: v for k, v in os.environ.items() if not k.lower().endswith('_proxy')}


class Bench:
    def __init__(self, options, origin):
        self.options = options
        self.origin = origin
        self.bulks = []
        self.state_parent = None

    def client(self, command, fetches, server=None):
        """Runs a fetcher, which prints one line of JSON; its CPU comes from wait4, that of the
        server behind it is added."""
        origin = self.origin.cpu_seconds()
        behind = server.cpu_seconds() if server else 0
        process = subprocess.Popen(['timeout', '--foreground', str(CLIENT_SECONDS), *command],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   env=clean_environment())
        try:
            output = process.stdout.read()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            process.stdout.close()
        _, status, rusage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        origin = self.origin.cpu_seconds() - origin
        behind = server.cpu_seconds() - behind if server else 0
        try:
            result = json.loads(output.splitlines()[-1])
        except (IndexError, ValueError):
            raise RuntimeError('%s: exit status %d' % (command[0], process.returncode)) from None
        done = result['requests']
        if result['failed'] or not (fetches is None or fetches == done) or \
                result.get('bytes', done * FILE_BYTES) != done * FILE_BYTES:
            raise RuntimeError('%s did not fetch everything: %s' % (command[0], result))
        cpu = rusage.ru_utime + rusage.ru_stime - result.get('startup_cpu', 0)
        return Sample(done, result['seconds'], cpu + behind, origin)

    def wrk(self, _):
        return self.client(['wrk', '-t8', '-c%d' % AT_ONCE, '-d2s', '-s', HERE + '/wrk.lua',
                            self.origin.urls[0]], None)

    def program(self, name, fetches, *flags):
        return self.client([self.options.build + '/tests/bench/' + name, *flags, '--requests',
                            str(fetches), '--concurrency', str(AT_ONCE), *self.origin.urls],
                           fetches)

    def build_go(self):
        subprocess.run(['go', 'build', '-o', self.options.build + '/bench-gofetch',
                        HERE + '/gofetch/main.go'], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, 'GO111MODULE': 'off', 'GOFLAGS': '', 'GOPROXY': 'off',
                            'GOCACHE': self.options.build + '/gocache'})

    def go(self, fetches):
        return self.client([self.options.build + '/bench-gofetch', '-requests', str(fetches),
                            *self.origin.urls], fetches)

    def python(self, script, fetches):
        return self.client([PYTHON, '%s/%s' % (HERE, script), str(fetches), *self.origin.urls],
                           fetches)

    def install_queues(self):
        """The packages, as the lock file has them, below the build directory."""
        directory = self.options.build + '/bench-queues'
        os.makedirs(directory, exist_ok=True)
        installed = directory + '/node_modules/.package-lock.json'
        changed = False
        for name in QUEUES:
            source, copy = '%s/queues/%s' % (HERE, name), '%s/%s' % (directory, name)
            if name == 'package-lock.json':
                changed = not os.path.exists(installed) or not same_file(source, copy)
            shutil.copyfile(source, copy)
        if changed:
            shutil.rmtree(directory + '/node_modules', ignore_errors=True)
            subprocess.run(['npm', 'install', '--no-save', '--ignore-scripts', '--no-audit',
                            '--no-fund', '--loglevel=error'], cwd=directory, check=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def queue_versions(self):
        """What of the two queues and below them is measured, in a line."""
        def said(*command):
            return subprocess.run(command, stdout=subprocess.PIPE, check=True,
                                  text=True).stdout.split()

        directory = self.options.build + '/bench-queues/node_modules/'
        packages = []
        for name in ('bullmq', 'graphile-worker'):
            with open(directory + name + '/package.json') as f:
                packages.append('%s %s' % (name, json.load(f)['version']))
        return ('%s; Node %s; Redis %s, appendonly, appendfsync everysec; PostgreSQL %s, '
                'its defaults'
                % (', '.join(packages), said('node', '--version')[0],
                   said('redis-server', '--version')[2].removeprefix('v='),
                   said(postgres_programs() + '/postgres', '--version')[2]))

    def queue(self, server, fetches, script, *flags):
        with server(self.state_parent) as running:
            return self.client(['node', '%s/bench-queues/%s' % (self.options.build, script),
                                *flags, str(running.port), str(fetches), *self.origin.urls],
                               fetches, running)

    def baedald(self, fetches):
        with fresh_daemon(self.options.binary, self.state_parent) as daemon:
            origin = self.origin.cpu_seconds()
            bulk = run_bulk(daemon, self.origin.urls, fetches)
            origin = self.origin.cpu_seconds() - origin
            check_bulk(daemon, bulk)
        self.bulks.append(bulk)
        return Sample(fetches, bulk.seconds, bulk.cpu_seconds, origin)

    def contenders(self):
        return {
            'wrk': Contender('wrk', 1, AT_ONCE, ['wrk'], self.wrk),
            'bare': Contender('bare loop (C)', 1, AT_ONCE, [],
                              lambda n: self.program('bench-bare', n)),
            'options': Contender('bare loop, our options', 1, AT_ONCE, [],
                                 lambda n: self.program('bench-bare', n, '--options')),
            'path': Contender('fetch path, no store', 1, AT_ONCE, [],
                              lambda n: self.program('bench-transfer', n)),
            'go': Contender('Go net/http', 1, 100, ['golang-go'], self.go, self.build_go),
            'aiohttp': Contender('aiohttp + gather', 5, 100, ['python3-aiohttp'],
                                 lambda n: self.python('aiohttp_gather.py', n)),
            'requests': Contender('requests', 16, 1, ['python3-requests'],
                                  lambda n: self.python('requests_session.py', n)),
            'bullmq': Contender('BullMQ on Redis', 2, 50, ['nodejs', 'npm', 'redis-server'],
                                lambda n: self.queue(Redis, n, 'bullmq.js'),
                                self.install_queues),
            'graphile': Contender('graphile on PostgreSQL', 5, 10,
                                  ['nodejs', 'npm', 'postgresql'],
                                  lambda n: self.queue(Postgres, n, 'graphile.js'),
                                  self.install_queues),
            'batching': Contender('graphile, batching', 2, 50, ['nodejs', 'npm', 'postgresql'],
                                  lambda n: self.queue(Postgres, n, 'graphile.js', '--batching'),
                                  self.install_queues),
            'baedald': Contender('baedald, durable', 1, AT_ONCE, [], self.baedald),
        }


def same_file(one, other):
    with open(one, 'rb') as f:
        text = f.read()
    try:
        with open(other, 'rb') as f:
            return f.read() == text
    except FileNotFoundError:
        return False


def ratio(samples, name, other, figure):
    """The median of the ratios within each round."""
    if name not in samples or other not in samples:
        return None
    return statistics.median(getattr(a, figure) / getattr(b, figure)
                             for a, b in zip(samples[name], samples[other]))
