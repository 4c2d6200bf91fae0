"""Deliveries: hand over, wait, collect; each a durable step."""

import json

from tests.e2e.case import DaemonCase
from tests.e2e.shapes import instant
from tests.fixture.answers import content

QUICK = {"attempts": 3, "backoff": "20ms", "max_backoff": "50ms"}


class WithoutNetwork(DaemonCase):
    """The tutorial's delivery."""

    def test_events(self):
        """A delivery without url is delivered, waits and is collected."""
        job = self.succeed({"kind": "delivery", "name": "A", "wait": "300ms"})
        self.assertEqual([event["event"] for event in job["events"]],
                         ["delivered", "waited", "collected"])
        delivered, waited, collected = (instant(event["at"]) for event in job["events"])
        self.assertGreaterEqual(waited - delivered, 0.299)
        self.assertLess(collected - delivered, 0.5)
        self.assertEqual(job["attempts"], [])
        self.assertIsNone(job["result"])
        self.assertEqual(job["wait_ms"], 300)
        self.assertAlmostEqual(instant(job["started_at"]), delivered, 2)

    def test_without_wait(self):
        """No wait is a wait of nothing."""
        for spec in ({"kind": "delivery", "wait": 0}, {"kind": "delivery"}):
            with self.subTest(spec):
                job = self.succeed(spec)
                self.assertLess(job["run_ms"], 300)

    def test_waiting(self):
        """In its wait a delivery is waiting, delivered, and due when the wait ends."""
        job = self.submit({"kind": "delivery", "wait": "30s"})
        while (now := self.get(job["id"], "?wait=20ms"))["state"] in ("pending", "running"):
            pass
        self.assertEqual(now["state"], "waiting")
        self.assertEqual(now["step"], "wait")
        self.assertEqual([event["event"] for event in now["events"]], ["delivered"])
        self.assertAlmostEqual(instant(now["due_at"]) - instant(now["events"][0]["at"]), 30, 2)
        self.cancel(job["id"])

    def test_thousand(self):
        """A thousand deliveries wait together and end together."""
        jobs = [{"kind": "delivery", "wait": "500ms"}] * 1000
        batch = self.batch({"run": "gather", "jobs": jobs})
        self.assertEqual(batch["counts"]["succeeded"], 1000)
        self.assertGreaterEqual(batch["elapsed_ms"], 500)
        self.assertLess(batch["elapsed_ms"], 2500)


class WithNetwork(DaemonCase):
    def test_whole(self):
        """The payload is posted, the wait kept, then the answer collected."""
        origin = self.origin()
        job = self.succeed({
            "kind": "delivery", "name": "B", "url": origin.url("/echo/hook"), "wait": "200ms",
            "payload": {"order": 7, "items": ["a", "b"]},
            "collect": {"url": origin.url("/ok?size=500")}})
        deliver, collect = origin.seen()
        self.assertEqual((deliver.method, deliver.path), ("POST", "/echo/hook"))
        self.assertEqual(deliver.body, b'{"order":7,"items":["a","b"]}')
        self.assertEqual(deliver.header("content-type"), "application/json")
        self.assertEqual((collect.method, collect.path), ("GET", "/ok"))
        self.assertGreaterEqual(collect.at - deliver.answered, 0.198)
        self.assertEqual([event["event"] for event in job["events"]],
                         ["delivered", "waited", "collected"])
        self.assertEqual([attempt["step"] for attempt in job["attempts"]], ["deliver", "collect"])
        self.assertEqual(job["result"]["body_bytes"], 500)
        self.assertEqual(job["request"]["method"], "POST")

    def test_bodies_of_both_steps(self):
        """/body gives the last step's answer, with ?step= either one's."""
        origin = self.origin()
        job = self.succeed({"kind": "delivery", "url": origin.url("/ok?size=300&seed=1"),
                            "payload": {}, "wait": 0,
                            "collect": {"url": origin.url("/ok?size=90000&seed=2")}})
        self.assertEqual(self.body(job["id"]), content(90000, 2))
        self.assertEqual(self.body(job["id"], "?step=collect"), content(90000, 2))
        self.assertEqual(self.body(job["id"], "?step=deliver"), content(300, 1))
        self.check_problem(self.api.get(f"/v1/jobs/{job['id']}/body?step=nonsense"), 400)

    def test_without_collect(self):
        """Without `collect` the wait is the end, and the hook's answer the result."""
        origin = self.origin()
        job = self.succeed({"kind": "delivery", "url": origin.url("/echo"), "payload": {"a": 1},
                            "wait": "50ms"}, "&body=inline")
        self.assertEqual(len(origin.seen()), 1)
        self.assertEqual(json.loads(job["result"]["body"])["method"], "POST")
        self.assertEqual(len(job["events"]), 3)

    def test_idempotency_key(self):
        """Every try of a step carries the same Idempotency-Key, made of job and step."""
        origin = self.origin()
        job = self.succeed({"kind": "delivery", "url": origin.url("/flaky/k?fail=2"), "payload": 1,
                            "wait": 0, "retry": QUICK, "collect": {"url": origin.url("/ok")}})
        keys = [request.values("idempotency-key") for request in origin.seen("/flaky/k")]
        self.assertEqual(keys, [[f"{job['id']}-deliver"]] * 3)
        own = self.succeed({"kind": "delivery", "url": origin.url("/echo"), "payload": 1,
                            "wait": 0, "headers": {"Idempotency-Key": "my-own"}})
        self.assertEqual(origin.seen("/echo")[0].values("idempotency-key"), ["my-own"], own)

    def test_fetches_carry_no_key(self):
        """A fetch is sent without an Idempotency-Key of the daemon's."""
        origin = self.origin()
        self.succeed({"kind": "fetch", "method": "POST", "url": origin.url("/echo")})
        self.assertEqual(origin.seen()[0].values("idempotency-key"), [])

    def test_three_tries_by_default(self):
        """A delivery is tried three times unless it says otherwise."""
        origin = self.origin()
        job = self.fail_with({"kind": "delivery", "url": origin.url("/status/503"), "payload": 1,
                              "wait": "30s", "retry": {"backoff": "10ms", "max_backoff": "20ms"}},
                             "unexpected_status", "response")
        self.assertEqual(len(origin.seen()), 3)
        self.assertEqual(job["events"], [])

    def test_unknown_outcome_is_repeated(self):
        """A hook that takes the payload and breaks off gets it again: at least once."""
        origin = self.origin()
        self.succeed({"kind": "delivery", "url": origin.url("/flaky/u?fail=1&how=reset"),
                      "payload": 1, "wait": 0, "retry": QUICK})
        self.assertEqual(len(origin.seen()), 2)

    def test_tries_of_each_step(self):
        """Each step has all the tries; attempts are numbered by step."""
        origin = self.origin()
        job = self.succeed({"kind": "delivery", "url": origin.url("/flaky/d?fail=2"), "payload": 1,
                            "wait": 0, "retry": QUICK,
                            "collect": {"url": origin.url("/flaky/c?fail=2")}})
        self.assertEqual([(a["step"], a["n"]) for a in job["attempts"]],
                         [("deliver", 1), ("deliver", 2), ("deliver", 3),
                          ("collect", 1), ("collect", 2), ("collect", 3)])

    def test_redirect_is_a_failure(self):
        """A hook that redirects has not taken the payload."""
        origin = self.origin()
        job = self.fail_with({"kind": "delivery", "url": origin.url("/redirect/307/1"),
                              "payload": 1, "wait": 0},
                             ("unexpected_status", "too_many_redirects"), "response")
        self.assertEqual(len(origin.seen()), 1)
        self.assertEqual(job["result"]["status"], 307)

    def test_collect_fails(self):
        """A delivery whose collect step fails has failed, delivered all the same."""
        origin = self.origin()
        job = self.fail_with({"kind": "delivery", "url": origin.url("/ok"), "payload": 1,
                              "wait": 0, "collect": {"url": origin.url("/status/404")}},
                             "unexpected_status", "response")
        self.assertEqual(job["result"]["status"], 404)
        self.assertIn("delivered", [event["event"] for event in job["events"]])
        self.assertNotIn("collected", [event["event"] for event in job["events"]])

    def test_collect_with_method_and_headers(self):
        """The collect request may have its own method, headers and body."""
        origin = self.origin()
        self.succeed({"kind": "delivery", "url": origin.url("/ok"), "payload": 1, "wait": 0,
                      "collect": {"url": origin.url("/echo"), "method": "PUT",
                                  "headers": {"X-Collect": "yes"}}})
        collect = origin.seen("/echo")[0]
        self.assertEqual(collect.method, "PUT")
        self.assertEqual(collect.values("x-collect"), ["yes"])

    def test_payload_stays_exact(self):
        """Keys keep their order, reals their digits, text its characters."""
        origin = self.origin()
        text = '{"z":1,"a":[0.1,1e+20,-0.5],"é":"\\u0001\\"/","n":null,"big":9223372036854775807}'
        spec = json.dumps({"kind": "delivery", "url": origin.url("/echo"), "wait": 0})
        reply = self.api.json_text("/v1/jobs?wait=60s", spec[:-1] + f', "payload": {text}}}')
        self.assertEqual(reply.status, 200, reply)
        sent = origin.seen()[0]
        self.assertEqual(list(sent.json()), ["z", "a", "é", "n", "big"])
        self.assertEqual(sent.json(), json.loads(text))
        self.assertNotIn(b" ", sent.body)
