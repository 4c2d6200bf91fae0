"""More than the daemon may take: an answer at once that says which limit it is, and no harm done."""

import contextlib
import pathlib
import resource
import signal
import socket
import statistics
import time

from tests.e2e.case import Case
from tests.fixture.daemon import Daemon
from tests.fixture.http import read_all

HALF_OPEN = 10000


@contextlib.contextmanager
def descriptors(wanted):
    """As many as `wanted` for this process, or as many as there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    try:
        yield most
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Overload(Case):
    def dial(self):
        return socket.create_connection(("127.0.0.1", self.daemon.port), 20)

    def slowest(self, times=300):
        """Seconds that 99 of 100 requests take at most, each over a connection of its own."""
        taken = []
        for _ in range(times):
            started = time.monotonic()
            with self.dial() as good:
                good.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost:%d\r\n"
                             b"Connection: close\r\n\r\n" % self.daemon.port)
                self.assertIn(b" 200 ", read_all(good).split(b"\r\n")[0])
            taken.append(time.monotonic() - started)
        return statistics.quantiles(taken, n=100)[98]

    def check_half_open(self, limit):
        """Fills this limit, with the others out of reach."""
        with descriptors(HALF_OPEN + 1000) as most, contextlib.ExitStack() as open_ones:
            n = min(HALF_OPEN, most - 1000)
            more = {"max_connections": n + 100, "max_connections_per_client": n + 100}
            self.use(Daemon({"api": {**more, limit: n, "header_timeout": "10min"}}))
            before = self.slowest()
            for _ in range(n):
                open_ones.enter_context(self.dial()).sendall(b"GET /livez HTTP/1.1\r\nHo")
            time.sleep(1.2)  # who has just come has a second
            self.assertLess(self.slowest(), max(0.010, 3 * before))

    def test_half_open(self):
        """Thousands who never end their heads take nothing from others, not even the last place."""
        self.check_half_open("max_connections")

    def test_half_open_of_one_client(self):
        """Nor does a client take the last place of its own from itself."""
        self.check_half_open("max_connections_per_client")

    def test_no_descriptors(self):
        """Who finds no descriptor left is told 503; the daemon neither spins nor floods its log."""
        daemon = self.use(Daemon())
        pid = daemon.process.pid
        held = len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(64, held + 20),) * 2)
        with contextlib.ExitStack() as clients:
            sockets = [clients.enter_context(self.dial()) for _ in range(300)]
            statuses = []
            for each in sockets:
                each.settimeout(20)
                with contextlib.suppress(ConnectionError):  # refused before it was sent
                    each.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % daemon.port)
                with contextlib.suppress(ConnectionError):
                    statuses.append(each.recv(4096).split(b" ")[1:2])
            self.assertGreaterEqual(statuses.count([b"200"]), 10)
            self.assertGreaterEqual(statuses.count([b"503"]), 200)
            before = cpu_seconds(pid)
            time.sleep(1)
            self.assertLess(cpu_seconds(pid) - before, 0.1)
        self.assertLess(daemon.stderr(self.log_mark).count("\n"), 20)
        deadline = time.monotonic() + 20
        while self.api.get("/livez").status != 200:
            self.assertLess(time.monotonic(), deadline)

    def test_full_queue(self):
        """A full queue says so for a job, a batch and each line, and when to come back."""
        self.use(Daemon({"store": {"max_jobs": 3}}))
        job = {"kind": "delivery", "delay": "1h"}
        for _ in range(3):
            self.submit(job)
        started = time.monotonic()
        replies = [self.api.post("/v1/jobs", job), self.api.post("/v1/batches", {"jobs": [job]})]
        for reply in replies:
            self.assertEqual(reply.status, 503, reply)
            self.assertGreaterEqual(int(reply.headers["Retry-After"]), 1)
            self.assertIn("store.max_jobs", reply.json()["detail"])
        reply = self.api.ndjson("/v1/jobs", [job, job])
        self.assertEqual(reply.status, 200)
        self.assertGreaterEqual(int(reply.headers["Retry-After"]), 1)
        for line in reply.lines():
            self.assertEqual(line["status"], 503)
            self.assertGreaterEqual(line["retry_after_s"], 1)
        self.assertLess(time.monotonic() - started, 0.3)
        cancelled = self.api.get("/v1/jobs?limit=1").json()["data"][0]["id"]
        self.assertEqual(self.api.post(f"/v1/jobs/{cancelled}/cancel").status, 200)
        self.submit(job)

    def test_draining(self):
        """While jobs in flight end, a new one is told 503, when to come back, and to hang up."""
        daemon = self.use(Daemon({"scheduler": {"drain_timeout": "20s"}}))
        origin = self.origin()
        self.submit({"kind": "fetch", "url": origin.url("/ok?ms=3000")})
        origin.wait_for(1)
        daemon.send(signal.SIGTERM)
        deadline = time.monotonic() + 2
        reply = self.api.post("/v1/jobs", {"kind": "delivery"})
        while reply.status == 202:
            self.assertLess(time.monotonic(), deadline)
            reply = self.api.post("/v1/jobs", {"kind": "delivery"})
        self.assertEqual(reply.status, 503, reply)
        self.assertGreaterEqual(int(reply.headers["Retry-After"]), 1)
        self.assertEqual(reply.headers["Connection"], "close")
        self.assertEqual(daemon.wait(), 0)
