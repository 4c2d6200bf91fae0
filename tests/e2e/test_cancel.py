"""Cancelling jobs in each of their states."""

import threading

from tests.e2e import shapes
from tests.e2e.case import DaemonCase
from tests.fixture.blackhole import Blackhole


class Cancel(DaemonCase):
    settings = {"lanes": [{"origin": "default", "concurrency": 1}]}

    def check_stays_cancelled(self, job_id):
        """Cancelling again is 200 with the same job."""
        first = self.get(job_id)
        again = self.cancel(job_id)
        self.assertEqual(again["finished_at"], first["finished_at"])
        self.assertEqual(self.get(job_id)["state"], "cancelled")

    def test_pending(self):
        """A job that is not due is cancelled and never starts."""
        origin = self.origin()
        job = self.submit({"kind": "fetch", "url": origin.url(), "delay": "60s"})
        self.assertIsNone(self.cancel(job["id"])["started_at"])
        self.check_stays_cancelled(job["id"])
        self.assertEqual(origin.seen(), [])

    def test_running(self):
        """A running fetch is cancelled at once and its connection closed."""
        origin = self.origin()
        job = self.submit({"kind": "fetch", "url": origin.url("/silent")})
        request = origin.wait_for(1)[0]
        self.assertEqual(self.get(job["id"])["state"], "running")
        self.cancel(job["id"])
        self.assertTrue(request.gone.wait(5))
        self.check_stays_cancelled(job["id"])

    def test_running_body(self):
        """A fetch is cancelled in the middle of its body, too."""
        origin = self.origin()
        job = self.submit({"kind": "fetch", "url": origin.url("/drip/body?ms=30")})
        request = origin.wait_for(1)[0]
        self.assertEqual(self.get(job["id"], "?wait=150ms")["state"], "running")
        self.cancel(job["id"])
        self.assertTrue(request.gone.wait(5))
        self.check_stays_cancelled(job["id"])

    def test_connecting(self):
        """A fetch whose connection is not established yet is cancelled, too."""
        hole = Blackhole()
        self.addCleanup(hole.close)
        job = self.submit({"kind": "fetch", "url": hole.url()})
        while self.get(job["id"])["state"] == "pending":
            pass
        self.cancel(job["id"])
        self.check_stays_cancelled(job["id"])

    def test_delivery_in_its_wait(self):
        """A delivery is cancelled in its wait and never collected."""
        origin = self.origin()
        job = self.submit({"kind": "delivery", "url": origin.url(), "payload": 1, "wait": "60s",
                           "collect": {"url": origin.url("/echo")}})
        while self.get(job["id"], "?wait=20ms")["state"] != "waiting":
            pass
        ended = self.cancel(job["id"])
        self.assertEqual([event["event"] for event in ended["events"]], ["delivered"])
        self.check_stays_cancelled(job["id"])
        self.assertEqual(origin.seen("/echo"), [])

    def test_between_tries(self):
        """A job that waits for its next try is cancelled and not tried again."""
        origin = self.origin()
        job = self.submit({"kind": "fetch", "url": origin.url("/status/503"),
                           "retry": {"attempts": 5, "backoff": "10min", "max_backoff": "10min"}})
        origin.wait_for(1)
        while self.get(job["id"], "?wait=20ms")["state"] != "waiting":
            pass
        self.assertEqual(len(self.cancel(job["id"])["attempts"]), 1)
        self.check_stays_cancelled(job["id"])
        self.assertEqual(len(origin.seen()), 1)

    def test_in_a_busy_lane(self):
        """A job that waits for its lane is cancelled; the next one takes its place."""
        origin = self.origin()
        first = self.submit({"kind": "fetch", "url": origin.url("/silent")})
        origin.wait_for(1)
        second = self.submit({"kind": "fetch", "url": origin.url("/ok?second")})
        third = self.submit({"kind": "fetch", "url": origin.url("/ok?third")})
        self.cancel(second["id"])
        self.cancel(first["id"])
        self.assertEqual(self.ended(third["id"])["state"], "succeeded")
        self.assertEqual([request.target for request in origin.seen("/ok")], ["/ok?third"])

    def test_permit_comes_back(self):
        """A cancelled job gives its lane's permit back, however often."""
        origin = self.origin()
        for count in range(1, 6):
            job = self.submit({"kind": "fetch", "url": origin.url("/silent")})
            origin.wait_for(count, "/silent")
            self.cancel(job["id"])
        self.succeed({"kind": "fetch", "url": origin.url("/ok")})

    def test_ended(self):
        """Jobs that have ended otherwise cannot be cancelled."""
        origin = self.origin()
        for path in ("/ok", "/status/404"):
            job = self.finish({"kind": "fetch", "url": origin.url(path)})
            self.check_problem(self.api.post(f"/v1/jobs/{job['id']}/cancel"), 409)
            self.assertEqual(self.get(job["id"])["state"], job["state"])

    def test_waiters_are_told(self):
        """Who waits for a job is answered when it is cancelled."""
        job = self.submit({"kind": "delivery", "wait": "60s"})
        answers = []
        waiters = [threading.Thread(target=lambda: answers.append(
            self.api.get(f"/v1/jobs/{job['id']}?wait=60s").json())) for _ in range(5)]
        for waiter in waiters:
            waiter.start()
        self.cancel(job["id"])
        for waiter in waiters:
            waiter.join(20)
        self.assertEqual([answer["state"] for answer in answers], ["cancelled"] * 5)

    def test_race(self):
        """Cancel against the end of the job: one of them wins, and everyone is told the same."""
        for _ in range(30):
            job = self.submit({"kind": "delivery", "wait": "2ms"})
            reply = self.api.post(f"/v1/jobs/{job['id']}/cancel")
            self.assertIn(reply.status, (200, 409), reply)
            ended = self.ended(job["id"])
            self.assertEqual(ended["state"], "cancelled" if reply.status == 200 else "succeeded")

    def test_not_there(self):
        """Unknown jobs are 404."""
        for name in ("00000000-0000-7000-8000-000000000000", "nonsense", "1"):
            self.check_problem(self.api.post(f"/v1/jobs/{name}/cancel"), 404)
            self.check_problem(self.api.get(f"/v1/jobs/{name}"), 404)
            self.check_problem(self.api.get(f"/v1/jobs/{name}/body"), 404)

    def test_body_is_ignored(self):
        """A cancel without a body needs no Content-Type."""
        job = self.submit({"kind": "delivery", "wait": "60s"})
        reply = self.api.request("POST", f"/v1/jobs/{job['id']}/cancel", b"",
                                 {"Content-Length": "0"})
        self.assertEqual(reply.status, 200, reply)
        shapes.check_job(reply.json())
