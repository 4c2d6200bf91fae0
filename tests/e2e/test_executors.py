"""Executors: a coroutine, a thread or a worker process carries the same exchange."""

import base64
import os
import select
import signal
import time

from tests.e2e.case import Case, DaemonCase
from tests.fixture.answers import content
from tests.fixture.blackhole import Blackhole
from tests.fixture.daemon import Daemon
from tests.fixture.processes import descendants, holds_connection_to

EXECUTORS = ("coroutine", "thread", "process")
BLOCKING = ("thread", "process")
NO_TIME = ("timeout", "outcome_unknown")


def unset(attempt):
    """The fields of an attempt that do not apply to it."""
    return {name for name, value in attempt.items() if value is None}


class Exchange(DaemonCase):
    """What a job says of its exchange does not depend on who carried it."""

    def test_default(self):
        """A job that does not say otherwise runs on a coroutine."""
        self.assertEqual(self.succeed({"kind": "delivery"})["executor"], "coroutine")

    def test_body_and_headers(self):
        """The server sees the same request, and the job has the same fields."""
        seen, encoded = {}, base64.b64encode(b"\0body\xff").decode()
        for executor in EXECUTORS:
            with self.subTest(executor):
                origin = self.origin()
                job = self.succeed({
                    "kind": "fetch", "method": "POST", "url": origin.url("/echo?ms=20"),
                    "executor": executor, "body": {"base64": encoded},
                    "headers": {"X-Own": ["a", "b"], "Content-Type": "text/x-own"}})
                self.assertEqual(job["executor"], executor)
                request = origin.wait_for(1)[0]
                self.assertEqual(request.body, b"\0body\xff")
                attempt, = job["attempts"]
                self.assertEqual(attempt["remote"], f"127.0.0.1:{origin.port}")
                self.assertGreaterEqual(attempt["first_byte_ms"], 19)
                seen[executor] = {
                    "request": sorted(h for h in request.headers if h[0] != "host"),
                    "unset": unset(attempt), "type": job["result"]["body_type"],
                    "headers": sorted(job["result"]["headers"]),
                    **{name: attempt[name] for name in (
                        "n", "hop", "step", "method", "reused", "status", "http_version",
                        "sent_bytes", "reached")}}
        for executor in BLOCKING:
            self.assertEqual(seen.get(executor), seen.get("coroutine"), executor)

    def test_bodies(self):
        """Bodies of every size come whole: in memory, in a file, chunked, none."""
        for executor in EXECUTORS:
            with self.subTest(executor):
                origin = self.origin()
                for path, body in (("/ok?size=1000&seed=1", content(1000, 1)),
                                   ("/ok?size=300000&seed=2", content(300000, 2)),
                                   ("/ok?size=90000&seed=3&chunked", content(90000, 3)),
                                   ("/nocontent", b"")):
                    job = self.succeed({"kind": "fetch", "url": origin.url(path),
                                        "executor": executor})
                    self.assertEqual(job["result"]["body_bytes"], len(body), path)
                    if body:
                        self.assertEqual(self.body(job["id"]), body, path)
                job = self.succeed({"kind": "fetch", "url": origin.url("/ok?size=500"),
                                    "method": "HEAD", "executor": executor})
                self.assertEqual(job["result"]["body_bytes"], 0)

    def test_large_upload(self):
        """A request's body of some megabytes arrives whole."""
        for executor in EXECUTORS:
            with self.subTest(executor):
                origin = self.origin()
                self.succeed({"kind": "fetch", "method": "PUT", "url": origin.url("/ok"),
                              "executor": executor, "body": "u" * 3000000})
                self.assertEqual(origin.wait_for(1)[0].body, b"u" * 3000000)

    def test_redirects(self):
        """Two hops are three attempts, each carried by the job's executor."""
        for executor in EXECUTORS:
            with self.subTest(executor):
                origin, other = self.origin(), self.origin(host="127.0.0.2")
                there = other.url(f"/to/302?url={origin.url('/echo?ms=300')}")
                job = self.submit({"kind": "fetch", "executor": executor,
                                   "url": origin.url(f"/to/302?url={there}")})
                origin.wait_for(1, "/echo")
                self.assertEqual(holds_connection_to(self.daemon.process.pid, origin.port),
                                 executor != "process")
                job = self.ended(job["id"])
                self.assertEqual(job["state"], "succeeded", job)
                self.assertEqual([(a["hop"], a["status"]) for a in job["attempts"]],
                                 [(0, 302), (1, 302), (2, 200)])
                self.assertEqual([len(origin.seen()), len(other.seen())], [2, 1])

    def test_failures(self):
        """What goes wrong has the same code, phase and reach."""
        paths = {"/close": {}, "/reset/body": {}, "/length/long": {}, "/head/garbage": {},
                 "/status/500": {}, "/ok?size=5000": {"max_body": 1000},
                 "/drip/body?ms=100": {"timeout": "500ms"}}
        for path, more in paths.items():
            ended = {}
            for executor in EXECUTORS:
                with self.subTest(executor):
                    origin = self.origin()
                    job = self.finish({"kind": "fetch", "url": origin.url(path),
                                       "executor": executor, **more})
                    self.assertEqual(job["state"], "failed", job)
                    attempt, = job["attempts"]
                    error = job["error"]
                    ended[executor] = (error["code"], error["phase"], error["retry_safe"],
                                       attempt["reached"], unset(attempt), job["result"] is None)
                    self.assertEqual(len(origin.seen()), 1, "requests equal attempts")
            for executor in BLOCKING:
                self.assertEqual(ended.get(executor), ended.get("coroutine"), (path, executor))

    def test_timeout(self):
        """A server that says nothing is left alone when the time is up."""
        for executor in EXECUTORS:
            with self.subTest(executor):
                origin = self.origin()
                job = self.fail_with({"kind": "fetch", "url": origin.url("/silent"),
                                      "timeout": "400ms", "executor": executor}, NO_TIME)
                self.assertGreaterEqual(job["run_ms"], 399)
                self.assertLess(job["run_ms"], 2000)
                self.assertTrue(origin.seen()[0].gone.wait(5))

    def test_cancel(self):
        """A cancel in mid-flight closes the connection at once."""
        for executor in EXECUTORS:
            with self.subTest(executor):
                for path in ("/silent", "/drip/body?ms=30"):
                    origin = self.origin()
                    job = self.submit({"kind": "fetch", "url": origin.url(path),
                                       "executor": executor})
                    request = origin.wait_for(1)[0]
                    begun = time.monotonic()
                    self.cancel(job["id"])
                    self.assertTrue(request.gone.wait(5))
                    self.assertLess(time.monotonic() - begun, 2)
                    self.assertEqual(self.get(job["id"])["state"], "cancelled")

    def test_cancel_while_connecting(self):
        """A cancel does not wait for a connection that never comes."""
        for executor in EXECUTORS:
            with self.subTest(executor):
                hole = Blackhole()
                self.addCleanup(hole.close)
                job = self.submit({"kind": "fetch", "url": hole.url(), "executor": executor})
                while self.get(job["id"], "?wait=20ms")["state"] == "pending":
                    pass
                begun = time.monotonic()
                self.cancel(job["id"])
                self.assertLess(time.monotonic() - begun, 2)

    def test_delivery(self):
        """Both network steps of a delivery use its executor."""
        for executor in EXECUTORS:
            with self.subTest(executor):
                origin = self.origin()
                job = self.submit({"kind": "delivery", "executor": executor, "payload": {"n": 1},
                                   "url": origin.url("/ok/hook?ms=300"), "wait": "50ms",
                                   "collect": {"url": origin.url("/ok/answer?ms=300&size=700")}})
                for step in ("hook", "answer"):
                    origin.wait_for(1, f"/ok/{step}")
                    self.assertEqual(holds_connection_to(self.daemon.process.pid, origin.port),
                                     executor != "process", step)
                job = self.ended(job["id"])
                self.assertEqual(job["state"], "succeeded", job)
                self.assertEqual(job["executor"], executor)
                self.assertEqual(self.body(job["id"]), content(700))


class Blocked(DaemonCase):
    """Egress rules hold for every executor."""

    @classmethod
    def make_daemon(cls):
        return Daemon({"egress": {"allow": ["127.0.0.1/32"]}},
                      files={"/etc/hosts": "127.0.0.2 inner.test\n127.0.0.1 outer.test\n"})

    def test_blocked(self):
        """A name or a redirect that leads to a blocked address is not followed there."""
        for executor in EXECUTORS:
            with self.subTest(executor):
                origin, other = self.origin(), self.origin(host="127.0.0.2")
                for url in (f"http://inner.test:{other.port}/ok",
                            origin.url(f"/to/302?url=http://inner.test:{other.port}/ok"),
                            origin.url(f"/to/302?url={other.url()}")):
                    self.fail_with({"kind": "fetch", "url": url, "executor": executor},
                                   "blocked_address")
                self.assertEqual(other.connections, 0)
                job = self.succeed({"kind": "fetch", "executor": executor,
                                    "url": f"http://outer.test:{origin.port}/ok"})
                self.assertEqual(job["attempts"][0]["remote"], f"127.0.0.1:{origin.port}")


class Pools(Case):
    """The pools are as large as the configuration says."""

    SETTINGS = {"scheduler": {"executor_threads": 2, "executor_processes": 3}}

    def test_size(self):
        """So many exchanges at a time, not more; coroutines need no pool."""
        self.use(Daemon(self.SETTINGS))
        for executor, at_once in (("thread", 2), ("process", 3), ("coroutine", 12)):
            with self.subTest(executor):
                origin = self.origin()
                jobs = [{"kind": "fetch", "url": origin.url("/ok?ms=200"),
                         "executor": executor}] * 12
                batch = self.batch({"run": "gather", "jobs": jobs})
                self.assertEqual(batch["counts"]["succeeded"], 12, batch)
                self.assertEqual(origin.high_water, at_once)

    def test_waiting_is_no_part_of_a_try(self):
        """Who waits for a full pool has not begun: no timeout runs, and it can be cancelled."""
        self.use(Daemon({"scheduler": {"executor_threads": 1, "executor_processes": 1}}))
        for executor in BLOCKING:
            with self.subTest(executor):
                origin = self.origin()
                first = self.submit({"kind": "fetch", "url": origin.url("/silent"),
                                     "executor": executor})
                origin.wait_for(1)
                second = {"kind": "fetch", "url": origin.url("/ok"), "executor": executor,
                          "timeout": "300ms"}
                waiting = self.submit(second)
                dropped = self.submit(second)
                self.get(waiting["id"], "?wait=600ms")
                self.assertEqual(origin.seen("/ok"), [])
                self.cancel(dropped["id"])
                self.cancel(first["id"])
                done = self.get(waiting["id"], "?wait=10s")
                self.assertEqual(done["state"], "succeeded", done)
                self.assertGreaterEqual(done["queued_ms"], 600)
                self.assertLess(done["run_ms"], 600)
                self.assertGreaterEqual(done["attempts"][0]["lane_wait_ms"], 600)

    def test_full_pool_holds_no_other_executor_up(self):
        """While every thread and process is busy, coroutines go on."""
        self.use(Daemon({"scheduler": {"executor_threads": 1, "executor_processes": 1}}))
        origin = self.origin()
        held = [self.submit({"kind": "fetch", "url": origin.url("/silent"), "executor": executor})
                for executor in BLOCKING]
        origin.wait_for(2)
        self.assertLess(self.succeed({"kind": "fetch", "url": origin.url()})["run_ms"], 1000)
        for job in held:
            self.cancel(job["id"])


class Workers(Case):
    """Worker processes that die, and a daemon that dies."""

    def workers(self):
        """A pidfd by pid of every process below the daemon."""
        found = {}
        for pid in descendants(self.daemon.process.pid):
            found[pid] = os.pidfd_open(pid)
            self.addCleanup(os.close, found[pid])
        return found

    def check_gone(self, workers):
        for pid, pidfd in workers.items():
            ready, _, _ = select.select([pidfd], [], [], 10)
            self.assertTrue(ready, f"worker {pid} is still there")

    def kill_workers(self):
        """Kills every worker there is; the caller has an exchange in one of them."""
        workers = self.workers()
        self.assertTrue(workers)
        for pidfd in workers.values():
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        self.check_gone(workers)

    def test_crash_fails_one_attempt(self):
        """The worker dies in mid-exchange: one attempt has failed, the next try succeeds."""
        self.use(Daemon({"scheduler": {"executor_processes": 1}}))
        origin = self.origin()
        job = self.submit({"kind": "fetch", "url": origin.url("/ok/mine?ms=1000&size=100"),
                           "executor": "process",
                           "retry": {"attempts": 2, "backoff": "10ms", "max_backoff": "20ms"}})
        beside = self.submit({"kind": "fetch", "url": origin.url("/ok?ms=1500"),
                              "executor": "thread"})
        origin.wait_for(2)
        self.kill_workers()
        job = self.ended(job["id"])
        self.assertEqual(job["state"], "succeeded", job)
        first, second = job["attempts"]
        self.assertEqual([first["n"], second["n"]], [1, 2])
        self.assertIsNotNone(first["error"])
        self.assertIsNone(first["status"])
        self.assertEqual(second["status"], 200)
        self.assertEqual(self.body(job["id"]), content(100))
        self.assertEqual(len(self.ended(beside["id"])["attempts"]), 1)
        self.assertEqual(len(origin.seen()), 3, "requests equal attempts")
        self.assertTrue(origin.seen("/ok/mine")[0].gone.wait(5))

    def test_crash_is_an_unknown_outcome(self):
        """A request that must not be repeated unknowingly is not, when its worker dies."""
        self.use(Daemon({"scheduler": {"executor_processes": 1}}))
        origin = self.origin()
        job = self.submit({"kind": "fetch", "method": "POST", "url": origin.url("/silent"),
                           "executor": "process", "retry": {"attempts": 3, "backoff": "10ms"}})
        origin.wait_for(1)
        self.kill_workers()
        job = self.ended(job["id"])
        self.assertEqual(job["state"], "failed", job)
        self.assertEqual(job["error"]["code"], "outcome_unknown")
        self.assertEqual([len(job["attempts"]), len(origin.seen())], [1, 1])

    def test_crashes_wear_nothing_out(self):
        """Workers that die again and again are replaced each time."""
        self.use(Daemon({"scheduler": {"executor_processes": 2}}))
        origin = self.origin()
        for _ in range(10):
            job = self.submit({"kind": "fetch", "url": origin.url("/silent"),
                               "executor": "process"})
            origin.wait_until(lambda: origin.active == 1)
            self.kill_workers()
            self.assertEqual(self.ended(job["id"])["state"], "failed")
            origin.wait_until(lambda: origin.active == 0)
        jobs = [{"kind": "fetch", "url": origin.url("/ok?ms=50"), "executor": "process"}] * 6
        batch = self.batch({"run": "gather", "jobs": jobs})
        self.assertEqual(batch["counts"]["succeeded"], 6, batch)
        self.assertLessEqual(len(self.workers()), 2)

    def hold_each(self, origin, ms):
        """A fetch in flight in every executor; their ids by executor."""
        jobs = {executor: self.submit({"kind": "fetch", "url": origin.url(f"/ok?ms={ms}"),
                                       "executor": executor})["id"] for executor in EXECUTORS}
        origin.wait_for(3)
        return jobs

    def test_killed_daemon_takes_its_workers_along(self):
        """kill -9 of the daemon leaves no worker; its next start resumes every executor's job."""
        daemon = self.use(Daemon())
        origin = self.origin()
        jobs = self.hold_each(origin, 700)
        workers = self.workers()
        self.assertTrue(workers)
        daemon.kill()
        self.check_gone(workers)
        for request in origin.seen():
            self.assertTrue(request.gone.wait(5))
        daemon.start()
        origin.wait_for(6)
        self.assertTrue(self.workers(), "the job of a process is carried by another one now")
        for executor, job_id in jobs.items():
            job = self.ended(job_id)
            self.assertEqual((job["state"], job["executor"]), ("succeeded", executor), job)
        self.assertEqual(len(origin.seen()), 6)

    def test_stop_drains(self):
        """SIGTERM lets what is in flight end, in every executor, and leaves no worker."""
        daemon = self.use(Daemon())
        origin = self.origin()
        jobs = self.hold_each(origin, 600)
        workers = self.workers()
        daemon.stop()
        self.check_gone(workers)
        daemon.start()
        for executor, job_id in jobs.items():
            job = self.get(job_id)
            self.assertEqual((job["state"], job["executor"]), ("succeeded", executor), job)
        self.assertEqual(len(origin.seen()), 3)

    def test_stop_does_not_wait_for_ever(self):
        """What does not end in drain_timeout is due again at the next start."""
        daemon = self.use(Daemon({"scheduler": {"drain_timeout": "300ms"}}))
        origin = self.origin()
        jobs = self.hold_each(origin, 3000)
        workers = self.workers()
        begun = time.monotonic()
        daemon.stop()
        self.assertLess(time.monotonic() - begun, 2.5)
        self.check_gone(workers)
        daemon.start()
        for job_id in jobs.values():
            self.assertEqual(self.ended(job_id)["state"], "succeeded")
        self.assertEqual(len(origin.seen()), 6)

    def test_in_the_store(self):
        """A job that is not due keeps its executor over a restart."""
        daemon = self.use(Daemon())
        jobs = {executor: self.submit({"kind": "fetch", "url": "http://127.0.0.1/", "delay": "1h",
                                       "executor": executor})["id"] for executor in EXECUTORS}
        daemon.kill()
        daemon.start()
        for executor, job_id in jobs.items():
            self.assertEqual(self.get(job_id)["executor"], executor)
        self.assertEqual({job["id"]: job["executor"] for job in self.listed()},
                         {job_id: executor for executor, job_id in jobs.items()})
