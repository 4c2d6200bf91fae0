"""Too few file descriptors for clients and work: no crash, no spin, no flood, and it heals."""

import socket
import time

from tests.fault.jobs import Maker
from tests.fault.kept import Kept
from tests.fault.kill9 import audit
from tests.fault.ledger import Ledger
from tests.fault.load import LOST_CONNECTION
from tests.fault.process import cpu_seconds, descriptors
from tests.fault.proof import Patience, milliseconds
from tests.fixture.daemon import Daemon

LIMITS = (64, 128, 256)
CLIENTS = 300
JOBS = 300
WATCHED_SECONDS = 2
CPU_SECONDS = 0.3  # in that time; a spin takes all of it
LINES = 100  # beside one for each job that failed
HEAL_SECONDS = 10


class Limited(Daemon):
    nofile = None

    def command(self, *arguments):
        return ["prlimit", f"--nofile={self.nofile}:{self.nofile}", *super().command(*arguments)]


def stuck_clients(daemon):
    """Half of them are silent, half have sent a part of a request."""
    clients = []
    for n in range(CLIENTS):
        client = socket.socket()
        client.settimeout(5)
        try:
            client.connect(("127.0.0.1", daemon.port))
            if n % 2:
                client.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: ")
        except OSError:
            pass
        clients.append(client)
    return clients


def submit_all(daemon, ledger, maker):
    """Submits more than there are descriptors for, in one request."""
    client = Kept(daemon)
    made = [maker.make(("fetch", "delivery", "large")[n % 3]) for n in range(JOBS)]
    for (_, asked), line in zip(made, client.bulk([spec for spec, _ in made])):
        if line["status"] == 202:
            ledger.acknowledge(line["id"], asked.key)
    client.close()


def heal(daemon, ledger, maker):
    """Seconds until a good client's job is taken and done."""
    patience = Patience(HEAL_SECONDS * 3, rest=0.05)
    while patience.left():
        client = Kept(daemon, timeout=5)
        try:
            spec, asked = maker.make("fetch")
            reply = client.post("/v1/jobs?wait=5s", spec)
            if reply.status in (200, 202):
                ledger.acknowledge(reply.json()["id"], asked.key)
            if reply.status == 200:
                return patience.spent()
        except LOST_CONNECTION:
            pass
        finally:
            client.close()
    return patience.spent()


def few(proof, nofile):
    daemon, origin = proof.daemon({"api": {"header_timeout": "60s"}}, Limited), proof.origin()
    daemon.nofile = nofile
    ledger = Ledger(f"n{nofile}", forgiven=["Too many open files"])
    maker = Maker(ledger, origin, proof.random)
    daemon.start()
    submit_all(daemon, ledger, maker)
    clients = stuck_clients(daemon)
    time.sleep(0.5)  # what was submitted runs meanwhile; what follows is measured without it
    began, mark, spent = time.monotonic(), daemon.log_size(), cpu_seconds(daemon.process.pid)
    time.sleep(WATCHED_SECONDS)
    spent = cpu_seconds(daemon.process.pid) - spent
    lines = daemon.stderr(mark).count("\n")
    seconds = time.monotonic() - began
    most = descriptors(daemon.process.pid)
    for client in clients:
        client.close()
    healed = heal(daemon, ledger, maker)
    failures = daemon.stderr().count(" failed")
    proof.row(f"nofile {nofile}, {CLIENTS} stuck clients", 1,
              f"{spent:.2f} s of CPU in {seconds:.1f} s, {most} descriptors, {lines} log lines, "
              f"healed in {milliseconds(healed)}",
              daemon.alive() and spent < CPU_SECONDS and lines < LINES + failures
              and healed < HEAL_SECONDS)
    audit(proof, f"jobs under nofile {nofile}", len(ledger.asked), ledger, daemon, origin)


def nofile(proof):
    """Few descriptors, many clients and jobs."""
    for limit in LIMITS:
        few(proof, limit)


PARTS = [nofile]
