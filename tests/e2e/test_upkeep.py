"""Retention, backups and the check of a store, from outside."""

import shutil
import time

from tests.e2e.case import Case
from tests.fixture.answers import content
from tests.fixture.daemon import Daemon

LARGE = 200000  # bytes of a body that is a file


class Retention(Case):
    """What has ended goes when there is too much of it, or it is too old; nothing else goes."""

    def gone(self, path):
        deadline = time.monotonic() + 20
        while self.api.get(path).status == 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(self.api.get(path).status, 404, path)

    def test_count(self):
        """The earliest go past retention.count, with their bodies; live jobs stay."""
        daemon = self.use(Daemon({"retention": {"count": 300}}))
        origin = self.origin()
        waits = self.submit({"kind": "delivery", "wait": "1h"})
        first = self.succeed({"kind": "fetch", "url": origin.url(f"/ok?size={LARGE}&seed=1")})
        self.assertEqual(len(list((daemon.state / "bodies").iterdir())), 1)
        jobs = [{"kind": "delivery", "wait": 0}] * 700
        batch = self.batch({"run": "gather", "jobs": jobs})
        self.assertEqual(batch["counts"]["succeeded"], 700)
        self.gone(f"/v1/jobs/{first['id']}")
        self.assertEqual(self.api.get(f"/v1/jobs/{first['id']}/body").status, 404)
        self.assertEqual(list((daemon.state / "bodies").iterdir()), [])
        self.assertEqual(self.get(waits["id"])["state"], "waiting")
        self.assertEqual(self.get(batch["job_ids"][-1])["state"], "succeeded")
        self.assertEqual(self.get_batch(batch["id"])["counts"]["succeeded"], 700)

    def test_members_of_a_batch_that_runs(self):
        """A batch counts those of its members that have gone, also after the next start."""
        daemon = self.use(Daemon({"retention": {"count": 100}}))
        jobs = [{"kind": "delivery", "wait": 0}] * 600 + [{"kind": "delivery", "wait": "1h"}]
        batch = self.batch({"run": "gather", "jobs": jobs}, "")
        for job_id in batch["job_ids"][:-1]:
            self.api.get(f"/v1/jobs/{job_id}?wait=60s")
        self.gone(f"/v1/jobs/{batch['job_ids'][0]}")
        daemon.restart()
        batch = self.get_batch(batch["id"])
        self.assertEqual(batch["state"], "running")
        self.assertEqual(batch["counts"]["succeeded"], 600, batch)

    def test_age(self):
        """Past retention.age it goes by itself, and a key keeps its job from being made twice."""
        self.use(Daemon({"retention": {"age": "1s"}}))
        spec = {"kind": "delivery", "wait": 0, "idempotency_key": "once"}
        job = self.finish(spec)
        self.gone(f"/v1/jobs/{job['id']}")
        self.check_problem(self.api.post("/v1/jobs", spec), 410)


class Backup(Case):
    """A copy beside the running daemon, with which another one goes on."""

    def test_backup(self):
        daemon = self.use(Daemon())
        origin = self.origin()
        fetched = self.succeed({"kind": "fetch", "url": origin.url(f"/ok?size={LARGE}&seed=3")})
        waiting = self.submit({"kind": "delivery", "wait": "2s", "name": "later"})
        reply = self.api.post("/v1/admin/backup")
        self.assertEqual(reply.status, 201, reply)
        backup = reply.json()
        self.assertGreater(backup["bytes"], LARGE)
        checked = daemon.run("--check-store", backup["path"])
        self.assertEqual(checked.returncode, 0, checked)
        self.assertIn("sound", checked.stdout)

        other = Daemon()
        shutil.copytree(backup["path"], other.state)
        other.state.chmod(0o700)
        api = self.use(other).client()
        self.assertEqual(api.get(f"/v1/jobs/{fetched['id']}").json(), fetched)
        self.assertEqual(self.body(fetched["id"]), content(LARGE, 3))
        self.assertEqual(self.ended(waiting["id"])["state"], "succeeded")

    def test_check_of_a_running_store(self):
        """--check-store keeps off a store that somebody has open, and says so."""
        daemon = self.use(Daemon())
        checked = daemon.run("--check-store")
        self.assertEqual(checked.returncode, 1, checked)
        self.assertIn("in use", checked.stderr + checked.stdout)
        daemon.kill()
        checked = daemon.run("--check-store")
        self.assertEqual(checked.returncode, 0, checked)
