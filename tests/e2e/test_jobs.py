"""Fetches: what a job may ask for, what reaches the origin, what is shown of the answer."""

import base64
import datetime
import hashlib
import json
import time

from tests.e2e.case import DaemonCase
from tests.e2e.shapes import instant
from tests.fixture.answers import content
from tests.fixture.daemon import free_port


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class Answers(DaemonCase):
    """What a fetch shows of the answer."""

    def test_get(self):
        """A fetch ends with the answer's status, headers, type and body."""
        origin = self.origin()
        job = self.succeed({"kind": "fetch", "url": origin.url("/ok")}, "&body=inline")
        self.assertEqual(job["kind"], "fetch")
        self.assertEqual(job["lane"], origin.origin)
        self.assertEqual(job["request"]["url"], origin.url("/ok"))
        self.assertEqual(job["request"]["method"], "GET")
        self.assertEqual(job["request"]["body_bytes"], 0)
        result = job["result"]
        self.assertEqual(result["status"], 200)
        self.assertEqual(result["headers"]["content-length"], ["3"])
        self.assertEqual(result["body_type"], "text/plain")
        self.assertEqual(result["body_bytes"], 3)
        self.assertIs(result["truncated"], False)
        self.assertEqual(result["body"], "ok\n")
        self.assertIsNone(job["error"])
        self.assertEqual([job[key] for key in ("batch", "index", "name")], [None, None, None])

    def test_submit_answers_at_once(self):
        """POST answers 202 with the job and its Location while the work goes on."""
        origin = self.origin()
        started = time.monotonic()
        job = self.submit({"kind": "fetch", "url": origin.url("/ok?ms=600")})
        self.assertLess(time.monotonic() - started, 0.5)
        self.assertIn(job["state"], ("pending", "running"))
        self.assertEqual(self.ended(job["id"])["state"], "succeeded")

    def test_headers_of_the_answer(self):
        """Every header of the answer is kept, repeated and empty ones too, by lower-case name."""
        job = self.succeed({"kind": "fetch", "url": self.origin().url("/many-headers")})
        headers = job["result"]["headers"]
        self.assertEqual(headers["set-cookie"], ["a=1", "b=2"])
        self.assertEqual(headers["x-empty"], [""])
        self.assertEqual(headers["x-number-19"], ["19"])
        self.assertIn("x-latin", headers)

    def test_inline_body_that_is_no_text(self):
        """A body that is no UTF-8 is shown in base64."""
        origin = self.origin()
        job = self.succeed({"kind": "fetch", "url": origin.url("/ok?size=1000&seed=7")},
                           "&body=inline")
        self.assertEqual(base64.b64decode(job["result"]["body"]["base64"]), content(1000, 7))

    def test_inline_body_of_what_has_not_ended(self):
        """?body=inline is for jobs that have ended; others are shown as ever, at GET and POST."""
        reply = self.api.post("/v1/jobs?wait=10ms&body=inline", {"kind": "delivery", "wait": "30s"})
        self.assertEqual(reply.status, 202, reply)
        job = reply.json()
        self.assertIsNone(job["result"])
        self.assertIsNone(self.get(job["id"], "?body=inline")["result"])
        self.cancel(job["id"])
        origin = self.origin()
        reply = self.api.post("/v1/jobs?body=inline", {"kind": "fetch", "url": origin.url("/ok")},
                              {"Prefer": "wait=20", "Content-Type": "application/json"})
        self.assertEqual(reply.json()["result"]["body"], "ok\n", reply)
        for query in ("body=inline", "wait=1s"):
            reply = self.api.post(f"/v1/jobs?{query}", b"{}\n",
                                  {"Content-Type": "application/x-ndjson"})
            self.check_problem(reply, 400)

    def test_body_with_a_nul(self):
        """A NUL in a text body cuts nothing off."""
        origin = self.origin()
        job = self.succeed({"kind": "fetch", "method": "POST", "url": origin.url("/echo"),
                            "body": "before\u0000after"})
        self.assertEqual(origin.seen()[0].body, b"before\0after", job)

    def test_body_call(self):
        """/body gives the bytes as they came, as an attachment that no browser will run."""
        origin = self.origin()
        job = self.succeed({"kind": "fetch",
                            "url": origin.url("/ok?size=5000&type=text/html")})
        reply = self.api.get(f"/v1/jobs/{job['id']}/body")
        self.assertEqual(reply.status, 200)
        self.assertEqual(reply.body, content(5000))
        self.assertEqual(reply.headers["Content-Type"], "text/html")
        self.assertEqual(reply.headers["Content-Security-Policy"], "sandbox; default-src 'none'")
        self.assertEqual(reply.headers["X-Content-Type-Options"], "nosniff")
        self.assertTrue(reply.headers["Content-Disposition"].startswith("attachment"))

    def test_body_call_without_a_body(self):
        """/body of a job that is not finished is 409, of one without a body 404."""
        origin = self.origin()
        running = self.submit({"kind": "fetch", "url": origin.url("/silent"), "timeout": "60s"})
        self.check_problem(self.api.get(f"/v1/jobs/{running['id']}/body"), 409)
        self.cancel(running["id"])
        refused = self.finish({"kind": "fetch", "url": f"http://127.0.0.1:{free_port()}/"})
        self.check_problem(self.api.get(f"/v1/jobs/{refused['id']}/body"), 404)

    def test_sizes(self):
        """Bodies of every size come back byte for byte, inline up to 64 KiB."""
        origin = self.origin()
        for size in (0, 1, 65535, 65536, 65537, 300000, 5000000):
            with self.subTest(size=size):
                job = self.succeed({"kind": "fetch",
                                    "url": origin.url(f"/ok?size={size}&seed={size}")})
                self.assertEqual(job["result"]["body_bytes"], size)
                if size:
                    digest = hashlib.sha256(self.body(job["id"])).hexdigest()
                    self.assertEqual(digest, hashlib.sha256(content(size, size)).hexdigest())
                inline = self.get(job["id"], "?body=inline")["result"].get("body")
                self.assertEqual(inline is not None and size > 0, 0 < size <= 65536)

    def test_other_forms_of_answers(self):
        """Chunked bodies, bodies that end with the connection, 204 and early hints are fine."""
        origin = self.origin()
        for path, size in (("/ok?size=50000&chunked", 50000), ("/until-close?size=70000", 70000),
                           ("/nocontent", 0), ("/early", 12)):
            with self.subTest(path):
                job = self.succeed({"kind": "fetch", "url": origin.url(path)})
                self.assertEqual(job["result"]["body_bytes"], size)

    def test_body_cap(self):
        """A body of max_body is kept; one byte more fails the job, marked truncated."""
        origin = self.origin()
        for path in ("/ok?size={}", "/ok?size={}&chunked"):
            with self.subTest(path):
                fits = {"kind": "fetch", "url": origin.url(path.format(1024)), "max_body": "1KiB"}
                self.assertFalse(self.succeed(fits)["result"]["truncated"])
                more = {"kind": "fetch", "url": origin.url(path.format(1025)), "max_body": 1024}
                job = self.fail_with(more, "body_too_large", "response")
                if job["result"] is not None:
                    self.assertTrue(job["result"]["truncated"])
                    self.assertLessEqual(job["result"]["body_bytes"], 1024)

    def test_attempt(self):
        """The attempt says where the time went; what did not happen is null."""
        origin = self.origin()
        url = origin.url("/ok?ms=100")
        first = self.succeed({"kind": "fetch", "url": url})["attempts"][0]
        self.assertEqual(first["n"], 1)
        self.assertEqual(first["hop"], 0)
        self.assertEqual(first["step"], "request")
        self.assertEqual(first["url"], url)
        self.assertEqual(first["method"], "GET")
        self.assertEqual(first["status"], 200)
        self.assertEqual(first["reached"], "response")
        self.assertEqual(first["remote"], f"127.0.0.1:{origin.port}")
        self.assertIs(first["reused"], False)
        self.assertIsNone(first["error"])
        self.assertIsNone(first["tls_ms"])
        self.assertIsNotNone(first["connect_ms"])
        self.assertGreaterEqual(first["first_byte_ms"], 95)
        self.assertLess(first["total_ms"], 1000)
        self.assertGreater(first["sent_bytes"], 20)
        self.assertGreater(first["received_bytes"], 40)
        self.assertIn(first["http_version"], ("1.1", "HTTP/1.1"))

    def test_reused_connection(self):
        """The second fetch from an origin reuses the connection, and says so."""
        origin = self.origin()
        for place, reused in enumerate((False, True, True), 1):
            attempt = self.succeed({"kind": "fetch", "url": origin.url()})["attempts"][0]
            self.assertIs(attempt["reused"], reused)
            self.assertEqual(origin.seen()[-1].place, place)
        self.assertIsNone(attempt["connect_ms"])
        self.assertIsNone(attempt["dns_ms"])
        self.assertEqual(origin.connections, 1)

    def test_job_times(self):
        """queued, run and total times fit the moments that the job shows."""
        job = self.succeed({"kind": "fetch", "url": self.origin().url("/ok?ms=50")})
        self.assertGreaterEqual(job["run_ms"], 50)
        self.assertLess(job["queued_ms"], 500)
        self.assertGreaterEqual(job["total_ms"], job["run_ms"])
        self.assertLess(abs(instant(job["created_at"]) - time.time()), 60)

    def test_ipv6(self):
        """An IPv6 literal is a target like any other."""
        origin = self.origin(host="::1")
        job = self.succeed({"kind": "fetch", "url": origin.url()})
        self.assertEqual(job["lane"], origin.origin)
        self.assertEqual(job["attempts"][0]["remote"], f"[::1]:{origin.port}")


class Requests(DaemonCase):
    """What reaches the origin."""

    def sent(self, spec):
        """Runs a job against /echo; the request as the origin has read it."""
        origin = self.origin()
        self.succeed({"kind": "fetch", "url": origin.url("/echo"), **spec})
        return origin.wait_for(1)[0]

    def test_methods(self):
        """Any method that is a token arrives as it was given."""
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE", "M-SEARCH"):
            with self.subTest(method):
                self.assertEqual(self.sent({"method": method}).method, method)

    def test_head(self):
        """HEAD ends with the headers and waits for no body."""
        origin = self.origin()
        job = self.succeed({"kind": "fetch", "method": "HEAD", "url": origin.url("/ok?size=500")})
        self.assertEqual(job["result"]["headers"]["content-length"], ["500"])
        self.assertEqual(job["result"]["body_bytes"], 0)

    def test_bodies(self):
        """Text goes as UTF-8, base64 as bytes, JSON compact with the order of its keys."""
        value = {"b": 1, "a": [1.5, True, None, -9007199254740993], "c": "é\n"}
        cases = (
            ("héllo", "héllo".encode()),
            ({"base64": base64.b64encode(content(3000)).decode()}, content(3000)),
            ({"json": value}, compact(value)),
            ({"json": "text"}, b'"text"'),
            ({"json": None}, b"null"),
            ("", b""),
        )
        for body, expected in cases:
            with self.subTest(body=str(body)[:40]):
                request = self.sent({"method": "POST", "body": body})
                self.assertEqual(request.body, expected)
                self.assertEqual(request.header("content-length"), str(len(expected)))

    def test_no_header_is_invented(self):
        """A text body gets no form's content type, a large one no Expect; JSON is called JSON."""
        request = self.sent({"method": "POST", "body": "a=b"})
        self.assertNotEqual(request.header("content-type"), "application/x-www-form-urlencoded")
        large = self.sent({"method": "PUT", "body": "x" * 2000000})
        self.assertEqual(len(large.body), 2000000)
        self.assertIsNone(large.header("expect"))
        self.assertIsNone(large.header("transfer-encoding"))
        as_json = self.sent({"method": "POST", "body": {"json": {}}})
        self.assertEqual(as_json.header("content-type"), "application/json")
        own_type = self.sent({"method": "POST", "body": {"json": {}},
                              "headers": {"Content-Type": "application/merge-patch+json"}})
        self.assertEqual(own_type.values("content-type"), ["application/merge-patch+json"])

    def test_headers(self):
        """Headers arrive as they were given, empty ones too, and replace the daemon's own."""
        request = self.sent({"headers": {
            "X-One": "1", "Accept": "text/html", "User-Agent": "probe/1.0", "X-Empty": "",
            "X-Punctuation": "a;b=\"c\", d:e", "X-Twice": ["1", "2"]}})
        self.assertEqual(request.values("x-twice"), ["1", "2"])
        self.assertEqual(request.values("x-one"), ["1"])
        self.assertEqual(request.values("accept"), ["text/html"])
        self.assertEqual(request.values("user-agent"), ["probe/1.0"])
        self.assertEqual(request.values("x-empty"), [""])
        self.assertEqual(request.values("x-punctuation"), ["a;b=\"c\", d:e"])
        self.assertEqual(len(request.values("host")), 1)

    def test_target(self):
        """Path and query arrive as given; the fragment stays here."""
        origin = self.origin()
        self.succeed({"kind": "fetch", "url": origin.url("/echo/a%20b/%2F?x=%41&y=a+b#part")})
        self.assertEqual(origin.seen()[0].target, "/echo/a%20b/%2F?x=%41&y=a+b")
        host = origin.seen()[0].header("host")
        self.assertEqual(host, f"127.0.0.1:{origin.port}")

    def test_secret_headers_are_masked(self):
        """Credentials reach the origin and are shown nowhere, in no answer and no log line."""
        origin = self.origin()
        secrets = {"Authorization": "Bearer canary-1", "Cookie": "session=canary-2",
                   "X-Api-Key": "canary-3", "X-Auth-Token": "canary-4", "My-Secret": "canary-5"}
        job = self.succeed({"kind": "fetch", "url": origin.url("/ok"),
                            "headers": {**secrets, "X-Open": "seen"}})
        for name, value in secrets.items():
            self.assertEqual(origin.seen()[0].values(name), [value])
            self.assertEqual(job["request"]["headers"][name.lower()], ["***"])
        self.assertEqual(job["request"]["headers"]["x-open"], ["seen"])
        for path in (f"/v1/jobs/{job['id']}?body=inline", "/v1/jobs?limit=1000"):
            self.assertNotIn(b"canary", self.api.get(path).body)
        self.assertNotIn("canary", self.daemon.stderr())


class Options(DaemonCase):
    """The other keys of a job."""

    settings = {"lanes": [{"origin": "default", "concurrency": 1}]}

    def test_name_labels_priority(self):
        """name, labels and priority are shown as they were given."""
        job = self.submit({"kind": "delivery", "wait": 0, "name": "front page ☂",
                           "labels": {"team": "a", "env": "test"}, "priority": 7})
        self.assertEqual(job["name"], "front page ☂")
        self.assertEqual(job["labels"], {"team": "a", "env": "test"})
        self.assertEqual(job["priority"], 7)

    def test_priority_is_the_order_of_a_lane(self):
        """In a busy lane the higher priority goes first, then who came first."""
        origin = self.origin()
        blocker = self.submit({"kind": "fetch", "url": origin.url("/ok?ms=400")})
        origin.wait_for(1)
        names = []
        for name, priority in (("low", -5), ("a", 0), ("b", 0), ("high", 9)):
            names.append(self.submit({"kind": "fetch", "priority": priority,
                                      "url": origin.url(f"/ok?name={name}")})["id"])
        for job_id in [blocker["id"], *names]:
            self.ended(job_id)
        self.assertEqual([r.query["name"] for r in origin.seen()[1:]], ["high", "a", "b", "low"])
        self.assertEqual(origin.high_water, 1)

    def test_lane_wait_is_shown(self):
        """A job that waits for its lane's permit says how long it did."""
        origin = self.origin()
        ids = [self.submit({"kind": "fetch", "url": origin.url("/ok?ms=200")})["id"]
               for _ in range(2)]
        waits = [self.ended(job_id)["attempts"][0]["lane_wait_ms"] for job_id in ids]
        self.assertLess(waits[0], 100)
        self.assertGreater(waits[1], 100)

    def test_delay(self):
        """A delay keeps a job pending until it is due."""
        origin = self.origin()
        job = self.submit({"kind": "fetch", "url": origin.url(), "delay": "400ms"})
        self.assertEqual(job["state"], "pending")
        self.assertAlmostEqual(instant(job["due_at"]) - instant(job["created_at"]), 0.4, 2)
        self.assertEqual(self.get(job["id"])["state"], "pending")
        ended = self.ended(job["id"])
        self.assertEqual(ended["state"], "succeeded")
        late = instant(ended["started_at"]) - instant(job["due_at"])
        self.assertGreaterEqual(late, 0)
        self.assertLess(late, 0.3)
        self.assertLess(ended["queued_ms"], 300)

    def test_at(self):
        """`at` starts a job at a moment of the wall clock."""
        moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=0.5)
        text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        ended = self.succeed({"kind": "fetch", "url": self.origin().url(), "at": text})
        late = instant(ended["started_at"]) - moment.timestamp()
        self.assertGreaterEqual(late, -0.002)
        self.assertLess(late, 0.3)

    def test_durations(self):
        """Durations are seconds or a number with its unit."""
        for written, milliseconds in ((0, 0), (0.25, 250), ("250ms", 250), ("10s", 10000),
                                      ("5min", 300000), ("2h", 7200000)):
            with self.subTest(written):
                job = self.submit({"kind": "delivery", "wait": written})
                self.assertEqual(job["wait_ms"], milliseconds)
                if milliseconds > 1000:
                    self.cancel(job["id"])

    def test_wait_by_prefer(self):
        """Prefer: wait=N answers with the finished job and says that it was obeyed."""
        spec = {"kind": "delivery", "wait": "100ms"}
        reply = self.api.post("/v1/jobs", spec, {"Prefer": "wait=10"})
        self.assertEqual(reply.status, 200, reply)
        self.assertEqual(reply.json()["state"], "succeeded")
        self.assertIn("wait=10", reply.headers["Preference-Applied"])

    def test_wait_that_is_too_short(self):
        """A job that does not end in time is answered with 202 as it stands."""
        started = time.monotonic()
        reply = self.api.post("/v1/jobs?wait=300ms", {"kind": "delivery", "wait": "30s"})
        self.assertEqual(reply.status, 202, reply)
        self.assertGreaterEqual(time.monotonic() - started, 0.29)
        job = reply.json()
        self.assertEqual(job["state"], "waiting")
        started = time.monotonic()
        self.assertEqual(self.get(job["id"], "?wait=300ms")["state"], "waiting")
        self.assertGreaterEqual(time.monotonic() - started, 0.29)
        self.cancel(job["id"])

    def test_many_waiters(self):
        """Everyone who waits for a job is answered as soon as it ends."""
        origin = self.origin()
        job = self.submit({"kind": "fetch", "url": origin.url("/ok?ms=500")})
        sockets = []
        for _ in range(20):
            sock = self.api.socket()
            self.addCleanup(sock.close)
            sock.sendall(f"GET /v1/jobs/{job['id']}?wait=60s HTTP/1.1\r\nHost: 127.0.0.1:"
                         f"{self.daemon.port}\r\nConnection: close\r\n\r\n".encode())
            sockets.append(sock)
        for sock in sockets:
            sock.settimeout(20)
            text = b"".join(iter(lambda: sock.recv(65536), b""))
            self.assertIn(b'"succeeded"', text)

    def test_unbuilt_is_unknown(self):
        """Keys of later work are refused like any unknown key."""
        for key, value in (("order_key", "a"), ("nonsense", 1)):
            with self.subTest(key):
                reply = self.api.post("/v1/jobs", {"kind": "delivery", "wait": 0, key: value})
                self.check_problem(reply, 422, f"/{key}")

