"""Clients that are slow on purpose: a good one does not feel them, and their cost is bounded."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import time

from tests.fault.kept import Kept
from tests.fault.process import descriptors, rss_kib
from tests.fault.proof import Machine, Patience, milliseconds, percentile

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOOD_ROOM = 0.1  # the promise is a p99 of 10 ms
LOOKS = 200
HALF_OPEN_KIB = 24  # of memory for one that has sent a part of a request
ATTACK_KIB = 64  # for one that may have been answered
RETURN_SECONDS = 15  # until the descriptors of clients that went are back
FORMS = {"slowloris": ["-H", "-t", "GET"],
         "slow body": ["-B", "-t", "POST", "-s", "8192", "-f", "application/json"],
         "slow read": ["-X", "-n", "1"]}
FOUND = {"slowloris": "livez", "slow body": "v1/jobs", "slow read": "v1/jobs?limit=100"}
BODY_SECONDS = 45  # the daemon gives a body half a minute without progress
BATCH_JOBS = 300
READER_KIB = 512  # of memory for a reader of a result stream who does not read


class Good:
    """A client as others are, on new connections; how long its requests take."""

    def __init__(self, daemon):
        self.client = daemon.client(timeout=20)
        self.machine = Machine()
        self.took = []

    def look(self, looks=LOOKS):
        for n in range(looks):
            began = time.monotonic()
            reply = self.client.get("/v1/tasks" if n % 2 else "/livez") if n % 20 else \
                self.client.post("/v1/jobs?wait=10s", {"kind": "delivery", "name": "good"})
            self.took.append(time.monotonic() - began)
            if reply.status != 200:
                raise AssertionError(reply)
            self.machine.rest()
        return self

    def said(self):
        return (f"good client p50 {milliseconds(percentile(self.took, 0.5))} p99 "
                f"{milliseconds(percentile(self.took, 0.99))} of {len(self.took)} "
                f"({self.machine.said()})")

    def fine(self):
        return percentile(self.took, 0.99) < GOOD_ROOM + self.machine.room()


def await_descriptors(pid, most):
    """Waits until the process has no more than that; what it has then."""
    patience = Patience(RETURN_SECONDS, rest=0.1)
    while patience.left() and descriptors(pid) > most:
        pass
    return descriptors(pid)


def half_open(proof):
    """Thousands of connections with a part of a request."""
    count = proof.scale(4000, 10000)
    daemon = proof.daemon({"api": {"max_connections": 12000, "header_timeout": "60s"}})
    daemon.start()
    pid = daemon.process.pid
    Good(daemon).look()
    before, memory = descriptors(pid), rss_kib(pid)
    holders = [subprocess.Popen([sys.executable, "-B", "-m", "tests.fault.halfopen",
                                 str(daemon.port), str(count // 2)], cwd=ROOT, text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        held = sum(int(holder.stdout.readline()) for holder in holders)
        good = Good(daemon).look()
        grown = rss_kib(pid) - memory
    finally:
        for holder in holders:
            holder.communicate(timeout=60)
    left = await_descriptors(pid, before + 8)
    proof.row(f"{count} half-open connections", held,
              f"{good.said()}, {grown / max(held, 1):.1f} KiB each, "
              f"descriptors {before} before, {left} after",
              held >= 0.99 * count and good.fine() and grown < HALF_OPEN_KIB * count
              and left <= before + 8)


def slowhttptest(daemon, form, connections, seconds):
    return subprocess.Popen(
        ["slowhttptest", *FORMS[form], "-c", str(connections), "-r", str(connections), "-i", "1",
         "-x", "10", "-l", str(seconds), "-p", "3",
         "-u", f"http://127.0.0.1:{daemon.port}/{FOUND[form]}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


def attacks(proof):
    """slowhttptest in its three forms."""
    if not shutil.which("slowhttptest"):
        proof.row("slowhttptest", 0, "it is not installed", False)
        return
    connections, seconds = proof.scale(300, 2000), proof.scale(4, 30)
    daemon = proof.daemon({"api": {"header_timeout": "2s"}})
    daemon.start()
    pid = daemon.process.pid
    Good(daemon).look()
    before, memory = descriptors(pid), rss_kib(pid)
    for form in FORMS:
        attack = slowhttptest(daemon, form, connections, seconds)
        good, most = Good(daemon), 0
        while attack.poll() is None:
            good.look(20)
            most = max(most, descriptors(pid))
        grown = rss_kib(pid) - memory
        left = await_descriptors(pid, before + 8)
        proof.row(f"slowhttptest, {form}", connections,
                  f"{good.said()}, at most {most - before} more descriptors, {grown} KiB more, "
                  f"{max(0, left - before)} left over",
                  good.fine() and grown < ATTACK_KIB * connections
                  and left <= before + 8 and most > before + connections // 4)


class Drip:
    """Clients whose bodies come a few bytes a second, while other things go on."""

    def __init__(self, daemon, count):
        self.clients = [daemon.client().socket() for _ in range(count)]
        self.began = time.monotonic()
        self.ended = {}
        head = (f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:{daemon.port}\r\n"
                "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n").encode()
        for client in self.clients:
            client.sendall(head)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        patience = Patience(BODY_SECONDS, rest=0.2)
        while patience.left() and len(self.ended) < len(self.clients):
            for client in self.clients:
                if client not in self.ended and dripped_out(client):
                    self.ended[client] = time.monotonic() - self.began

    def report(self, proof):
        self.thread.join()
        for client in self.clients:
            client.close()
        proof.row("bodies of 5 bytes a second", len(self.clients),
                  f"{len(self.ended)} ended by the daemon, the last after "
                  f"{max(self.ended.values(), default=BODY_SECONDS):.1f} s",
                  len(self.ended) == len(self.clients))


def dripped_out(client):
    """Sends one more byte; whether the other side has ended the connection, or answered."""
    try:
        client.sendall(b" ")
        client.setblocking(False)
        client.recv(65536)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        client.setblocking(True)


def many_headers(size):
    """A header that makes a job's line of a result stream large."""
    return {f"x-{n}": "h" * 400 for n in range(size // 400)}


def slow_reader(proof):
    """Readers of a large result stream who do not read."""
    daemon, origin = proof.daemon(), proof.origin()
    daemon.start()
    pid = daemon.process.pid
    client = Kept(daemon)
    jobs = [{"kind": "fetch", "url": origin.url("/ok"), "headers": many_headers(20000)}
            for _ in range(BATCH_JOBS)]
    batch = client.post("/v1/batches", {"run": "gather", "jobs": jobs}).json()
    client.get(f"/v1/batches/{batch['id']}?wait=60s")
    whole = len(client.get(f"/v1/batches/{batch['id']}/results").body)
    before = rss_kib(pid)
    request = (f"GET /v1/batches/{batch['id']}/results HTTP/1.1\r\n"
               f"Host: 127.0.0.1:{daemon.port}\r\n\r\n").encode()
    readers = []
    for _ in range(proof.scale(20, 100)):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", daemon.port))
        reader.sendall(request)
        readers.append(reader)
    time.sleep(1.5)  # what is going to grow has begun to
    grown = rss_kib(pid) - before
    good = Good(daemon).look()
    for reader in readers:
        reader.close()
    client.close()
    left = await_descriptors(pid, descriptors(os.getpid()) + 64)
    proof.row("result streams that nobody reads", len(readers),
              f"{whole * len(readers) >> 20} MiB to send, memory grew by {grown} KiB, "
              f"{good.said()}, {left} descriptors after",
              grown < READER_KIB * len(readers) and whole > 1 << 20 and good.fine())


def bodies_beside_others(proof):
    """Bodies that drip end at their deadline, whatever the others do."""
    daemon = proof.daemon({"api": {"header_timeout": "1s"}})
    daemon.start()
    drip = Drip(daemon, 20)
    try:
        attacks(proof)
        slow_reader(proof)
    finally:
        drip.report(proof)


PARTS = [half_open, bodies_beside_others]
