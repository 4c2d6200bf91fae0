"""Retries, expectations, timeouts and deadlines."""

import time

from tests.e2e.case import DaemonCase
from tests.e2e.shapes import instant

QUICK = {"attempts": 3, "backoff": "20ms", "max_backoff": "50ms"}


class Retries(DaemonCase):
    def numbers(self, job):
        return [(attempt["n"], attempt["status"]) for attempt in job["attempts"]]

    def test_tried_again(self):
        """A job that asks for three tries gets them, each with its own record."""
        origin = self.origin()
        job = self.succeed({"kind": "fetch", "url": origin.url("/flaky/a?fail=2"), "retry": QUICK})
        self.assertEqual(self.numbers(job), [(1, 503), (2, 503), (3, 200)])
        self.assertEqual(len(origin.seen()), 3)
        self.assertEqual(job["attempts"][0]["error"]["code"], "unexpected_status")
        self.assertIsNone(job["attempts"][2]["error"])

    def test_used_up(self):
        """After the last try the job has failed with the last answer as its result."""
        job = self.fail_with({"kind": "fetch", "url": self.origin().url("/status/503"),
                              "retry": QUICK}, "unexpected_status", "response")
        self.assertEqual(self.numbers(job), [(1, 503), (2, 503), (3, 503)])
        self.assertEqual(job["result"]["status"], 503)
        self.assertEqual(self.body(job["id"]), b"status 503\n")

    def test_fetch_tries_once_by_default(self):
        """A fetch that asks for nothing is tried once."""
        job = self.fail_with({"kind": "fetch", "url": self.origin().url("/status/503")},
                             "unexpected_status")
        self.assertEqual(self.numbers(job), [(1, 503)])

    def test_statuses(self):
        """Only 408, 425, 429, 500, 502, 503 and 504 are worth another try."""
        origin = self.origin()
        for status, tries in ((408, 3), (425, 3), (429, 3), (500, 3), (502, 3), (503, 3), (504, 3),
                              (400, 1), (401, 1), (403, 1), (404, 1), (409, 1), (410, 1), (418, 1),
                              (501, 1), (505, 1)):
            with self.subTest(status):
                job = self.fail_with({"kind": "fetch", "url": origin.url(f"/status/{status}"),
                                      "retry": QUICK}, "unexpected_status", "response")
                self.assertEqual(len(job["attempts"]), tries)

    def test_expect(self):
        """`expect` says what success is: classes and single statuses."""
        origin = self.origin()
        for status, expect, good in ((404, ["404"], True), (404, ["4xx"], True),
                                     (404, ["2xx", "404"], True), (200, ["404"], False),
                                     (204, ["200"], False), (503, ["2xx", "503"], True),
                                     (404, ["2xx"], False)):
            with self.subTest(f"{status} {expect}"):
                job = self.finish({"kind": "fetch", "url": origin.url(f"/status/{status}"),
                                   "expect": expect})
                self.assertEqual(job["state"], "succeeded" if good else "failed")
                self.assertEqual(job["result"]["status"], status)

    def test_connection_errors_are_tried_again(self):
        """Refused and reset connections are worth another try."""
        origin = self.origin()
        job = self.succeed({"kind": "fetch", "url": origin.url("/flaky/r?fail=2&how=reset"),
                            "retry": QUICK})
        self.assertEqual(self.numbers(job), [(1, None), (2, None), (3, 200)])
        job = self.succeed({"kind": "fetch", "url": origin.url("/flaky/c?fail=1&how=close"),
                            "retry": QUICK})
        self.assertEqual(len(job["attempts"]), 2)

    def test_waiting_between_tries(self):
        """Between two tries a job is waiting, with the next try's due time."""
        origin = self.origin()
        job = self.submit({"kind": "fetch", "url": origin.url("/status/503"),
                           "retry": {"attempts": 2, "backoff": "60s", "max_backoff": "60s"}})
        origin.wait_for(1)
        while (now := self.get(job["id"], "?wait=20ms"))["state"] in ("running", "pending"):
            pass
        if now["state"] == "failed":
            self.skipTest("the random delay was nearly zero")
        self.assertEqual(now["state"], "waiting")
        self.assertEqual(len(now["attempts"]), 1)
        self.assertGreaterEqual(instant(now["due_at"]), instant(now["started_at"]))
        self.cancel(job["id"])

    def test_backoff_is_capped(self):
        """No delay is longer than max_backoff."""
        started = time.monotonic()
        self.fail_with({"kind": "fetch", "url": self.origin().url("/status/503"),
                        "retry": {"attempts": 6, "backoff": "50ms", "max_backoff": "50ms"}},
                       "unexpected_status")
        self.assertLess(time.monotonic() - started, 1.5)


class Unknown(DaemonCase):
    """What happens when a request was sent and no answer is known."""

    def tries(self, path="/reset/request", **spec):
        origin = self.origin()
        job = self.finish({"kind": "fetch", "url": origin.url(path), "retry": QUICK, **spec})
        self.assertEqual(job["state"], "failed", job)
        self.assertEqual(len(origin.seen()), len(job["attempts"]), "requests equal attempts")
        return len(origin.seen())

    def test_post_is_not_repeated(self):
        """A POST whose fate is unknown fails: it may have been carried out."""
        self.assertEqual(self.tries(method="POST", body="x"), 1)

    def test_idempotent_methods_are_repeated(self):
        """GET, PUT and DELETE may be carried out twice."""
        for method in ("GET", "PUT", "DELETE"):
            with self.subTest(method):
                self.assertEqual(self.tries(method=method), 3)

    def test_the_job_decides(self):
        """`on_unknown` and `idempotent` override what the method says."""
        self.assertEqual(self.tries(method="POST", idempotent=True), 3)
        self.assertEqual(self.tries(method="POST", on_unknown="retry"), 3)
        self.assertEqual(self.tries(method="GET", on_unknown="fail"), 1)

    def test_no_silent_repetition(self):
        """A kept connection that dies under a request is not hidden by sending it again."""
        for how in ("close", "reset"):
            with self.subTest(how):
                origin = self.origin()
                url = origin.url(f"/stale?how={how}")
                self.succeed({"kind": "fetch", "url": url})
                job = self.finish({"kind": "fetch", "url": url})
                self.assertTrue(job["attempts"][0]["reused"], job)
                self.assertEqual(job["state"], "failed", job)
                self.assertEqual(len(origin.seen()), 2)
                again = self.succeed({"kind": "fetch", "url": url, "retry": QUICK})
                self.assertEqual(len(origin.seen()), 2 + len(again["attempts"]))


class Limits(DaemonCase):
    """timeout and deadline."""

    def test_timeout(self):
        """`timeout` ends a try that gets no answer; the connection is closed."""
        origin = self.origin()
        job = self.fail_with({"kind": "fetch", "url": origin.url("/silent"), "timeout": "300ms"},
                             ("timeout", "outcome_unknown"), ("request", "response"))
        attempt = job["attempts"][0]
        self.assertGreaterEqual(attempt["total_ms"], 290)
        self.assertLess(attempt["total_ms"], 800)
        self.assertEqual(attempt["reached"], "request")
        self.assertTrue(origin.seen()[0].gone.wait(5))

    def test_timeout_bounds_each_try(self):
        """Each try has the whole timeout."""
        origin = self.origin()
        job = self.fail_with({"kind": "fetch", "url": origin.url("/silent"), "timeout": "200ms",
                              "retry": QUICK}, ("timeout", "outcome_unknown"))
        self.assertEqual(len(job["attempts"]), 3)
        self.assertGreaterEqual(job["run_ms"], 600)

    def test_timeout_covers_redirects(self):
        """`timeout` bounds a try with all its hops."""
        origin = self.origin()
        url = origin.url("/to/302?url=/silent")
        job = self.fail_with({"kind": "fetch", "url": url, "timeout": "300ms"},
                             ("timeout", "outcome_unknown"))
        self.assertLess(job["run_ms"], 900)

    def test_deadline(self):
        """`deadline` ends the whole job, in the middle of a try or between two."""
        origin = self.origin()
        job = self.fail_with({"kind": "fetch", "url": origin.url("/silent"), "deadline": "400ms"},
                             "deadline_exceeded")
        self.assertGreaterEqual(job["total_ms"], 390)
        self.assertLess(job["total_ms"], 1000)
        self.assertEqual(len(job["attempts"]), 1)
        self.assertIsNone(job["result"])
        job = self.fail_with(
            {"kind": "fetch", "url": origin.url("/status/503?retry_after=60"), "deadline": "20s",
             "retry": {"attempts": 100, "backoff": 0}}, "deadline_exceeded")
        self.assertLess(job["total_ms"], 19000)
        self.assertEqual(len(job["attempts"]), 1)
        self.assertEqual(job["result"]["status"], 503)

    def test_deadline_of_a_wait(self):
        """A delivery whose wait is longer than its deadline fails at the deadline."""
        job = self.fail_with({"kind": "delivery", "wait": "30s", "deadline": "300ms"},
                             "deadline_exceeded")
        self.assertLess(job["total_ms"], 900)

    def test_deadline_in_the_queue(self):
        """The deadline counts from the submission, also while a job is not due."""
        job = self.fail_with({"kind": "fetch", "url": self.origin().url(), "delay": "30s",
                              "deadline": "300ms"}, "deadline_exceeded")
        self.assertEqual(job["attempts"], [])
