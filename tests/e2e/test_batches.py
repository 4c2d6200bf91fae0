"""Batches: jobs submitted together and how they run."""

import time

from tests.e2e import shapes
from tests.e2e.case import DaemonCase
from tests.e2e.shapes import instant


def delivery(milliseconds, **more):
    return {"kind": "delivery", "wait": f"{milliseconds}ms", **more}


class Batches(DaemonCase):
    def test_submit(self):
        """POST answers 202 with the ids in the order of the jobs, and a Location."""
        jobs = [delivery(10, name=str(n)) for n in range(20)]
        reply = self.api.post("/v1/batches", {"run": "gather", "jobs": jobs})
        self.assertEqual(reply.status, 202, reply)
        batch = reply.json()
        self.assertEqual(reply.headers["Location"], f"/v1/batches/{batch['id']}")
        self.assertEqual(len(set(batch["job_ids"])), 20)
        for number, job in enumerate(self.jobs_of(batch)):
            self.assertEqual((job["name"], job["index"], job["batch"]),
                             (str(number), number, batch["id"]))
        ended = self.get_batch(batch["id"], "?wait=60s")
        self.assertEqual(ended["state"], "succeeded")
        self.assertEqual(ended["counts"]["succeeded"], 20)
        self.assertEqual(ended["counts"]["total"], 20)

    def test_fields(self):
        """A batch shows how it runs and what its jobs make of it."""
        batch = self.batch({"run": "gather", "concurrency": 2, "on_error": "cancel",
                            "jobs": [delivery(100), delivery(100)]})
        self.assertEqual([batch[key] for key in ("run", "concurrency", "on_error", "state")],
                         ["gather", 2, "cancel", "succeeded"])
        jobs = self.jobs_of(batch)
        self.assertAlmostEqual(batch["work_ms"], sum(job["run_ms"] for job in jobs), 1)
        last = max(instant(job["finished_at"]) for job in jobs)
        self.assertAlmostEqual(instant(batch["finished_at"]), last, 3)
        self.assertAlmostEqual(batch["elapsed_ms"], (last - instant(batch["created_at"])) * 1000, 0)

    def test_concurrency(self):
        """`concurrency` is the most that run at a time, and it is used."""
        origin = self.origin()
        jobs = [{"kind": "fetch", "url": origin.url("/ok?ms=60")}] * 15
        batch = self.batch({"run": "gather", "concurrency": 3, "jobs": jobs})
        self.assertEqual(batch["counts"]["succeeded"], 15)
        self.assertEqual(origin.high_water, 3)

    def test_concurrency_of_waits(self):
        """A delivery counts for the concurrency during its wait, too."""
        batch = self.batch({"run": "gather", "concurrency": 2, "jobs": [delivery(150)] * 4})
        self.assertGreaterEqual(batch["elapsed_ms"], 300)
        self.assertLess(batch["elapsed_ms"], 500)

    def test_sequence_continues(self):
        """With on_error continue a failed job does not stop the sequence."""
        batch = self.batch({"run": "sequence", "on_error": "continue",
                            "jobs": [delivery(10), self.failing(), delivery(10)]})
        self.assertEqual([job["state"] for job in self.jobs_of(batch)],
                         ["succeeded", "failed", "succeeded"])
        self.assertEqual(batch["state"], "failed")

    def test_sequence_cancels(self):
        """With on_error cancel nothing after the failed job is started."""
        origin = self.origin()
        batch = self.batch({"run": "sequence", "on_error": "cancel",
                            "jobs": [delivery(10), self.failing(), delivery(10),
                                     {"kind": "fetch", "url": origin.url()}]})
        jobs = self.jobs_of(batch)
        self.assertEqual([job["state"] for job in jobs],
                         ["succeeded", "failed", "cancelled", "cancelled"])
        self.assertEqual([job["started_at"] for job in jobs[2:]], [None, None])
        self.assertEqual(batch["state"], "failed")
        self.assertEqual(origin.seen(), [])

    def test_gather_cancels(self):
        """With on_error cancel the first failure ends what is still under way."""
        origin = self.origin()
        started = time.monotonic()
        batch = self.batch({"run": "gather", "on_error": "cancel",
                            "jobs": [{"kind": "fetch", "url": origin.url("/silent")},
                                     {"kind": "delivery", "wait": "30s"},
                                     {"kind": "fetch", "url": origin.url("/status/404?ms=200")}]})
        self.assertLess(time.monotonic() - started, 5)
        self.assertEqual([job["state"] for job in self.jobs_of(batch)],
                         ["cancelled", "cancelled", "failed"])
        self.assertEqual(batch["state"], "failed")
        self.assertTrue(origin.seen("/silent")[0].gone.wait(5))

    def failing(self):
        return {"kind": "fetch", "url": self.origin().url("/status/404")}

    def test_cancel(self):
        """Cancelling a batch ends what has not ended, and says so again the second time."""
        batch = self.batch({"run": "sequence", "jobs": [delivery(10)] + [delivery(60000)] * 3}, "")
        self.ended(batch["job_ids"][0])
        for _ in range(2):
            reply = self.api.post(f"/v1/batches/{batch['id']}/cancel")
            self.assertEqual(reply.status, 200, reply)
            shapes.check_batch(reply.json())
            self.assertEqual(reply.json()["state"], "cancelled")
        now = self.get_batch(batch["id"])
        self.assertEqual((now["counts"]["succeeded"], now["counts"]["cancelled"]), (1, 3))
        self.assertEqual([job["state"] for job in self.jobs_of(batch)],
                         ["succeeded"] + ["cancelled"] * 3)

    def test_cancel_when_ended(self):
        """A batch that has ended by itself cannot be cancelled."""
        batch = self.batch({"run": "gather", "jobs": [delivery(0)]})
        self.check_problem(self.api.post(f"/v1/batches/{batch['id']}/cancel"), 409)

    def test_job_of_a_sequence_is_cancelled(self):
        """Cancelling one job of a sequence lets the others go on, or not, as on_error says."""
        batch = self.batch({"run": "sequence", "on_error": "continue",
                            "jobs": [delivery(300), delivery(60000), delivery(10)]}, "")
        self.cancel(batch["job_ids"][1])
        ended = self.get_batch(batch["id"], "?wait=60s")
        self.assertEqual([job["state"] for job in self.jobs_of(batch)],
                         ["succeeded", "cancelled", "succeeded"])
        self.assertIn(ended["state"], ("failed", "cancelled"))

    def test_list(self):
        """The list of batches is newest first, page by page."""
        made = [self.batch({"run": "gather", "jobs": [delivery(0)]})["id"] for _ in range(5)]
        seen, cursor = [], ""
        while True:
            reply = self.api.get(f"/v1/batches?limit=2{cursor}")
            self.assertEqual(reply.status, 200, reply)
            page = reply.json()
            for batch in page["data"]:
                shapes.check_batch(batch)
            seen += [batch["id"] for batch in page["data"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        self.assertEqual(seen[:5], made[::-1])
        self.assertEqual(len(seen), len(set(seen)))

    def test_jobs_of_a_batch(self):
        """A batch's jobs are listed in the order of their index."""
        batch = self.batch({"run": "gather", "jobs": [delivery(n % 3) for n in range(50)]})
        seen, cursor = [], ""
        while True:
            page = self.api.get(f"/v1/jobs?batch={batch['id']}&limit=7{cursor}").json()
            seen += [job["id"] for job in page["data"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        self.assertEqual(seen, batch["job_ids"])

    def test_not_there(self):
        """Unknown batches are 404."""
        for path in ("/v1/batches/00000000-0000-7000-8000-000000000000", "/v1/batches/nonsense"):
            self.check_problem(self.api.get(path), 404)
            self.check_problem(self.api.get(path + "/results"), 404)
            self.check_problem(self.api.post(path + "/cancel"), 404)

    def test_refused_whole(self):
        """A batch with bad jobs is refused whole, with a pointer to each mistake."""
        before = len(self.listed())
        reply = self.api.post("/v1/batches", {"run": "gather", "jobs": [
            delivery(0), {"kind": "fetch", "url": "ftp://127.0.0.1/"}, delivery(0),
            {"kind": "fetch", "url": "http://127.0.0.1/", "timeout": "-1s"}]})
        self.check_problem(reply, 422, "/jobs/1/url", "/jobs/3/timeout")
        self.assertEqual(len(self.listed()), before)

    def test_bad_values(self):
        """Every key of a batch is checked."""
        for change, pointer in (({"run": "first"}, "/run"), ({"run": "quorum"}, "/run"),
                                ({"run": 1}, "/run"), ({"jobs": []}, "/jobs"),
                                ({"jobs": {}}, "/jobs"), ({"concurrency": -1}, "/concurrency"),
                                ({"concurrency": "two"}, "/concurrency"),
                                ({"on_error": "stop"}, "/on_error"), ({"need": 1}, "/need"),
                                ({"nonsense": 1}, "/nonsense"), ({"jobs": [1]}, "/jobs/0")):
            with self.subTest(change):
                batch = {"run": "gather", "jobs": [delivery(0)], **change}
                self.check_problem(self.api.post("/v1/batches", batch), 422, pointer)

    def test_large(self):
        """A batch of five thousand is taken and done."""
        batch = self.batch({"run": "gather", "jobs": [delivery(0)] * 5000})
        self.assertEqual(batch["counts"]["succeeded"], 5000)
        self.assertEqual(len(set(batch["job_ids"])), 5000)


class Results(DaemonCase):
    """/results: a batch's jobs as they finish."""

    def test_finishing_order(self):
        """Lines come in the order of finishing, each when its job has finished."""
        batch = self.batch({"run": "gather", "jobs": [
            delivery(900, name="slow"), delivery(100, name="quick"),
            delivery(500, name="mid")]}, "")
        with self.api.stream(f"/v1/batches/{batch['id']}/results") as stream:
            self.assertEqual(stream.status, 200)
            self.assertEqual(stream.headers.get_content_type(), "application/x-ndjson")
            lines = iter(stream)
            first = next(lines)
            self.assertEqual(first["name"], "quick")
            self.assertEqual(self.get_batch(batch["id"])["state"], "running")
            rest = list(lines)
        self.assertEqual([job["name"] for job in rest], ["mid", "slow"])
        for job in [first, *rest]:
            shapes.check_job(job)
            shown = self.get(job["id"])
            self.assertEqual({key: job[key] for key in shown}, shown)

    def test_resume(self):
        """?after= goes on behind a line that was seen; an ended batch's stream ends at once."""
        batch = self.batch({"run": "gather", "jobs": [delivery(n * 20) for n in range(10)]})
        path = f"/v1/batches/{batch['id']}/results"
        everything = self.api.get(path).lines()
        self.assertEqual(len(everything), 10)
        numbers = [job["finished_seq"] for job in everything]
        self.assertEqual(numbers, sorted(numbers))
        for place in (0, 4, 8, 9):
            rest = self.api.get(f"{path}?after={numbers[place]}").lines()
            self.assertEqual([job["id"] for job in rest],
                             [job["id"] for job in everything[place + 1:]])
        self.assertEqual(len(self.api.get(f"{path}?after=0").lines()), 10)

    def test_resume_while_running(self):
        """A stream that was cut off is taken up again with nothing lost and nothing twice."""
        batch = self.batch({"run": "gather", "jobs": [delivery(n * 60) for n in range(10)]}, "")
        path = f"/v1/batches/{batch['id']}/results"
        seen, after = [], 0
        while len(seen) < 10:
            with self.api.stream(f"{path}?after={after}") as stream:
                for _, job in zip(range(3), stream):
                    seen.append(job["id"])
                    after = job["finished_seq"]
        self.assertEqual(seen, batch["job_ids"])

    def test_many_readers(self):
        """Several may read the same results."""
        batch = self.batch({"run": "gather", "jobs": [delivery(300 + n) for n in range(20)]}, "")
        streams = [self.api.stream(f"/v1/batches/{batch['id']}/results") for _ in range(5)]
        texts = [[job["id"] for job in stream] for stream in streams]
        for stream in streams:
            stream.close()
        self.assertEqual(len(texts[0]), 20)
        self.assertEqual(texts, [texts[0]] * 5)

    def test_cancelled_jobs_are_results_too(self):
        """Cancelled jobs end a stream like any others."""
        batch = self.batch({"run": "gather", "jobs": [delivery(60000)] * 5}, "")
        with self.api.stream(f"/v1/batches/{batch['id']}/results") as stream:
            self.assertEqual(self.api.post(f"/v1/batches/{batch['id']}/cancel").status, 200)
            self.assertEqual([job["state"] for job in stream], ["cancelled"] * 5)

    def test_reader_that_vanishes(self):
        """A reader that goes away disturbs nobody."""
        batch = self.batch({"run": "gather", "jobs": [delivery(300)] * 3}, "")
        for _ in range(3):
            self.api.stream(f"/v1/batches/{batch['id']}/results").close()
        self.assertEqual(self.get_batch(batch["id"], "?wait=60s")["state"], "succeeded")

    def test_bad_after(self):
        """?after= that is no number is a bad query."""
        batch = self.batch({"run": "gather", "jobs": [delivery(0)]})
        for after in ("x", "-1", "1.5"):
            self.check_problem(
                self.api.get(f"/v1/batches/{batch['id']}/results?after={after}"), 400)
