"""What end-to-end tests have in common: a daemon for the class, origins for each test."""

import unittest

from tests.e2e import shapes
from tests.fixture.daemon import Daemon
from tests.fixture.origin import Origin


class Case(unittest.TestCase):
    """Checks of answers; needs self.daemon and self.api."""

    daemon = None
    api = None
    maxDiff = None

    def setUp(self):
        self.log_mark = self.daemon.log_size() if self.daemon else 0

    def use(self, daemon):
        """Starts a daemon of the test's own and talks to it."""
        self.daemon = daemon
        self.log_mark = 0
        self.addCleanup(daemon.close)
        self.api = daemon.client()
        return daemon.start()

    def origin(self, **options):
        origin = Origin(**options)
        self.addCleanup(origin.close)
        return origin

    def submit(self, spec):
        """Posts a job; the job as the 202 shows it."""
        reply = self.api.post("/v1/jobs", spec)
        self.assertEqual(reply.status, 202, reply)
        job = reply.json()
        self.assertEqual(reply.headers["Location"], f"/v1/jobs/{job['id']}")
        shapes.check_job(job)
        return job

    def finish(self, spec, query=""):
        """Posts a job and returns it once it has ended."""
        reply = self.api.post(f"/v1/jobs?wait=60s{query}", spec)
        self.assertEqual(reply.status, 200, reply)
        job = reply.json()
        self.assertIn(job["state"], shapes.ENDED, job)
        shapes.check_job(job)
        return job

    def get(self, job_id, query=""):
        reply = self.api.get(f"/v1/jobs/{job_id}{query}")
        self.assertEqual(reply.status, 200, reply)
        job = reply.json()
        shapes.check_job(job)
        return job

    def ended(self, job_id):
        """Waits for a job to end."""
        job = self.get(job_id, "?wait=60s")
        self.assertIn(job["state"], shapes.ENDED, job)
        return job

    def succeed(self, spec, query=""):
        job = self.finish(spec, query)
        self.assertEqual(job["state"], "succeeded", job)
        return job

    def fail_with(self, spec, code, phase=None):
        """Runs a job that must fail with one of these codes, in one of these phases if given."""
        job = self.finish(spec)
        self.assertEqual(job["state"], "failed", job)
        self.assertIn(job["error"]["code"], (code,) if isinstance(code, str) else code, job)
        if phase:
            self.assertIn(job["error"]["phase"], (phase,) if isinstance(phase, str) else phase, job)
        return job

    def cancel(self, job_id):
        reply = self.api.post(f"/v1/jobs/{job_id}/cancel")
        self.assertEqual(reply.status, 200, reply)
        job = reply.json()
        shapes.check_job(job)
        self.assertEqual(job["state"], "cancelled", job)
        return job

    def body(self, job_id, query=""):
        reply = self.api.get(f"/v1/jobs/{job_id}/body{query}")
        self.assertEqual(reply.status, 200, reply)
        return reply.body

    def batch(self, spec, query="?wait=60s"):
        """Posts a batch; the batch, ended when the query waits."""
        reply = self.api.post(f"/v1/batches{query}", spec)
        self.assertEqual(reply.status, 200 if query else 202, reply)
        batch = reply.json()
        shapes.check_batch(batch)
        self.assertEqual(len(batch["job_ids"]), len(spec["jobs"]))
        return batch

    def get_batch(self, batch_id, query=""):
        reply = self.api.get(f"/v1/batches/{batch_id}{query}")
        self.assertEqual(reply.status, 200, reply)
        shapes.check_batch(reply.json())
        return reply.json()

    def jobs_of(self, batch):
        return [self.get(job_id) for job_id in batch["job_ids"]]

    def listed(self, query=""):
        """All jobs of a list, page after page."""
        jobs, cursor = [], ""
        while True:
            reply = self.api.get(f"/v1/jobs?limit=1000{query}{cursor}")
            self.assertEqual(reply.status, 200, reply)
            page = reply.json()
            jobs += page["data"]
            if page["next_cursor"] is None:
                return jobs
            cursor = f"&cursor={page['next_cursor']}"

    def check_problem(self, reply, status, *pointers):
        """A problem of RFC 9457 with this status and, if given, exactly these pointers."""
        self.assertEqual(reply.status, status, reply)
        self.assertEqual(reply.headers.get_content_type(), "application/problem+json", reply)
        problem = reply.json()
        self.assertLessEqual({"type", "title", "status", "detail"}, set(problem), problem)
        self.assertEqual(problem["status"], status, problem)
        if pointers:
            self.assertEqual(sorted(e["pointer"] for e in problem["errors"]), sorted(pointers),
                             problem)
            self.assertTrue(all(e["detail"] for e in problem["errors"]), problem)
        return problem

    def check_alive(self):
        """The daemon still answers."""
        self.assertEqual(self.api.get("/livez").status, 200)


class DaemonCase(Case):
    """One daemon for all tests of the class, with `settings` over the defaults."""

    settings = {}

    @classmethod
    def make_daemon(cls):
        return Daemon(cls.settings)

    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.make_daemon()
        cls.addClassCleanup(cls.daemon.close)
        cls.daemon.start()
        cls.api = cls.daemon.client()

    def setUp(self):
        if not self.daemon.alive():
            self.daemon.start()
        super().setUp()

    def tearDown(self):
        self.assertTrue(self.daemon.alive(), "the daemon has ended during this test")
