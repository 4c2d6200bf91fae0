"""Idempotency-Key with the store behind it: once is once, across restarts and crashes too."""

from tests.e2e.case import Case
from tests.fixture.daemon import Daemon

JOB = {"kind": "delivery", "wait": "0s"}
LATER = {"kind": "delivery", "delay": "1h"}


class Idempotency(Case):
    def setUp(self):
        self.use(Daemon())
        super().setUp()

    def keyed(self, path, body, key):
        return self.api.post(path, body, {"Idempotency-Key": key})

    def check_replayed(self, reply, first, status=202):
        self.assertEqual(reply.status, status, reply)
        self.assertEqual(reply.headers["Idempotency-Replayed"], "true")
        self.assertEqual(reply.headers["Location"], first.headers["Location"])
        self.assertEqual(reply.json()["id"], first.json()["id"])

    def total(self):
        return len(self.api.get("/v1/jobs?limit=1000").json()["data"])

    def test_job(self):
        """A repeat is the job as it stands; another body, or the key of a batch, is not."""
        first = self.keyed("/v1/jobs", JOB, '"k"')
        self.assertEqual(first.status, 202, first)
        self.assertNotIn("Idempotency-Replayed", first.headers)
        self.check_replayed(self.keyed("/v1/jobs", JOB, "k"), first)
        again = self.keyed("/v1/jobs?wait=10s", JOB, "k")
        self.check_replayed(again, first, 200)
        self.assertEqual(again.json()["state"], "succeeded")
        other = self.keyed("/v1/jobs", LATER, "k")
        self.assertEqual(other.status, 422, other)
        self.assertEqual(other.json()["errors"][0]["parameter"], "Idempotency-Key")
        self.assertEqual(self.keyed("/v1/batches", {"jobs": [JOB]}, "k").status, 202)
        self.assertEqual(self.total(), 2)

    def test_lines(self):
        """Each line has its own key, also twice in one upload."""
        lines = [dict(JOB, idempotency_key=key) for key in ("a", "b", "a")]
        first = self.api.ndjson("/v1/jobs", lines).lines()
        self.assertEqual([line["status"] for line in first], [202] * 3)
        self.assertEqual(first[0]["id"], first[2]["id"])
        self.assertEqual([line.get("replayed", False) for line in first], [False, False, True])
        again = self.api.ndjson("/v1/jobs", lines).lines()
        self.assertEqual([line["id"] for line in again], [line["id"] for line in first])
        self.assertTrue(all(line["replayed"] for line in again))
        self.assertEqual(self.total(), 2)

    def test_crash(self):
        """What a kill came after is found again by its key."""
        batch = {"jobs": [LATER, LATER]}
        job, many = self.keyed("/v1/jobs", LATER, "job"), self.keyed("/v1/batches", batch, "batch")
        self.daemon.kill()
        self.daemon.start()
        self.check_replayed(self.keyed("/v1/jobs", LATER, "job"), job)
        again = self.keyed("/v1/batches", batch, "batch")
        self.check_replayed(again, many)
        self.assertEqual(again.json()["job_ids"], many.json()["job_ids"])
        self.assertEqual(self.total(), 3)

    def test_refused_submit_frees_the_key(self):
        """A key whose job was refused is not used up."""
        self.assertEqual(self.keyed("/v1/jobs", {"kind": "fetch"}, "k").status, 422)
        self.assertEqual(self.keyed("/v1/jobs", JOB, "k").status, 202)
