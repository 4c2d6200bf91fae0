"""The daemon under load: a fresh one, fed in bulk, watched to the end, checked afterwards."""
import contextlib
import json
import os
import shutil
import tempfile
import time
import urllib.parse
from typing import NamedTuple

import usage
from origin import FILE_BYTES
from tests.fixture import config
from tests.fixture.daemon import Daemon

BULK_SECONDS = 180
POLL_SECONDS = 0.005
PAGE = 1000
LINES = 100000  # api.max_lines


class Bulk(NamedTuple):
    """One bulk run, as measured."""
    jobs: int
    accept_seconds: float  # first byte of the POST to the last byte of its answer
    seconds: float         # first byte of the POST to the last result committed
    cpu_seconds: float     # of the daemon, all threads
    peak_rss_bytes: int
    ids: list


@contextlib.contextmanager
def fresh_daemon(binary, parent, settings=None):
    """The daemon with empty state under `parent`, `settings` over the bench's own, group by group;
    stopped and removed after the block."""
    os.environ['BAEDALD'] = binary
    state = tempfile.mkdtemp(prefix='bench-state-', dir=parent)
    daemon = Daemon(config.merge({
        'store': {'directory': state, 'durability': 'full'},
        'lanes': [{'origin': 'default', 'concurrency': 32}],
        'egress': {'allow': ['127.0.0.0/8']},
    }, settings or {}))
    try:
        yield daemon.start()
    finally:
        try:
            daemon.close()
        finally:
            shutil.rmtree(state, ignore_errors=True)


def get(client, path):
    reply = client.get(path)
    if reply.status != 200:
        raise RuntimeError('GET %s: %r' % (path, reply))
    return reply.json()


def pages(client, query):
    """The pages of a list call; one may be empty and not the last."""
    cursor = ''
    while cursor is not None:
        page = get(client, '/v1/jobs?%s%s' % (query, cursor))
        yield page['data']
        cursor = page['next_cursor'] and '&cursor=' + urllib.parse.quote(page['next_cursor'])


def await_all(client, last_ids):
    """Returns when nothing is unfinished. While the last job of each origin is, nothing is asked
    (the answer to `wait` comes after its commit), so watching costs the daemon next to nothing;
    then the stragglers are polled for. A fetch goes from pending by running to its end, so the
    states are asked in that order."""
    until = time.monotonic() + BULK_SECONDS
    for job in last_ids:
        get(client, '/v1/jobs/%s?wait=%d' % (job, BULK_SECONDS))
    while any(data for state in ('pending', 'running', 'waiting')
              for data in pages(client, 'state=%s&limit=1' % state)):
        if time.monotonic() > until:
            raise RuntimeError('jobs are unfinished after %d s' % BULK_SECONDS)
        time.sleep(POLL_SECONDS)


def accepted_ids(lines):
    results = [json.loads(line) for line in lines]
    refused = [result for result in results if result['status'] != 202]
    if refused:
        raise RuntimeError('%d lines were refused: %s' % (len(refused), refused[0]))
    return [result['id'] for result in results]


def post_lines(client, body):
    """POSTs NDJSON; the lines of the answer, unread."""
    reply = client.post('/v1/jobs', body, {'Content-Type': 'application/x-ndjson'})
    if reply.status != 200:
        raise RuntimeError('POST /v1/jobs: %r' % reply)
    return reply.body.splitlines()


class Accepted(NamedTuple):
    """Jobs that were submitted in as few POSTs as there may be."""
    ids: list
    seconds: float  # in these POSTs


def submit_copies(client, line, jobs):
    """The same job so many times. The answers are read when all of them are there."""
    answers, seconds = [], 0
    while len(answers) < jobs:
        body = line * min(LINES, jobs - len(answers))
        begun = time.monotonic()
        answers += post_lines(client, body)
        seconds += time.monotonic() - begun
    return Accepted(accepted_ids(answers), seconds)


def run_bulk(daemon, urls, jobs):
    lines = ['{"kind":"fetch","url":"%s"}\n' % url for url in urls]
    body = ''.join(lines[i % len(lines)] for i in range(jobs)).encode()
    client = daemon.client(BULK_SECONDS)
    pid = daemon.process.pid
    cpu = usage.cpu_seconds(pid)
    begun = time.monotonic()
    answers = post_lines(client, body)
    accepted = time.monotonic()
    await_all(client, accepted_ids(answers[-len(urls):]))
    ended = time.monotonic()
    return Bulk(jobs, accepted - begun, ended - begun, usage.cpu_seconds(pid) - cpu,
                usage.peak_rss_bytes(pid), accepted_ids(answers))


def check_bulk(daemon, bulk):
    """Every job of the run succeeded with the whole file: what was timed was the work."""
    client = daemon.client()
    succeeded = set()
    for page in pages(client, 'state=succeeded&limit=%d' % PAGE):
        for row in page:
            if (row['result']['status'], row['result']['body_bytes']) != (200, FILE_BYTES):
                raise RuntimeError('not the file: %s' % row)
            succeeded.add(row['id'])
    if len(set(bulk.ids)) != bulk.jobs or succeeded != set(bulk.ids):
        raise RuntimeError('%d jobs, %d ids, %d succeeded'
                           % (bulk.jobs, len(set(bulk.ids)), len(succeeded)))
    for job in (bulk.ids[0], bulk.ids[-1]):
        reply = client.get('/v1/jobs/%s/body' % job)
        if reply.status != 200 or len(reply.body) != FILE_BYTES:
            raise RuntimeError('the body of %s: %r' % (job, reply))
