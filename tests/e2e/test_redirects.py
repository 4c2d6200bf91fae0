"""Redirects, which the daemon follows itself: each hop an attempt of its own."""

from tests.e2e.case import DaemonCase

HARMLESS = {"Accept": "text/html", "User-Agent": "probe/1.0"}
PRIVATE = {"Authorization": "Bearer a", "Cookie": "c=1", "X-Api-Key": "k", "X-Own": "o"}


class Redirects(DaemonCase):
    def test_hops(self):
        """Each hop is an attempt with its number, URL and status; the result is the last one's."""
        origin = self.origin()
        job = self.succeed({"kind": "fetch", "url": origin.url("/redirect/302/3")})
        self.assertEqual([a["hop"] for a in job["attempts"]], [0, 1, 2, 3])
        self.assertEqual([a["n"] for a in job["attempts"]], [1, 1, 1, 1])
        self.assertEqual([a["status"] for a in job["attempts"]], [302, 302, 302, 200])
        self.assertEqual(job["attempts"][3]["url"], origin.url("/echo"))
        self.assertEqual(job["result"]["status"], 200)
        self.assertEqual(job["request"]["url"], origin.url("/redirect/302/3"))

    def test_methods(self):
        """303 always and 301, 302 after POST turn into GET; 307 and 308 repeat all of it."""
        for status, method, then in ((301, "POST", "GET"), (302, "POST", "GET"),
                                     (303, "POST", "GET"), (303, "PUT", "GET"),
                                     (303, "HEAD", "HEAD"), (302, "PUT", "PUT"),
                                     (307, "POST", "POST"), (308, "POST", "POST"),
                                     (301, "GET", "GET"), (301, "HEAD", "HEAD")):
            with self.subTest(f"{status} {method}"):
                origin = self.origin()
                url = origin.url(f"/redirect/{status}/1")
                spec = {"kind": "fetch", "method": method, "url": url}
                if method in ("POST", "PUT"):
                    spec |= {"body": "the body", "headers": {"Content-Type": "text/x-own"}}
                self.succeed(spec)
                last = origin.wait_for(2)[1]
                self.assertEqual(last.method, then)
                kept = then in ("POST", "PUT")
                self.assertEqual(last.body, b"the body" if kept else b"")
                self.assertEqual(last.header("content-type"), "text/x-own" if kept else None)

    def test_same_origin_keeps_headers(self):
        """Within one origin every header goes along."""
        origin = self.origin()
        self.succeed({"kind": "fetch", "url": origin.url("/redirect/302/1"),
                      "headers": {**HARMLESS, **PRIVATE}})
        last = origin.wait_for(2)[1]
        for name, value in {**HARMLESS, **PRIVATE}.items():
            self.assertEqual(last.values(name), [value])

    def test_foreign_origin_loses_headers(self):
        """Another host or port gets none but harmless headers."""
        origin = self.origin()
        for other in (self.origin(), self.origin(host="127.0.0.2")):
            self.succeed({"kind": "fetch", "headers": {**HARMLESS, **PRIVATE},
                          "url": origin.url(f"/to/302?url={other.url('/echo')}")})
            last = other.wait_for(1)[0]
            for name, value in HARMLESS.items():
                self.assertEqual(last.values(name), [value])
            for name in PRIVATE:
                self.assertEqual(last.values(name), [], name)

    def test_back_home_does_not_restore_headers(self):
        """What a foreign hop has dropped stays dropped, also back at the first origin."""
        origin, other = self.origin(), self.origin()
        back = f"{other.origin}/to/302?url={origin.url('/echo')}"
        self.succeed({"kind": "fetch", "headers": PRIVATE,
                      "url": origin.url(f"/to/302?url={back}")})
        last = origin.wait_for(2)[1]
        self.assertEqual(last.path, "/echo")
        self.assertEqual(last.values("authorization"), [])

    def test_limit(self):
        """So many hops as `redirects` says, five by default; one more is a failure."""
        origin = self.origin()
        self.succeed({"kind": "fetch", "url": origin.url("/redirect/302/5")})
        self.fail_with({"kind": "fetch", "url": origin.url("/redirect/302/6")},
                       "too_many_redirects", "response")
        self.succeed({"kind": "fetch", "url": origin.url("/redirect/302/8"), "redirects": 8})
        loop = self.fail_with({"kind": "fetch", "url": origin.url("/loop")}, "too_many_redirects")
        self.assertEqual(len(loop["attempts"]), 6)
        self.assertEqual(len(origin.seen("/loop")), 6)

    def test_none_wanted(self):
        """With "redirects": 0 a 3xx is the answer itself, good only if it was expected."""
        origin = self.origin()
        job = self.fail_with({"kind": "fetch", "url": origin.url("/redirect/302/1"),
                              "redirects": 0},
                             ("unexpected_status", "too_many_redirects"), "response")
        self.assertEqual(job["result"]["status"], 302)
        job = self.succeed({"kind": "fetch", "url": origin.url("/redirect/302/1"), "redirects": 0,
                            "expect": ["3xx"]})
        self.assertEqual(job["result"]["headers"]["location"], ["/echo"])
        self.assertEqual(origin.seen("/echo"), [])

    def test_bad_targets(self):
        """A Location that may not be followed fails the job; nobody is asked."""
        origin = self.origin()
        for target in ("file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1:70/_x",
                       "javascript:alert(1)", "http://user:pass@127.0.0.1/", "http://[::1",
                       "http://127.0.0.1:99999/", "//"):
            with self.subTest(target):
                job = self.fail_with({"kind": "fetch", "url": origin.url(f"/to/302?url={target}")},
                                     "bad_redirect", "response")
                self.assertEqual(len(job["attempts"]), 1)

    def test_relative_forms(self):
        """Relative targets resolve against the URL they came from."""
        origin = self.origin()
        for target in ("/echo", "../echo", f"//127.0.0.1:{origin.port}/echo", "./../echo?a=%23x"):
            with self.subTest(target):
                self.succeed({"kind": "fetch", "url": origin.url("/to/302?url=" + target.replace(
                    "%", "%25"))})
                self.assertTrue(origin.seen()[-1].target.startswith("/echo"), origin.seen()[-1])

    def test_retry_starts_over(self):
        """After a failure behind a redirect the next try starts at the first URL."""
        origin = self.origin()
        job = self.succeed({"kind": "fetch",
                            "url": origin.url("/to/302?url=/flaky/behind?fail=1"),
                            "retry": {"attempts": 2, "backoff": "10ms"}})
        self.assertEqual([(a["n"], a["hop"], a["status"]) for a in job["attempts"]],
                         [(1, 0, 302), (1, 1, 503), (2, 0, 302), (2, 1, 200)])
