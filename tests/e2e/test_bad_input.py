"""Bad input: the right status, every error at once with a pointer, nothing lost."""

import json

from tests.e2e.case import DaemonCase

URL = "http://127.0.0.1:9/"


def fetch(**more):
    return {"kind": "fetch", "url": URL, **more}


class BadInput(DaemonCase):
    settings = {"api": {"max_body": "8MiB"}}

    def setUp(self):
        super().setUp()
        self.before = len(self.listed())

    def tearDown(self):
        super().tearDown()
        self.assertEqual(len(self.listed()), self.before, "a bad request has made a job")

    def refused(self, spec, *pointers, path="/v1/jobs"):
        return self.check_problem(self.api.post(path, spec), 422, *pointers)

    def test_no_json(self):
        """Text that is no JSON is 400 with line and column of the mistake."""
        for text in ("", " ", "hello", "{", '{"kind": }', '{"kind": "fetch",}', "{'kind': 1}",
                     '{"kind": "fetch"} trailing', '{"a": 01}', '{"a": NaN}', '{"a": "\t"}',
                     '{"a": "\\x"}', '{"a": "\\ud800"}', '{"kind": "fetch"'):
            with self.subTest(text):
                problem = self.check_problem(self.api.json_text("/v1/jobs", text), 400)
                self.assertEqual(len(problem["errors"]), 1, problem)
                self.assertGreaterEqual(problem["errors"][0]["line"], 1)
                self.assertGreaterEqual(problem["errors"][0]["column"], 0)
        reply = self.api.json_text("/v1/jobs", '{\n  "kind": "fetch",\n  oops\n}')
        self.assertEqual(self.check_problem(reply, 400)["errors"][0]["line"], 3)

    def test_no_utf8(self):
        """Bytes that are no UTF-8, and NUL in the text, are 400."""
        for data in (b'{"kind": "delivery", "name": "\xff\xfe"}', b'{"kind": "delivery"\x00}',
                     b'\xef\xbb\xbf{"kind": "delivery"',
                     b'{"kind": "delivery", "name": "\xc0\x80"}'):
            with self.subTest(data):
                reply = self.api.post("/v1/jobs", data, {"Content-Type": "application/json"})
                self.check_problem(reply, 400)

    def test_no_object(self):
        """Valid JSON that is no object is 422."""
        for text in ("[]", "3", '"fetch"', "null", "true"):
            with self.subTest(text):
                self.check_problem(self.api.json_text("/v1/jobs", text), 422, "")

    def test_duplicate_keys(self):
        """A key that is there twice is 400, at any depth."""
        for text in ('{"kind": "delivery", "kind": "delivery"}',
                     '{"kind": "fetch", "url": "%s", "headers": {"a": "1", "a": "2"}}' % URL):
            self.check_problem(self.api.json_text("/v1/jobs", text), 400)

    def test_too_deep(self):
        """JSON deeper than 32 levels is 400, however deep; 32 are fine as far as they go."""
        for depth in (40, 3000, 200000):
            with self.subTest(depth):
                text = '{"kind": "delivery", "payload": %s1%s}' % ("[" * depth, "]" * depth)
                self.check_problem(self.api.json_text("/v1/jobs", text), 400)
        for opening in ("[" * 1000000, '{"a":' * 500000):
            self.check_problem(self.api.json_text("/v1/jobs", opening), 400)

    def test_kind(self):
        """A job without a kind, or with one that does not exist, is 422."""
        self.check_problem(self.api.post("/v1/jobs", {}), 422)
        for kind in ("push", "", 1, None, ["fetch"], "FETCH"):
            with self.subTest(kind):
                self.refused({"kind": kind}, "/kind")

    def test_url_is_missing(self):
        """A fetch needs a URL."""
        problem = self.check_problem(self.api.post("/v1/jobs", {"kind": "fetch"}), 422)
        self.assertIn(problem["errors"][0]["pointer"], ("/url", ""), problem)

    def test_unknown_keys(self):
        """Unknown keys are refused by name, with a pointer that quotes what must be quoted."""
        self.refused(fetch(nonsense=1, Timeout=1), "/nonsense", "/Timeout")
        self.refused(fetch(**{"a/b~c": 1}), "/a~1b~0c")
        self.refused(fetch(retry={"attempts": 1, "often": True}), "/retry/often")
        self.refused({"kind": "delivery", "url": URL, "payload": 1,
                      "collect": {"url": URL, "wait": 1}}, "/collect/wait")
        self.refused(fetch(body={"json": 1, "base64": ""}))
        self.refused(fetch(body={"yaml": "a"}))

    def test_keys_of_the_other_kind(self):
        """A fetch has no wait, payload or collect; a delivery without url no request."""
        self.refused(fetch(wait="1s"), "/wait")
        self.refused(fetch(payload=1, collect={"url": URL}), "/payload", "/collect")

    def test_wrong_types(self):
        """A value of the wrong type is refused, for every key."""
        for key, values in {
            "url": (1, None, [], {}), "method": (1, [], {}), "headers": (1, "a: b", ["a"]),
            "body": (1, [1], True), "timeout": ([], {}, True), "deadline": ([], True),
            "max_body": ("much", [], -1, 1.5, True), "redirects": ("5", -1, 21, 1.5, 1000000),
            "expect": ("2xx", [], [200.5], ["6xx"], ["abc"], ["2xxx"], ["99"], ["600"], [{}]),
            "retry": (3, [], "often"), "delay": ([], "soon"), "at": (1, "tomorrow", "2026-13-01"),
            "name": (1, [], {}), "labels": ([], "a", 1), "priority": ("high", 1.5, 1000, -1000),
            "on_unknown": ("maybe", 1), "idempotent": ("yes", 1),
            "executor": ("fiber", "Thread", "", "thread\0", 1, None, [], {}),
        }.items():
            for value in values:
                with self.subTest(f"{key}: {value}"):
                    problem = self.refused(fetch(**{key: value}))
                    for error in problem["errors"]:
                        self.assertEqual(error["pointer"].split("/")[1], key, problem)

    def test_nested_values(self):
        """Pointers lead into objects and lists."""
        self.refused(fetch(retry={"attempts": 0}), "/retry/attempts")
        self.refused(fetch(retry={"attempts": 1000}), "/retry/attempts")
        self.refused(fetch(retry={"attempts": 1, "backoff": "-1s", "max_backoff": "x"}),
                     "/retry/backoff", "/retry/max_backoff")
        self.refused(fetch(expect=["2xx", "9xx"]), "/expect/1")
        self.refused(fetch(labels={"a": 1}), "/labels/a")
        self.refused(fetch(headers={"x-a": 1}), "/headers/x-a")
        self.refused({"kind": "delivery", "url": URL, "payload": 1,
                      "collect": {"url": "x", "method": "A B"}}, "/collect/url", "/collect/method")

    def test_durations(self):
        """Durations are no negative, unknown, endless or empty ones."""
        for value in ("-1s", -1, "10 parsecs", "", "s", "1 ", "1e400s", "1.2.3s", "99999999999h",
                      1e300, "0x10s", "10 s s", "inf", "nan", "1h-1s"):
            for key in ("timeout", "deadline", "delay"):
                with self.subTest(f"{key}: {value}"):
                    self.refused(fetch(**{key: value}), f"/{key}")
            with self.subTest(f"wait: {value}"):
                self.refused({"kind": "delivery", "wait": value}, "/wait")
        self.refused(fetch(timeout=0), "/timeout")

    def test_urls(self):
        """URLs are absolute, http or https, with a host and no credentials, in ASCII."""
        for url in ("", " ", "example.com", "/path", "//example.com/", "ftp://example.com/",
                    "file:///etc/passwd", "javascript:alert(1)", "http:", "http://", "http:///x",
                    "http:/127.0.0.1/", "http://:80/", "http://user@127.0.0.1/",
                    "http://user:pass@127.0.0.1/", "http://127.0.0.1:99999/",
                    "http://127.0.0.1:-1/", "http://127.0.0.1:http/", "http://a b/",
                    "http://127.0.0.1/a b", "http://127.0.0.1/ ", "http://127.0.0.1/\r\nX: y",
                    "http://127.0.0.1/\x00",
                    "http://127.0.0.1\\@example.com/", "http://[::1/", "http://[fe80::1%25eth0]/",
                    "http://[1.2.3.4]/", "http://ⓛocalhost/", "http://127。0。0。1/",
                    "http://exämple.com/", "http://127.0.0.1/" + "a" * 9000, "\nhttp://127.0.0.1/"):
            with self.subTest(url[:60]):
                self.refused(fetch(url=url), "/url")

    def test_methods(self):
        """A method is a token of sensible length."""
        for method in ("", "GE T", "GET\r\nX: y", "G\x00T", "GÉT", "GET/", "(GET)", "G" * 200,
                       "CONNECT"):
            with self.subTest(method):
                self.refused(fetch(method=method), "/method")

    def test_headers(self):
        """Header names are tokens, values have no control characters, nothing can be smuggled."""
        for name, value in (("x-a", "b\r\nX-Smuggled: 1"), ("x-a", "b\nc"), ("x-a", "b\rc"),
                            ("x-a", "b\x00c"), ("x-a", "b\x1bc"), ("x-a", "b\x7fc"), ("x a", "b"),
                            ("x-a:", "b"), ("", "b"), ("x-a\r\nX-Smuggled", "b"), ("x-ä", "b"),
                            ("(x)", "b")):
            with self.subTest(f"{name!r}: {value!r}"):
                problem = self.refused(fetch(headers={name: value}))
                self.assertEqual(len(problem["errors"]), 1, problem)
                self.assertTrue(problem["errors"][0]["pointer"].startswith("/headers/"), problem)

    def test_nul_in_a_key(self):
        """A NUL in a key, of whatever object, is no JSON to jansson: 400."""
        for spec in (fetch(headers={"x-a\0": "b"}), fetch(labels={"a\0b": "c"}),
                     {**fetch(), "na\0me": "a"}):
            with self.subTest(spec):
                self.check_problem(self.api.post("/v1/jobs", spec), 400)

    def test_nul_in_a_text(self):
        """A NUL is refused in every text but those of bodies and payloads."""
        self.refused(fetch(name="a\0", labels={"a": "b\0"}, timeout="1s\0", max_body="1KiB\0",
                           expect=["2xx\0"], at="2099-01-01T00:00:00Z\0", on_unknown="retry\0"),
                     "/name", "/labels/a", "/timeout", "/max_body", "/expect/0", "/at",
                     "/on_unknown")
        self.refused({"kind": "fetch\0", "url": URL}, "/kind")
        self.refused(fetch(method="POST", body={"base64": "YWJj\0"}), "/body/base64")

    def test_own_headers(self):
        """Headers that the daemon owns are refused, in any case of letters, all of them at once."""
        names = ["Host", "Content-Length", "Transfer-Encoding", "Connection", "TE", "Upgrade",
                 "Expect", "Proxy-Connection", "Keep-Alive", "Trailer"]
        self.refused(fetch(headers={name: "x" for name in names}),
                     *[f"/headers/{name}" for name in names])
        self.refused(fetch(headers={"hOsT": "evil"}), "/headers/hOsT")

    def test_twice_by_case(self):
        """Two headers that differ in case are one header twice: refused, or both are sent."""
        reply = self.api.post("/v1/jobs?wait=10s", fetch(
            headers={"X-A": "1", "x-a": "2"}, delay="1h"))
        if reply.status != 422:
            self.assertEqual(reply.status, 202, reply)
            self.assertEqual(sorted(reply.json()["request"]["headers"]["x-a"]), ["1", "2"])
            self.before += 1

    def test_many(self):
        """65 headers, 33 KiB of headers, 17 labels and overlong texts are refused."""
        self.refused(fetch(headers={f"x-{n}": "v" for n in range(65)}))
        self.refused(fetch(headers={f"x-{n}": "v" * 1000 for n in range(33)}))
        self.refused(fetch(labels={f"l{n}": "v" for n in range(17)}))
        self.refused(fetch(labels={"a": "v" * 1000}), "/labels/a")
        self.refused(fetch(name="n" * 1000), "/name")

    def test_body(self):
        """base64 is base64; an integer beyond int64 is refused and not rounded."""
        for text in ("@@@@", "YWJ", "YW Jj", "YWJj=", "=", "YQ==YQ=="):
            with self.subTest(text):
                self.refused(fetch(method="POST", body={"base64": text}))
        for number in ("9223372036854775808", "-9223372036854775809", "1" * 400, "1e999"):
            with self.subTest(number[:30]):
                reply = self.api.json_text("/v1/jobs", '{"kind": "fetch", "url": "%s", "method": '
                                           '"POST", "body": {"json": %s}}' % (URL, number))
                self.assertIn(reply.status, (400, 422), reply)

    def test_delay_and_at(self):
        """A job is due after a delay or at a time, not both; the time has a date and a zone."""
        self.check_problem(self.api.post("/v1/jobs", fetch(
            delay="1s", at="2099-01-01T00:00:00Z")), 422)
        for text in ("", "2026-01-01", "12:00", "2026-02-30T00:00:00Z", "2026-01-01T25:00:00Z",
                     "2026-01-01T00:00:00", "99999-01-01T00:00:00Z", "2026-01-01T00:00:00Zjunk"):
            with self.subTest(text):
                self.refused(fetch(at=text), "/at")

    def test_max_body_beyond_the_daemon(self):
        """A job may not ask for more than the daemon's own transfer.max_body."""
        self.refused(fetch(max_body="1GiB"), "/max_body")

    def test_all_at_once(self):
        """Every mistake of a job comes in one answer."""
        self.refused({"kind": "fetch", "url": "ftp://x/", "method": "A B", "timeout": "-1s",
                      "redirects": 99, "expect": ["x"], "nonsense": 1, "headers": {"Host": "x"},
                      "retry": {"attempts": 0}},
                     "/url", "/method", "/timeout", "/redirects", "/expect/0", "/nonsense",
                     "/headers/Host", "/retry/attempts")

    def test_batch(self):
        """A batch that is empty or has 100,001 jobs is refused."""
        self.refused({"run": "gather", "jobs": []}, "/jobs", path="/v1/batches")
        jobs = ",".join(['{"kind":"delivery","wait":0}'] * 100001)
        reply = self.api.json_text("/v1/batches", f'{{"run":"gather","jobs":[{jobs}]}}')
        self.assertIn(reply.status, (413, 422), reply)
        self.check_problem(reply, reply.status)
        problem = self.check_problem(self.api.post("/v1/batches", {}), 422)
        self.assertTrue(problem["errors"], problem)

    def test_errors_are_bounded(self):
        """Ten thousand mistakes make no endless answer."""
        jobs = [{"kind": "fetch", "url": "x", "timeout": -1, "nonsense": 1}] * 10000
        reply = self.api.post("/v1/batches", {"run": "gather", "jobs": jobs})
        self.assertEqual(reply.status, 422)
        self.assertLess(len(reply.body), 8 << 20)
        self.assertGreaterEqual(len(reply.json()["errors"]), 1)

    def test_strange_texts(self):
        """Texts with quotes, controls and astral characters come back as they were."""
        for name in ('quo"te', "new\nline", "tab\t", "\u2028", "😀", "\\", "</script>", "%s%n"):
            with self.subTest(name):
                reply = self.api.post("/v1/jobs?wait=20s",
                                      {"kind": "delivery", "wait": 0, "name": name})
                if reply.status == 422:  # control characters may be refused
                    self.check_problem(reply, 422, "/name")
                    continue
                self.before += 1
                self.assertEqual(reply.json()["name"], name)

    def test_numbers(self):
        """Numbers at the edges of what a number can be make no job of nonsense."""
        for number in ("1e308", "-0.0", "1e-400", "9223372036854775807", "-1e308",
                       "0.0000000000000000001"):
            with self.subTest(number):
                reply = self.api.json_text("/v1/jobs",
                                           '{"kind": "delivery", "wait": %s}' % number)
                self.assertIn(reply.status, (202, 400, 422), reply)
                if reply.status == 202:
                    job = json.loads(reply.body)
                    self.assertLess(job["wait_ms"], 1)
                    self.before += 1
