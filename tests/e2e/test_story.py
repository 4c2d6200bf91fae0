"""The acceptance story (DESIGN section 10, parts 1 to 3), on measured times."""

from tests.e2e.case import DaemonCase
from tests.e2e.shapes import instant
from tests.fixture.answers import content

WAITS = {"A": 0.9, "B": 0.3, "C": 0.6}


class Deliveries(DaemonCase):
    """One delivery after another, and gathered."""

    def play(self, run):
        jobs = [{"kind": "delivery", "name": name, "wait": f"{int(wait * 1000)}ms"}
                for name, wait in WAITS.items()]
        batch = self.batch({"run": run, "jobs": jobs})
        self.assertEqual(batch["state"], "succeeded", batch)
        return batch, self.jobs_of(batch)

    def order(self, jobs, event):
        """The names in the order in which that event came to them."""
        times = [(instant(next(e["at"] for e in job["events"] if e["event"] == event)),
                  job["index"], job["name"]) for job in jobs]
        return "".join(name for _, _, name in sorted(times))

    def check_jobs(self, jobs):
        for job in jobs:
            self.assertEqual([e["event"] for e in job["events"]],
                             ["delivered", "waited", "collected"], job)
            wait = WAITS[job["name"]] * 1000
            self.assertEqual(job["wait_ms"], wait)
            self.assertGreaterEqual(job["run_ms"], wait)
            self.assertLess(job["run_ms"], wait + 100)

    def test_sequence_takes_the_sum(self):
        """In sequence 0.9 + 0.3 + 0.6 take 1.8 s, delivered and collected A B C."""
        batch, jobs = self.play("sequence")
        self.assertGreaterEqual(batch["elapsed_ms"], 1800)
        self.assertLessEqual(batch["elapsed_ms"], 1900)
        self.assertEqual(self.order(jobs, "delivered"), "ABC")
        self.assertEqual(self.order(jobs, "collected"), "ABC")
        self.check_jobs(jobs)
        for before, after in zip(jobs, jobs[1:]):
            self.assertLessEqual(instant(before["finished_at"]), instant(after["started_at"]))
        self.assertGreaterEqual(batch["speedup"], 0.9)
        self.assertLessEqual(batch["speedup"], 1.01)

    def test_gather_takes_the_longest(self):
        """Gathered they take 0.9 s: delivered A B C, collected B C A."""
        batch, jobs = self.play("gather")
        self.assertGreaterEqual(batch["elapsed_ms"], 900)
        self.assertLessEqual(batch["elapsed_ms"], 1000)
        self.assertEqual(self.order(jobs, "delivered"), "ABC")
        self.assertEqual(self.order(jobs, "collected"), "BCA")
        self.check_jobs(jobs)
        self.assertGreaterEqual(batch["work_ms"], 1800)
        self.assertAlmostEqual(batch["speedup"], batch["work_ms"] / batch["elapsed_ms"], 2)
        self.assertGreater(batch["speedup"], 1.75)


class Fetches(DaemonCase):
    """Thirty fetches from three origins that take 100 ms each."""

    SIZE = 2000

    def play(self, run, executor="coroutine"):
        origins = [self.origin(host=f"127.0.0.{n}") for n in (1, 2, 3)]
        urls = [origin.url(f"/ok?ms=100&size={self.SIZE}&seed={n}")
                for n in range(10) for origin in origins]
        batch = self.batch({"run": run, "jobs": [
            {"kind": "fetch", "url": url, "executor": executor} for url in urls]})
        self.assertEqual(batch["state"], "succeeded", batch)
        for number, job_id in enumerate(batch["job_ids"]):
            self.assertEqual(self.body(job_id), content(self.SIZE, number // 3))
        self.assertEqual([len(origin.requests) for origin in origins], [10, 10, 10])
        return batch, origins

    def test_sequence_takes_the_sum(self):
        """Thirty fetches of 100 ms in sequence take at least 3 s, one at a time."""
        batch, origins = self.play("sequence")
        self.assertGreaterEqual(batch["elapsed_ms"], 3000)
        self.assertLessEqual(batch["elapsed_ms"], 4000)
        self.assertLessEqual(batch["speedup"], 1.01)
        self.assertEqual([origin.high_water for origin in origins], [1, 1, 1])

    def test_gather_takes_the_longest(self):
        """Gathered they take at most 0.4 s, with the same bodies."""
        batch, origins = self.play("gather")
        self.assertGreaterEqual(batch["elapsed_ms"], 100)
        self.assertLessEqual(batch["elapsed_ms"], 400)
        self.assertGreaterEqual(batch["speedup"], 7.5)
        self.assertEqual([origin.high_water for origin in origins], [10, 10, 10])

    def test_blocking_executors(self):
        """Gathered, eight threads need four rounds and four processes eight; same bodies."""
        for executor, workers, rounds in (("thread", 8, 4), ("process", 4, 8)):
            with self.subTest(executor):
                batch, origins = self.play("gather", executor)
                self.assertGreaterEqual(batch["elapsed_ms"], rounds * 100)
                self.assertLessEqual(batch["elapsed_ms"], rounds * 100 + 500)
                self.assertLessEqual(max(origin.high_water for origin in origins), workers)

    def test_blocking_executors_in_sequence(self):
        """One after another they take the sum, whoever carries them."""
        for executor in ("thread", "process"):
            with self.subTest(executor):
                batch, origins = self.play("sequence", executor)
                self.assertGreaterEqual(batch["elapsed_ms"], 3000)
                self.assertLessEqual(batch["elapsed_ms"], 4000)
                self.assertEqual([origin.high_water for origin in origins], [1, 1, 1])
