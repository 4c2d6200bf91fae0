"""Crashes and restarts: what was acknowledged ends, what has ended stays as it is."""

import http.client
import json
import os
import threading
import time

from tests.e2e.case import Case
from tests.e2e.shapes import ENDED, instant
from tests.fixture.answers import content
from tests.fixture.daemon import Daemon

QUICK = {"attempts": 3, "backoff": "20ms", "max_backoff": "50ms"}


class Crash(Case):
    """kill -9 in the middle of the work."""

    ACTIVE = 24
    KILLS = 5

    def mixed_jobs(self, origins):
        """Three hundred: fetches, deliveries without and with a network."""
        jobs = []
        for n in range(100):
            origin = origins[n % len(origins)]
            url = origin.url(f"/ok/fetch/{n}?ms=150&size=200&seed={n}")
            jobs.append({"kind": "fetch", "url": url, "retry": QUICK})
            jobs.append({"kind": "delivery", "name": str(n), "wait": f"{100 + 20 * n}ms"})
            jobs.append({"kind": "delivery", "url": origin.url(f"/ok/deliver/{n}?ms=30"),
                         "payload": {"n": n}, "wait": f"{300 + 10 * n}ms", "retry": QUICK,
                         "collect": {"url": origin.url(f"/ok/collect/{n}?ms=30")}})
        return jobs

    def ended_now(self, batch):
        """The jobs of the batch that have ended, as they are shown whole."""
        return {job["id"]: self.get(job["id"]) for job in self.listed(f"&batch={batch['id']}")
                if job["state"] in ENDED}

    def test_gather_of_300(self):
        """Killed and started five times, each job of a gather ends once and stays as it ended."""
        daemon = self.use(Daemon({"scheduler": {"max_active": self.ACTIVE},
                                  "lanes": [{"origin": "default", "concurrency": 8}]}))
        origins = [self.origin(), self.origin(), self.origin(host="127.0.0.2")]
        batch = self.batch({"run": "gather", "jobs": self.mixed_jobs(origins)}, "")
        self.assertEqual(batch["counts"]["total"], 300)

        finished = {}
        for kill in range(self.KILLS):
            origins[0].wait_for(15 * (kill + 1), timeout=60)
            finished.update(self.check_unchanged(finished, batch))
            daemon.kill()
            daemon.start()
            finished.update(self.check_unchanged(finished, batch))
        ended = self.get_batch(batch["id"], "?wait=90s")
        jobs = self.jobs_of(batch)
        aside = [job for job in jobs if job["state"] == "failed"]
        self.assertEqual(ended["counts"]["succeeded"], 300 - len(aside), ended)
        for job in aside:
            self.check_set_aside(job)
        jobs = [job for job in jobs if job not in aside]
        unfinished = {job["request"]["url"].partition("?")[0].rpartition("/")[2] for job in aside}
        self.check_unchanged(finished, batch)
        self.check_jobs(jobs)
        self.check_requests(jobs, origins, unfinished)
        self.check_results(batch)

    def check_set_aside(self, job):
        """It was in flight at three kills in a row, and says so."""
        self.assertEqual(job["error"]["code"], "daemon_crashed", job)
        lost = [attempt for attempt in job["attempts"]
                if (attempt["error"] or {}).get("code") == "outcome_unknown"]
        self.assertGreaterEqual(len(lost), 3, job)

    def check_unchanged(self, finished, batch):
        """Every job that was seen to have ended is still there, the same in every field."""
        now = self.ended_now(batch)
        for job_id, job in finished.items():
            self.assertEqual(now[job_id], job, "a finished job has changed")
        return now

    def check_jobs(self, jobs):
        for job in jobs:
            self.assertEqual(job["state"], "succeeded", job)
            if job["kind"] == "delivery":
                at = {event["event"]: instant(event["at"]) for event in job["events"]}
                self.assertEqual(list(at), ["delivered", "waited", "collected"], job)
                self.assertGreaterEqual((at["waited"] - at["delivered"]) * 1000,
                                        job["wait_ms"] - 1, job)
            else:
                number = int(job["request"]["url"].rpartition("seed=")[2])
                self.assertEqual(self.body(job["id"]), content(200, number))

    def check_requests(self, jobs, origins, unfinished):
        """Nothing is lost; a kill adds at most one unrecorded request for each slot."""
        sent = [request for origin in origins for request in origin.seen()]
        recorded = sum(len(job["attempts"]) for job in jobs)
        self.assertGreaterEqual(len(sent), 300 - 2 * len(unfinished))
        self.assertLessEqual(len(sent), recorded + self.KILLS * self.ACTIVE + 10 * len(unfinished))
        paths = [request.path for request in sent]
        for n in range(100):
            for kind in ("fetch", "deliver", "collect"):
                if str(n) not in unfinished:
                    self.assertIn(f"/ok/{kind}/{n}", paths)
                self.assertLessEqual(paths.count(f"/ok/{kind}/{n}"), 1 + self.KILLS)

    def check_results(self, batch):
        results = self.api.get(f"/v1/batches/{batch['id']}/results").lines()
        self.assertEqual(len(results), 300)
        numbers = [job["finished_seq"] for job in results]
        self.assertEqual(numbers, sorted(set(numbers)))

    def test_finished_jobs_are_not_run_again(self):
        """What has ended before the kill is not sent again after it."""
        daemon = self.use(Daemon())
        origin = self.origin()
        jobs = [self.succeed({"kind": "fetch", "url": origin.url(f"/ok/{n}")}) for n in range(20)]
        daemon.kill()
        daemon.start()
        for job in jobs:
            self.assertEqual(self.get(job["id"]), job)
        self.succeed({"kind": "fetch", "url": origin.url("/ok/last")})
        self.assertEqual(len(origin.seen()), 21)

    def test_acknowledged_while_dying(self):
        """Every job whose 202 has arrived before a kill is there after it, and ends."""
        daemon = self.use(Daemon({"api": {"max_connections": 100}}))
        acknowledged, stop = [], threading.Event()

        def submit():
            while not stop.is_set():
                try:
                    reply = self.api.post("/v1/jobs", {"kind": "delivery", "wait": "50ms"})
                    if reply.status == 202:
                        acknowledged.append(reply.json()["id"])
                except (OSError, http.client.HTTPException, ValueError):
                    stop.wait(0.01)  # it is dead, or died in the middle of the answer

        threads = [threading.Thread(target=submit) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            for round_number in range(1, 5):
                end = time.monotonic() + 60
                while len(acknowledged) < 100 * round_number:
                    self.assertLess(time.monotonic(), end, "too few jobs are acknowledged")
                    stop.wait(0.005)
                daemon.kill()
                daemon.start()
        finally:
            stop.set()
            for thread in threads:
                thread.join(30)
        self.assertGreaterEqual(len(acknowledged), 400)
        for job_id in acknowledged:
            self.assertEqual(self.ended(job_id)["state"], "succeeded")

    def test_sequence_goes_on(self):
        """A sequence that was killed goes on in its order, with nothing twice that had ended."""
        daemon = self.use(Daemon())
        origin = self.origin()
        batch = self.batch({"run": "sequence", "jobs": [
            {"kind": "fetch", "url": origin.url(f"/ok/{n}?ms=50"), "retry": QUICK}
            for n in range(20)]}, "")
        for wanted in (5, 12):
            origin.wait_for(wanted)
            daemon.kill()
            daemon.start()
        ended = self.get_batch(batch["id"], "?wait=60s")
        self.assertEqual(ended["counts"]["succeeded"], 20)
        order = [int(request.path.rpartition("/")[2]) for request in origin.seen()]
        self.assertEqual(order, sorted(order))
        self.assertLessEqual(len(order), 22)
        self.assertEqual(origin.high_water, 1)

    def test_unknown_outcome(self):
        """A POST in flight at a kill is not repeated, unless it may be."""
        daemon = self.use(Daemon())
        origin = self.origin()
        fail = self.submit({"kind": "fetch", "method": "POST", "url": origin.url("/ok/no?ms=3000")})
        again = self.submit({"kind": "fetch", "method": "POST", "idempotent": True,
                             "url": origin.url("/ok/yes?ms=3000")})
        get = self.submit({"kind": "fetch", "url": origin.url("/ok/get?ms=3000")})
        origin.wait_for(3)
        self.submit({"kind": "delivery"})  # committed behind the note that the POST has begun
        daemon.kill()
        daemon.start()
        job = self.ended(fail["id"])
        self.assertEqual(job["state"], "failed", job)
        self.assertEqual(job["error"]["code"], "outcome_unknown")
        self.assertEqual(self.ended(again["id"])["state"], "succeeded")
        self.assertEqual(self.ended(get["id"])["state"], "succeeded")
        self.assertEqual([len(origin.seen(f"/ok/{name}")) for name in ("no", "yes", "get")],
                         [1, 2, 2])

    def test_sequence_after_an_unknown_outcome(self):
        """A member that ends while the daemon starts lets its successor go like any other."""
        daemon = self.use(Daemon())
        origin = self.origin()
        jobs = [{"kind": "fetch", "method": "POST", "url": origin.url("/ok/0?ms=3000")}]
        jobs += [{"kind": "fetch", "method": "POST", "url": origin.url(f"/ok/{n}")}
                 for n in range(1, 4)]
        batch = self.batch({"run": "sequence", "jobs": jobs}, "")
        origin.wait_for(1)
        self.submit({"kind": "delivery"})  # committed behind the note that the POST has begun
        daemon.kill()
        daemon.start()
        ended = self.get_batch(batch["id"], "?wait=30s")
        self.assertEqual((ended["counts"]["failed"], ended["counts"]["succeeded"]), (1, 3), ended)
        self.assertEqual(len(origin.seen()), 4)

    def test_deadlines_that_passed_meanwhile(self):
        """What became overdue while the daemon was down ends at the start, and its batch goes on."""
        daemon = self.use(Daemon())
        gather = self.batch({"run": "gather", "on_error": "cancel", "jobs": [
            {"kind": "delivery", "wait": "1h", "deadline": "500ms"} for _ in range(600)]}, "")
        sequence = self.batch({"run": "sequence", "jobs": [
            {"kind": "delivery", "wait": "1h", "deadline": "500ms"},
            {"kind": "delivery"}, {"kind": "delivery"}]}, "")
        daemon.kill()
        time.sleep(0.6)  # the deadlines are dates; nothing else can be waited for
        daemon.start()
        self.assertEqual(self.get_batch(gather["id"], "?wait=30s")["state"], "failed")
        ended = self.get_batch(sequence["id"], "?wait=30s")
        self.assertEqual((ended["counts"]["failed"], ended["counts"]["succeeded"]), (1, 2), ended)

    def test_large_bodies(self):
        """Bodies in files are whole after a kill, and torn ones leave nothing behind."""
        daemon = self.use(Daemon())
        origin = self.origin()
        kept = self.succeed({"kind": "fetch", "url": origin.url("/ok?size=3000000&seed=5")})
        torn = self.submit({"kind": "fetch", "url": origin.url("/drip/body?ms=1000&n=1000")})
        origin.wait_for(1, "/drip/body")
        daemon.kill()
        (daemon.state / "bodies" / "0000-orphan").write_bytes(b"left behind")
        daemon.start()
        self.assertEqual(self.body(kept["id"]), content(3000000, 5))
        self.assertFalse((daemon.state / "bodies" / "0000-orphan").exists())
        self.cancel(torn["id"])


class Waits(Case):
    """A wait survives a restart and counts from when it began."""

    def delivered(self, wait):
        job = self.submit({"kind": "delivery", "wait": wait})
        while (now := self.get(job["id"], "?wait=20ms"))["state"] != "waiting":
            pass
        return now

    def check_wait(self, job_id, seconds, slack=0.3):
        job = self.ended(job_id)
        self.assertEqual(job["state"], "succeeded")
        delivered, waited, _ = (instant(event["at"]) for event in job["events"])
        self.assertGreaterEqual(waited - delivered, seconds - 0.001)
        self.assertLess(waited - delivered, seconds + slack)

    def test_kill(self):
        """After a kill in the wait the delivery ends when it would have."""
        daemon = self.use(Daemon())
        job = self.delivered("2500ms")
        daemon.kill()
        daemon.start()
        shown = self.get(job["id"])
        self.assertEqual(shown["events"], job["events"])
        self.assertEqual(shown["state"], "waiting")
        self.assertAlmostEqual(instant(shown["due_at"]), instant(job["due_at"]), 2)
        self.check_wait(job["id"], 2.5)

    def test_stop(self):
        """So it is after a proper stop."""
        daemon = self.use(Daemon())
        job = self.delivered("2500ms")
        daemon.restart()
        self.check_wait(job["id"], 2.5)

    def test_over_while_down(self):
        """A wait that has ended while the daemon was down ends at the start."""
        daemon = self.use(Daemon())
        job = self.delivered("300ms")
        daemon.kill()
        time.sleep(0.5)  # the wait is to end while nobody is there
        daemon.start()
        self.assertEqual(self.ended(job["id"])["state"], "succeeded")

    def test_delay_and_retry(self):
        """Delays and retry delays go on across a kill, too."""
        daemon = self.use(Daemon())
        origin = self.origin()
        delayed = self.submit({"kind": "fetch", "url": origin.url("/ok"), "delay": "2s"})
        failing = self.submit({"kind": "fetch", "url": origin.url("/status/503"),
                               "retry": {"attempts": 2, "backoff": "2s", "max_backoff": "2s"}})
        while not self.get(failing["id"], "?wait=20ms")["attempts"]:
            pass
        daemon.kill()
        daemon.start()
        shown = self.ended(delayed["id"])
        late = instant(shown["started_at"]) - instant(delayed["created_at"])
        self.assertGreaterEqual(late, 1.99)
        self.assertLess(late, 2.5)
        self.assertEqual([a["n"] for a in self.ended(failing["id"])["attempts"]], [1, 2])


class Directory(Case):
    """The state directory belongs to one daemon that can write it."""

    def other(self, daemon, **options):
        """A second daemon, not started, on the directory of the first."""
        other = Daemon({"store": {"directory": str(daemon.state)}}, **options)
        self.addCleanup(other.close)
        return other

    def check_refuses(self, daemon):
        """It ends quickly, with a status that is not 0 and one clear line."""
        said = len(daemon.stderr())
        daemon.launch()
        self.assertNotEqual(daemon.wait(30), 0)
        text = daemon.stderr()[said:]
        self.assertEqual(len(text.splitlines()), 1, text)
        return text

    def test_held_by_another(self):
        """A second daemon on one directory is refused; the first is unharmed."""
        first = self.use(Daemon())
        job = self.submit({"kind": "delivery", "wait": "700ms"})
        text = self.check_refuses(self.other(first))
        self.assertIn(str(first.state), text)
        self.assertEqual(self.ended(job["id"])["state"], "succeeded")
        first.restart()
        self.assertEqual(self.get(job["id"])["state"], "succeeded")

    def test_lock_goes_with_the_process(self):
        """A lock does not outlive its daemon."""
        first = self.use(Daemon())
        first.kill()
        second = self.other(first)
        second.start()
        second.stop()

    def test_not_writable(self):
        """A directory that cannot be written is one clear line."""
        user = 65534 if os.getuid() == 0 else None
        daemon = Daemon(user=user)
        self.addCleanup(daemon.close)
        daemon.state.mkdir(mode=0o555)
        if user is not None and not os.access(daemon.command()[0], os.X_OK):
            self.skipTest("the program is out of another user's reach")
        self.assertIn(str(daemon.state), self.check_refuses(daemon))

    def test_no_directory(self):
        """A path that leads through a file, or whose parent is missing, is one clear line."""
        for path in ("/dev/null/state", "/nonexistent-baedal/a/b"):
            with self.subTest(path):
                daemon = Daemon({"store": {"directory": path}})
                self.addCleanup(daemon.close)
                self.assertIn(path, self.check_refuses(daemon))

    def test_damaged_database(self):
        """A file that is no database is refused and left as it is."""
        daemon = Daemon()
        self.addCleanup(daemon.close)
        daemon.start()
        daemon.stop()
        database = next(path for path in daemon.state.iterdir()
                        if path.is_file() and path.read_bytes()[:6] == b"SQLite")
        database.write_bytes(b"this is no database" * 1000)
        self.check_refuses(daemon)
        self.assertEqual(database.read_bytes(), b"this is no database" * 1000)

    def test_busy_port(self):
        """A port that is taken is one clear line that names it."""
        first = self.use(Daemon())
        second = Daemon({"api": {"listen": [f"127.0.0.1:{first.port}"]}})
        self.addCleanup(second.close)
        self.assertIn(str(first.port), self.check_refuses(second))
        self.check_alive()

    def test_private(self):
        """What the daemon keeps is for its user only."""
        daemon = self.use(Daemon())
        self.succeed({"kind": "fetch", "url": self.origin().url("/ok?size=200000")})
        self.assertEqual(daemon.state.stat().st_mode & 0o077, 0)

    def test_everything_is_there_again(self):
        """Names, labels, headers, batches and bodies are the same after a restart."""
        daemon = self.use(Daemon())
        origin = self.origin()
        batch = self.batch({"run": "gather", "concurrency": 3, "jobs": [
            {"kind": "fetch", "url": origin.url("/many-headers"), "name": f"née {n}",
             "labels": {"a": "b"}, "priority": n, "headers": {"X-A": "1", "Cookie": "c"}}
            for n in range(10)]})
        jobs = self.jobs_of(batch)
        daemon.restart()
        self.assertEqual(self.jobs_of(batch), jobs)
        again = self.get_batch(batch["id"])
        self.assertEqual({key: batch[key] for key in again}, again)
        self.assertEqual(json.dumps(jobs).count('"***"'), 10)
