#!/usr/bin/python3 -B
"""Starts baedald and a web server with latency, has the daemon run the acceptance story, draws it."""
import argparse
import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import waterfall
import webserver

HERE = pathlib.Path(__file__).resolve().parent
START_SECONDS = 30
STOP_SECONDS = 40  # drain_timeout and a little
LEASH = ('setpriv', '--pdeathsig', 'TERM')  # what we start ends when we do, however we do

MEALS = (('A', '900ms'), ('B', '300ms'), ('C', '600ms'))
PAGES_PER_ORIGIN = 10


class Failure(Exception):
    """What a person is told in place of a success."""


class Web:
    """The web server, a process of its own."""

    def __init__(self):
        self.process = subprocess.Popen(
            [*LEASH, '/usr/bin/python3', '-B', HERE / 'webserver.py'],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
        line = self.process.stdout.readline()
        if not line:
            raise Failure('the web server did not start')
        self.port = int(line)

    def url(self, origin, path):
        return f'http://{webserver.ADDRESSES[origin]}:{self.port}{path}'

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Daemon:
    """baedald with a state directory and a configuration of its own."""

    def __init__(self, binary, port):
        self.url = f'http://127.0.0.1:{port}'
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='baedal-quickstart-'))
        self.log = self.directory / 'log'
        self.configuration = self.directory / 'baedald.conf'
        self.configuration.write_text(
            f'api = {{ listen = ["127.0.0.1:{port}"] }}\n'
            f'store = {{ directory = "{self.directory}/state" }}\n'
            'egress = { allow = ["127.0.0.0/8"] }\n')
        self.process = None
        try:
            self.start(binary)
        except BaseException:
            self.stop()
            raise

    def start(self, binary):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(self.directory / 'ready'))
            with open(self.log, 'wb') as log:
                self.process = subprocess.Popen(
                    [*LEASH, binary, '-c', self.configuration], stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, start_new_session=True,
                    env={**os.environ, 'NOTIFY_SOCKET': str(self.directory / 'ready')})
            self.await_ready(ready)

    def await_ready(self, ready):
        """Until the daemon says READY=1, or ends."""
        pidfd = os.pidfd_open(self.process.pid)
        try:
            end = time.monotonic() + START_SECONDS
            while True:
                readable, _, _ = select.select([ready, pidfd], [], [], max(0, end - time.monotonic()))
                if ready in readable:
                    if b'READY=1' in ready.recv(4096):
                        return
                else:
                    raise Failure('the daemon did not start:\n' + self.log.read_text())
        finally:
            os.close(pidfd)

    def stop(self):
        """Whether it ended as it should; its files are removed."""
        status = 0
        if self.process:
            self.process.terminate()
            try:
                status = self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                status = self.process.wait()
        text = self.log.read_text(errors='replace') if status and self.log.exists() else ''
        shutil.rmtree(self.directory, ignore_errors=True)
        if status and sys.exc_info()[0] is None:
            raise Failure(f'the daemon ended with status {status}:\n{text}')

    def call(self, path, body=None):
        """The answer to a GET, or to a POST of `body`, as bytes."""
        request = urllib.request.Request(self.url + path)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header('content-type', 'application/json')
        try:
            with OPENER.open(request, timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as e:
            raise Failure(f'{path}: {e.code}\n{e.read().decode(errors="replace")}') from None
        except OSError as e:
            raise Failure(f'{path}: {e}\n{self.log.read_text()[-4000:]}') from None

    def json(self, path, body=None):
        return json.loads(self.call(path, body))


# Never through a proxy.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def run_batch(daemon, painter, run, jobs):
    """Runs the jobs as one batch; the ended batch and its jobs in the order of `jobs`."""
    batch = daemon.json('/v1/batches', {'run': run, 'jobs': jobs})
    path = f"/v1/batches/{batch['id']}"
    while batch['state'] == 'running':
        if painter.colour:
            print(f"\r{run}: {batch['counts']['succeeded']} of {len(jobs)} done\033[K", end='',
                  flush=True)
        batch = daemon.json(path + ('?wait=100ms' if painter.colour else '?wait=60s'))
    if painter.colour:
        print('\r\033[K', end='', flush=True)
    listed = daemon.json(f"/v1/jobs?batch={batch['id']}&full=true&limit=100")['data']
    if batch['state'] != 'succeeded' or len(listed) != len(jobs):
        raise Failure(f'the {run} did not succeed:\n{json.dumps(batch, indent=2)}')
    return batch, listed


def order(jobs, event):
    """The names in the order in which that happened to them."""
    times = ((e['at'], j['name']) for j in jobs for e in j['events'] if e['event'] == event)
    return ' '.join(name for _, name in sorted(times))


def expect(what, good):
    if not good:
        raise Failure(f'unexpected: {what}')


def tell_deliveries(daemon, painter):
    print(painter.bold('Three deliveries: hand over, wait for the meal, collect'))
    jobs = [{'kind': 'delivery', 'name': name, 'wait': wait} for name, wait in MEALS]
    sequence = run_batch(daemon, painter, 'sequence', jobs)
    gather = run_batch(daemon, painter, 'gather', jobs)
    print(waterfall.legend(painter, True) + '\n')
    print(waterfall.draw(painter, [sequence, gather]) + '\n')
    for batch, listed in (sequence, gather):
        print(f"{batch['run']}: delivered {order(listed, 'delivered')}, "
              f"collected {order(listed, 'collected')}")
    expect('the order of the sequence', order(sequence[1], 'collected') == 'A B C')
    expect('the order of the gather', order(gather[1], 'collected') == 'B C A')
    expect('a gather that is not faster', gather[0]['elapsed_ms'] < sequence[0]['elapsed_ms'])


def check_bodies(daemon, batches):
    """Every body is what the server sent; their number."""
    n = 0
    for _, jobs in batches:
        for number, job in enumerate(jobs):
            body = daemon.call(f"/v1/jobs/{job['id']}/body")
            expect(f"the body of {job['name']}", body == webserver.page(number))
            n += 1
    return n


def tell_fetches(daemon, painter, web):
    origins = len(webserver.ADDRESSES)
    print('\n' + painter.bold(f'Thirty fetches: {origins} origins, {PAGES_PER_ORIGIN} pages each, '
                              f'{webserver.LATENCY_MS} ms until the server answers'))
    jobs = [{'kind': 'fetch', 'name': f'{webserver.ADDRESSES[n % origins]}/{n}',
             'url': web.url(n % origins, f'/page/{n}')} for n in range(origins * PAGES_PER_ORIGIN)]
    batches = [run_batch(daemon, painter, run, jobs) for run in ('sequence', 'gather')]
    print(waterfall.legend(painter, False) + '\n')
    print(waterfall.draw(painter, batches) + '\n')
    print(f'{check_bodies(daemon, batches)} bodies compared with what the server sent: identical')
    expect('a gather that is not faster',
           batches[1][0]['elapsed_ms'] < batches[0][0]['elapsed_ms'])


def tell_how_to_go_on(daemon, web, painter):
    page = web.url(0, '/page/7')
    meals = ','.join(f'{{"kind":"delivery","name":"{n}","wait":"{w}"}}' for n, w in MEALS)
    print(f"""
{painter.bold('The daemon and the web server are still running. Try:')}

  curl --json '{{"kind":"fetch","url":"{page}"}}' '{daemon.url}/v1/jobs?wait=10s'

  curl --json '{{"run":"gather","jobs":[{meals}]}}' '{daemon.url}/v1/batches?wait=10s'

  curl '{daemon.url}/v1/jobs?limit=5'

Configuration, log and state: {daemon.directory}
To stop both and remove them: kill {os.getpid()}""", flush=True)


def tell(options, painter, stack):
    web = Web()
    stack.callback(web.stop)
    daemon = Daemon(options.binary, options.port)
    stack.callback(daemon.stop)
    version = subprocess.run([options.binary, '--version'], check=True, stdout=subprocess.PIPE,
                             text=True).stdout.strip()
    print(f'{version} listens on {daemon.url}, a web server on port {web.port}\n')
    tell_deliveries(daemon, painter)
    tell_fetches(daemon, painter, web)
    if options.keep:
        tell_how_to_go_on(daemon, web, painter)


def tell_all(options):
    """The story from start to stop. With --keep the stop comes with SIGTERM; `options.told` is closed
    when the person may go on."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with contextlib.ExitStack() as stack:
            tell(options, waterfall.Painter(), stack)
            if options.keep:
                os.write(options.told, b'.')
                become_silent()
                signal.pause()
        print('Everything is stopped. To go on by hand: packaging/quickstart --keep', flush=True)
        return 0
    except Failure as e:
        print(f'packaging/quickstart: {e}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nstopped', file=sys.stderr)
        return 130
    except BrokenPipeError:
        become_silent()
        return 141  # as a program that SIGPIPE ends


def become_silent():
    """Nothing that was ours to begin with stays open: who waits for its end need not wait for us."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.chdir('/')


def tell_and_keep(options):
    """A child tells the story and stays; we leave when it has told it."""
    listen, options.told = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(listen)
        return tell_all(options)
    os.close(options.told)
    try:
        if os.read(listen, 1):
            return 0
    except KeyboardInterrupt:
        os.kill(child, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--binary', required=True)
    parser.add_argument('--port', type=int, required=True)
    parser.add_argument('--keep', action='store_true')
    options = parser.parse_args()
    return tell_and_keep(options) if options.keep else tell_all(options)


if __name__ == '__main__':
    sys.exit(main())
