"""SIGTERM and SIGINT, and what the service manager is told."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import unittest

from tests.e2e.case import Case
from tests.fixture import processes
from tests.fixture.daemon import Daemon, free_port


def trace_syncs(case, daemon, fault):
    """Has strace do something to each fsync from now on."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(daemon.process.pid), "-e",
         "trace=fsync,fdatasync", "-e", f"inject=fsync,fdatasync:{fault}"],
        stdin=subprocess.DEVNULL)
    case.addCleanup(tracer.wait)
    case.addCleanup(tracer.kill)
    while not processes.traced(daemon.process.pid):
        case.assertIsNone(tracer.poll(), "strace has ended")
        time.sleep(0.01)
    return tracer


def post_into(daemon, answers):
    """Posts a job; the status of the answer, if there is one."""
    try:
        answers.append(daemon.client().post("/v1/jobs", {"kind": "delivery"}).status)
    except OSError:
        pass


class Stop(Case):
    def test_idle(self):
        """SIGTERM and SIGINT end an idle daemon at once with exit 0."""
        daemon = self.use(Daemon())
        for number in (signal.SIGTERM, signal.SIGINT):
            started = time.monotonic()
            daemon.stop(number)
            self.assertLess(time.monotonic() - started, 5)
            daemon.start()

    def test_in_flight(self):
        """What is in flight is finished within drain_timeout, and not sent again."""
        daemon = self.use(Daemon({"scheduler": {"drain_timeout": "10s"}}))
        origin = self.origin()
        jobs = [self.submit({"kind": "fetch", "url": origin.url(f"/ok/{n}?ms=700")})
                for n in range(10)]
        origin.wait_for(10)
        daemon.stop()
        daemon.start()
        for job in jobs:
            self.assertEqual(self.get(job["id"])["state"], "succeeded")
        self.assertEqual(len(origin.seen()), 10)

    def test_waiters_get_an_answer(self):
        """Who waits is answered when the drain begins, with the job or the batch as it stands."""
        daemon = self.use(Daemon({"scheduler": {"drain_timeout": "10min"}}))
        origin = self.origin()
        batch = self.batch({"jobs": [
            {"kind": "fetch", "url": origin.url("/silent"), "timeout": "1h"}]}, "")
        answers = []
        paths = f"/v1/jobs/{batch['job_ids'][0]}", f"/v1/batches/{batch['id']}"
        waiters = [threading.Thread(target=lambda path=path: answers.append(
            self.api.get(f"{path}?wait=60s"))) for path in paths]
        for waiter in waiters:
            waiter.start()
        origin.wait_for(1)
        end = time.monotonic() + 20
        while not all(f"GET {path}" in str(self.api.get("/v1/tasks").json()) for path in paths):
            self.assertLess(time.monotonic(), end, "nobody waits")
            time.sleep(0.01)
        daemon.send(signal.SIGTERM)
        for waiter in waiters:
            waiter.join(20)
        self.assertEqual([(reply.status, reply.json()["state"]) for reply in answers],
                         [(200, "running")] * 2)
        daemon.stop()

    def test_drain_timeout(self):
        """What does not end in drain_timeout is due again at the next start."""
        daemon = self.use(Daemon({"scheduler": {"drain_timeout": "400ms"}}))
        origin = self.origin()
        job = self.submit({"kind": "fetch", "url": origin.url("/silent"), "timeout": "60s"})
        origin.wait_for(1)
        started = time.monotonic()
        daemon.stop()
        self.assertGreaterEqual(time.monotonic() - started, 0.35)
        self.assertLess(time.monotonic() - started, 5)
        self.assertTrue(origin.seen()[0].gone.wait(5))
        daemon.start()
        origin.wait_for(2)
        self.assertEqual(self.get(job["id"])["state"], "running")
        self.cancel(job["id"])

    def test_queued_jobs_are_not_started(self):
        """While it drains the daemon starts nothing new; the rest runs after the start."""
        daemon = self.use(Daemon({"lanes": [{"origin": "default", "concurrency": 2}],
                                  "scheduler": {"drain_timeout": "10s"}}))
        origin = self.origin()
        batch = self.batch({"run": "gather", "jobs": [
            {"kind": "fetch", "url": origin.url("/ok?ms=500")}] * 8}, "")
        origin.wait_for(2)
        daemon.stop()
        self.assertEqual(len(origin.seen()), 2)
        daemon.start()
        ended = self.get_batch(batch["id"], "?wait=60s")
        self.assertEqual(ended["counts"]["succeeded"], 8)
        self.assertEqual(len(origin.seen()), 8)

    def test_no_new_jobs(self):
        """While it drains new jobs are refused with 503, or nobody listens any more."""
        daemon = self.use(Daemon({"scheduler": {"drain_timeout": "5s"}}))
        origin = self.origin()
        self.submit({"kind": "fetch", "url": origin.url("/ok?ms=1000")})
        origin.wait_for(1)
        daemon.send(signal.SIGTERM)
        daemon.notify.expect("STOPPING")
        try:
            reply = self.api.post("/v1/jobs", {"kind": "delivery"})
        except OSError:
            reply = None
        if reply is not None:
            self.check_problem(reply, 503)
        self.assertEqual(daemon.wait(), 0)

    def test_streams_and_connections(self):
        """Open streams, idle connections and half lines do not hold up the stop."""
        daemon = self.use(Daemon({"scheduler": {"drain_timeout": "2s"}}))
        batch = self.batch({"run": "gather", "jobs": [{"kind": "delivery", "wait": "60s"}] * 3}, "")
        stream = self.api.stream(f"/v1/batches/{batch['id']}/results")
        self.addCleanup(stream.close)
        idle, half = self.api.socket(), self.api.socket()
        self.addCleanup(idle.close)
        self.addCleanup(half.close)
        half.sendall(b"POST /v1/jo")
        started = time.monotonic()
        daemon.stop()
        self.assertLess(time.monotonic() - started, 1.9)  # 2 s is what the last answers may take
        self.assertEqual(list(stream), [])
        daemon.start()
        self.assertEqual(self.get_batch(batch["id"])["state"], "running")

    def test_half_request(self):
        """A request that has begun and does not go on does not hold up the stop."""
        daemon = self.use(Daemon({"api": {"header_timeout": "10min"}}))
        half = self.api.socket()
        self.addCleanup(half.close)
        half.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le")
        self.check_alive()
        started = time.monotonic()
        daemon.stop()
        self.assertLess(time.monotonic() - started, 1.9)

    def test_second_signal(self):
        """A second SIGTERM or SIGINT cuts the drain short; what was in flight is due again."""
        daemon = self.use(Daemon({"scheduler": {"drain_timeout": "10min"}}))
        origin = self.origin()
        job = self.submit({"kind": "fetch", "url": origin.url("/silent"), "timeout": "1h"})
        for n, number in enumerate((signal.SIGTERM, signal.SIGINT), 1):
            origin.wait_for(n)
            daemon.send(signal.SIGTERM)
            daemon.notify.expect("STOPPING")
            started = time.monotonic()
            daemon.stop(number)
            self.assertLess(time.monotonic() - started, 8)
            daemon.start()
        origin.wait_for(3)
        self.assertEqual(self.get(job["id"])["state"], "running")
        self.cancel(job["id"])

    @unittest.skipUnless(shutil.which("strace"), "needs strace")
    def test_request_without_end(self):
        """A request that does not end, here for a commit that hangs, does not hold up the exit."""
        daemon = self.use(Daemon({"scheduler": {"drain_timeout": "100ms"}}))
        tracer = trace_syncs(self, daemon, "delay_enter=600000000")
        answers = []
        client = threading.Thread(target=post_into, args=(daemon, answers))
        client.start()
        while "POST /v1/jobs" not in str(self.api.get("/v1/tasks").json()):
            time.sleep(0.01)
        end = time.monotonic() + 20
        daemon.send(signal.SIGTERM)
        while "the stop took too long" not in daemon.stderr():
            self.assertLess(time.monotonic(), end, "the daemon has not ended")
            time.sleep(0.05)
        tracer.kill()  # it holds on to what it delays, also when that ends
        self.assertEqual(daemon.wait(30), 0)
        client.join(20)
        self.assertNotIn(202, answers)
        daemon.start()
        self.succeed({"kind": "delivery"})

    def test_in_the_middle_of_a_lot(self):
        """A stop in the middle of thousands of jobs loses none."""
        daemon = self.use(Daemon())
        batch = self.batch({"run": "gather", "jobs": [
            {"kind": "delivery", "wait": f"{n % 500}ms"} for n in range(5000)]}, "")
        for _ in range(3):
            daemon.restart()
        ended = self.get_batch(batch["id"], "?wait=60s")
        self.assertEqual(ended["counts"]["succeeded"], 5000)


class Notify(Case):
    """sd_notify(3)."""

    def test_order(self):
        """READY; RELOADING with its clock in one message, READY again; STOPPING."""
        daemon = self.use(Daemon())
        before = time.monotonic()
        daemon.reload()
        after = time.monotonic()
        daemon.send(signal.SIGTERM)
        daemon.notify.expect("STOPPING", 30)
        messages = [message for message in daemon.notify.messages
                    if {"READY", "RELOADING", "STOPPING"} & set(message)]
        self.assertEqual([next(key for key in ("READY", "RELOADING", "STOPPING") if key in message)
                          for message in messages], ["READY", "RELOADING", "READY", "STOPPING"])
        clock = int(messages[1]["MONOTONIC_USEC"]) / 1e6
        self.assertGreaterEqual(clock, before - 0.001)
        self.assertLessEqual(clock, after + 0.001)
        self.assertEqual(daemon.wait(), 0)

    def test_drain(self):
        """The manager hears how the drain goes, and that it must wait as long as it may take."""
        daemon = self.use(Daemon({"scheduler": {"drain_timeout": "100s"}}))
        origin = self.origin()
        for n in range(3):
            self.submit({"kind": "fetch", "url": origin.url(f"/silent/{n}"), "timeout": "1h"})
        origin.wait_for(3)
        daemon.send(signal.SIGTERM)
        limit = int(daemon.notify.expect("STOPPING")["EXTEND_TIMEOUT_USEC"])
        self.assertGreater(limit, 100e6)
        self.assertLess(limit, 120e6)
        for _ in range(2):
            message = daemon.notify.expect("EXTEND_TIMEOUT_USEC", 10)
            self.assertEqual(message["STATUS"], "Draining: 3 requests in flight")
            self.assertLess(int(message["EXTEND_TIMEOUT_USEC"]), limit)
            limit = int(message["EXTEND_TIMEOUT_USEC"])
        self.assertGreater(limit, 80e6)
        daemon.send(signal.SIGTERM)
        self.assertLess(int(daemon.notify.expect("EXTEND_TIMEOUT_USEC")["EXTEND_TIMEOUT_USEC"]),
                        20e6)
        self.assertEqual(daemon.wait(), 0)

    def test_ready_means_ready(self):
        """When READY has come the API answers and /readyz is 200."""
        daemon = Daemon()
        self.use(daemon)
        for _ in range(5):
            # Who connects earlier waits in the kernel's queue, so that the answer alone tells nothing.
            self.assertIn("listening on", daemon.stderr(self.log_mark))
            self.assertEqual(self.api.get("/readyz").status, 200)
            daemon.stop()
            self.log_mark = daemon.log_size()
            daemon.start()

    def test_failed_reload_is_ready_again(self):
        """READY follows a reload that failed, with a status that says so."""
        daemon = self.use(Daemon())
        good = daemon.configuration.read_text()
        daemon.configuration.write_text(good + "nonsense = 1;\n")
        message = daemon.reload()
        self.assertTrue(message.get("STATUS"), message)
        self.check_alive()

    def test_watchdog(self):
        """A manager that asks for it gets its ping in time."""
        daemon = self.use(Daemon(environment={"WATCHDOG_USEC": "400000"}))
        for _ in range(3):
            started = time.monotonic()
            daemon.notify.expect("WATCHDOG", 5)
            self.assertLess(time.monotonic() - started, 0.4)


class Log(Case):
    def test_readable(self):
        """The log is lines of text, a few for a start and a stop."""
        daemon = self.use(Daemon())
        daemon.stop()
        lines = daemon.stderr().splitlines()
        self.assertGreaterEqual(len(lines), 1)
        self.assertLess(len(lines), 20)
        for line in lines:
            self.assertTrue(line.isprintable(), line)

    @unittest.skipUnless(shutil.which("strace"), "needs strace")
    def test_nobody_reads_it(self):
        """A failed commit ends the daemon with 1, also when its log has nowhere to go."""
        daemon = Daemon()
        self.addCleanup(daemon.close)
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        daemon.launch(stderr=writer)
        daemon.notify.expect("READY", 60, daemon.pidfd)
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(4096))
        os.set_blocking(writer, True)  # it is one and the same for the daemon
        trace_syncs(self, daemon, "error=EIO")
        answers = []
        client = threading.Thread(target=post_into, args=(daemon, answers))
        client.start()
        self.assertEqual(daemon.wait(20), 1)
        client.join(20)
        self.assertNotIn(202, answers)

    def test_failures_do_not_flood(self):
        """Of many failures the first ones are there, and the number of the others."""
        daemon = self.use(Daemon())
        url = f"http://127.0.0.1:{free_port()}/"
        self.batch({"run": "gather", "jobs": [{"kind": "fetch", "url": url}] * 2000})
        daemon.stop()
        text = daemon.stderr()
        single = len(re.findall(r"job failed: ", text))
        more = sum(map(int, re.findall(r"(\d+) more jobs failed in the last second", text)))
        self.assertEqual(single + more, 2000)
        self.assertGreaterEqual(single, 10)
        self.assertLess(len(text.splitlines()), 300)

    def test_hostile_input_makes_no_lines(self):
        """What clients and targets send forges no line of the log."""
        daemon = self.use(Daemon({"log": {"level": "debug"}}))
        origin = self.origin()
        self.api.get("/v1/jobs/%0aFORGED-1")
        self.finish({"kind": "fetch", "url": origin.url("/to/302?url=%0d%0aFORGED-2://x")})
        self.api.post("/v1/jobs?wait=5s", {"kind": "delivery", "name": "a\nFORGED-3\x1b[31m"})
        self.api.raw(b"GET /v1/\x1b[31mFORGED-4 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                     b"Connection: close\r\n\r\n" % daemon.port)
        daemon.stop()
        self.assertIn("FORGED-4", daemon.stderr())
        for line in daemon.stderr().splitlines():
            self.assertFalse(line.startswith("FORGED"), line)
            self.assertNotIn("\x1b", line)
