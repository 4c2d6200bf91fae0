"""HTTP itself: methods, types, hosts, framing, connections."""

import json
import re
import socket
import struct
import time

from tests.e2e.case import DaemonCase
from tests.fixture.http import closed_within, read_all, read_response

JOB = {"kind": "delivery", "wait": 0, "name": "smuggled"}


def statuses(answers):
    """The statuses of all answers on a connection."""
    return [int(status) for status in re.findall(rb"^HTTP/1\.[01] (\d+) ", answers, re.M)]


class RequestCase(DaemonCase):
    def setUp(self):
        super().setUp()
        self.host = f"127.0.0.1:{self.daemon.port}"

    def head(self, line="GET /livez HTTP/1.1", *headers, host=True):
        lines = [line, *([f"Host: {self.host}"] if host else []), *headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def raw(self, data):
        """The status of the only answer; the connection must be closed behind it."""
        answer = self.api.raw(data)
        self.assertEqual(len(statuses(answer)), 1, answer)
        return statuses(answer)[0]


class Requests(RequestCase):
    settings = {"api": {"max_body": "64KiB"}}

    def test_paths(self):
        """Paths that are not there, and calls of later work, are 404."""
        for path in ("/", "/v1", "/v1/", "/v1/job", "/v1/jobs/", "/v1/jobs/x/y/z", "/v2/jobs",
                     "/v1/task", "/metrics", "/openapi.json", "/favicon.ico", "//v1/jobs",
                     "/v1/jobs/../jobs", "/livez/"):
            with self.subTest(path):
                self.check_problem(self.api.get(path), 404)
        self.assertIn(self.api.get("/v1/jobs%00").status, (400, 404))

    def test_unbuilt_calls(self):
        """retry and DELETE are calls of later work."""
        job = self.finish({"kind": "delivery", "wait": 0})
        reply = self.api.post(f"/v1/jobs/{job['id']}/retry")
        self.check_problem(reply, 404)
        reply = self.api.request("DELETE", f"/v1/jobs/{job['id']}")
        self.assertIn(reply.status, (404, 405), reply)

    def test_wrong_method(self):
        """A method that a path does not have is 405 with those it has."""
        job = self.finish({"kind": "delivery", "wait": 0})
        for method, path, allowed in (
                ("PUT", "/v1/jobs", {"GET", "POST"}), ("DELETE", "/v1/jobs", {"GET", "POST"}),
                ("PATCH", "/v1/batches", {"GET", "POST"}),
                ("POST", f"/v1/jobs/{job['id']}", {"GET"}),
                ("GET", f"/v1/jobs/{job['id']}/cancel", {"POST"}), ("POST", "/livez", {"GET"}),
                ("PUT", f"/v1/jobs/{job['id']}/body", {"GET"}), ("POST", "/readyz", {"GET"})):
            with self.subTest(f"{method} {path}"):
                reply = self.api.request(method, path)
                self.check_problem(reply, 405)
                given = {name.strip() for name in reply.headers["Allow"].split(",")}
                self.assertLessEqual(allowed, given)
                self.assertNotIn(method, given)

    def test_health(self):
        """/livez and /readyz are 200 while the daemon works."""
        for path in ("/livez", "/readyz"):
            self.assertEqual(self.api.get(path).status, 200)

    def test_head(self):
        """HEAD is GET without the body, and the connection goes on behind it."""
        with self.api.socket() as connection:
            connection.sendall(self.head("HEAD /v1/jobs HTTP/1.1"))
            status, headers, body = read_response(connection, head_only=True)
            self.assertEqual((status, body), (200, b""))
            self.assertEqual(headers.get_content_type(), "application/json")
            connection.sendall(self.head("GET /livez HTTP/1.1"))
            self.assertEqual(read_response(connection)[0], 200)

    def test_content_type(self):
        """A body that does not call itself JSON is 415; the text says what to do."""
        text = json.dumps(JOB)
        for headers in ({}, {"Content-Type": "text/plain"},
                        {"Content-Type": "application/x-www-form-urlencoded"},
                        {"Content-Type": "multipart/form-data"}, {"Content-Type": ""},
                        {"Content-Type": "application/jsonp"}):
            with self.subTest(headers):
                reply = self.api.post("/v1/jobs", text.encode(), headers)
                self.assertIn("curl --json", self.check_problem(reply, 415)["detail"])
        reply = self.api.post("/v1/batches", b"{}\n", {"Content-Type": "application/x-ndjson"})
        self.check_problem(reply, 415)
        for good in ("application/json", "application/json; charset=utf-8", "Application/JSON"):
            reply = self.api.post("/v1/jobs", text.encode(), {"Content-Type": good})
            self.assertEqual(reply.status, 202, reply)

    def test_hosts(self):
        """A Host that is not ours is 421: a name that was rebound to us gets nothing."""
        for host in ("evil.example", f"evil.example:{self.daemon.port}", "localhost.evil.example",
                     f"127.0.0.1.evil.example:{self.daemon.port}", "169.254.169.254",
                     "example.com:80", "127.0.0.1:1", f"127.0.0.2:{self.daemon.port}"):
            with self.subTest(host):
                reply = self.raw(self.head("GET /v1/jobs HTTP/1.1", f"Host: {host}",
                                           "Connection: close", host=False))
                self.assertEqual(reply, 421)
        for host in (self.host, f"localhost:{self.daemon.port}", f"LOCALHOST:{self.daemon.port}"):
            with self.subTest(host):
                reply = self.raw(self.head("GET /v1/jobs HTTP/1.1", f"Host: {host}",
                                           "Connection: close", host=False))
                self.assertEqual(reply, 200)

    def test_host_is_needed(self):
        """No Host in HTTP/1.1, and two of them, are 400."""
        self.assertEqual(self.raw(self.head(host=False)), 400)
        self.assertEqual(self.raw(self.head("GET /livez HTTP/1.1", f"Host: {self.host}")), 400)

    def test_origins(self):
        """A web page of another origin is refused: 403, and nothing happens."""
        text = json.dumps(JOB).encode()
        before = len(self.listed())
        for origin in ("http://evil.example", "https://evil.example", "null", "http://127.0.0.1:1",
                       f"https://{self.host}.evil.example", f"http://127.0.0.2:{self.daemon.port}"):
            with self.subTest(origin):
                reply = self.api.post("/v1/jobs", text, {"Origin": origin,
                                                         "Content-Type": "application/json"})
                self.check_problem(reply, 403)
                self.assertIsNone(reply.headers["Access-Control-Allow-Origin"])
        self.assertEqual(len(self.listed()), before)
        reply = self.api.post("/v1/jobs", text, {"Origin": f"http://{self.host}",
                                                 "Content-Type": "application/json"})
        self.assertEqual(reply.status, 202, reply)

    def test_preflight(self):
        """A browser's preflight gets no permission."""
        reply = self.api.request("OPTIONS", "/v1/jobs", headers={
            "Origin": "http://evil.example", "Access-Control-Request-Method": "POST"})
        self.assertIn(reply.status, (403, 405), reply)
        self.assertIsNone(reply.headers["Access-Control-Allow-Origin"])

    def test_too_large(self):
        """A body over max_body is 413, announced or chunked; one that fits is taken."""
        spec = {"kind": "fetch", "method": "POST", "url": "http://127.0.0.1:9/", "delay": "1h"}
        for body in ({**spec, "body": "x" * 70000}, {**spec, "body": "x" * 5000000}):
            self.check_problem(self.api.post("/v1/jobs", body), 413)
        self.assertEqual(self.api.post("/v1/jobs", {**spec, "body": "x" * 60000}).status, 202)
        with self.api.socket() as connection:
            connection.sendall(self.head("POST /v1/jobs HTTP/1.1", "Content-Type: application/json",
                                         "Transfer-Encoding: chunked"))
            try:
                for _ in range(1000):
                    connection.sendall(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
            except OSError:
                pass
            connection.settimeout(20)
            self.assertTrue(read_all(connection).startswith(b"HTTP/1.1 413"))

    def test_refused_without_reading(self):
        """An announced body that is too large is refused before it is sent."""
        with self.api.socket() as connection:
            connection.sendall(self.head("POST /v1/jobs HTTP/1.1", "Content-Type: application/json",
                                         "Content-Length: 99999999"))
            connection.settimeout(20)
            self.assertEqual(read_response(connection)[0], 413)

    def test_expect_continue(self):
        """A client that waits for 100 Continue gets it."""
        text = json.dumps({"kind": "delivery", "wait": 0}).encode()
        with self.api.socket() as connection:
            connection.settimeout(20)
            connection.sendall(self.head("POST /v1/jobs HTTP/1.1", "Content-Type: application/json",
                                         f"Content-Length: {len(text)}", "Expect: 100-continue"))
            self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 100"))
            connection.sendall(text)
            self.assertEqual(read_response(connection)[0], 202)

    def test_large_heads(self):
        """A head without bounds is refused, not collected."""
        for data in (self.head("GET /" + "a" * 100000 + " HTTP/1.1"),
                     self.head("GET /livez HTTP/1.1", "X-Large: " + "a" * 100000),
                     self.head("GET /livez HTTP/1.1", *[f"X-{n}: {n}" for n in range(20000)])):
            with self.api.socket() as connection:
                connection.settimeout(20)
                try:
                    connection.sendall(data)
                except OSError:
                    pass
                answer = read_all(connection)
                self.assertRegex(answer[:12], b"^(HTTP/1.[01] (400|413|414|431))?$")
        self.check_alive()

    def test_http10(self):
        """An HTTP/1.0 client is answered, and the connection closed."""
        self.assertEqual(self.raw(self.head("GET /livez HTTP/1.0")), 200)

    def test_keep_alive(self):
        """A connection serves one request after another."""
        with self.api.socket() as connection:
            for path in ("/livez", "/v1/jobs", "/nowhere", "/v1/jobs?limit=1", "/readyz") * 5:
                connection.sendall(self.head(f"GET {path} HTTP/1.1"))
                self.assertIn(read_response(connection)[0], (200, 404))

    def test_nothing_after_a_bad_request(self):
        """A 400 ends the connection: what follows it may be part of what was not understood."""
        answer = self.api.raw(self.head("POST /v1/jobs HTTP/1.1", "Content-Type: application/json")
                              + self.head("GET /livez HTTP/1.1"))
        self.assertEqual(statuses(answer), [400], answer)

    def test_pipelining(self):
        """Requests that are sent at once are answered in their order."""
        text = json.dumps({"kind": "delivery", "wait": "100ms"}).encode()
        post = self.head("POST /v1/jobs?wait=20s HTTP/1.1", "Content-Type: application/json",
                         f"Content-Length: {len(text)}") + text
        with self.api.socket() as connection:
            connection.sendall(post + self.head("GET /nowhere HTTP/1.1") + post
                               + self.head("GET /livez HTTP/1.1", "Connection: close"))
            answers = read_all(connection)
        self.assertEqual(re.findall(rb"HTTP/1\.1 (\d+)", answers),
                         [b"200", b"404", b"200", b"200"])


class Framing(RequestCase):
    """Ambiguous framing is 400 and the end of the connection; no body becomes a request.

    What microhttpd refuses by itself, with a page of its own, has the head of its answer twice.
    """

    def smuggle(self, line="POST /v1/jobs HTTP/1.1", *headers, body=None, host=True):
        text = json.dumps(JOB).encode()
        hidden = self.head("POST /v1/jobs HTTP/1.1", "Content-Type: application/json",
                           f"Content-Length: {len(text)}") + text
        data = self.head(line, "Content-Type: application/json", *headers, host=host) \
            + (body if body is not None else hidden)
        before = self.smuggled()
        answer = self.api.raw(data)
        self.assertEqual(self.smuggled(), before, "a body has become a request")
        if b"<html>" in answer:
            self.assertEqual(answer.count(b"<html>"), 1, answer)
            self.assertLessEqual(len(statuses(answer)), 2, answer)
            self.assertEqual(len(set(statuses(answer))), 1, answer)
        else:
            self.assertEqual(len(statuses(answer)), 1, answer)
        return statuses(answer)[0]

    def smuggled(self):
        return len([job for job in self.listed() if job["name"] == "smuggled"])

    def test_lengths(self):
        """Two, listed, signed, hexadecimal, split or endless lengths are refused."""
        for headers in (("Content-Length: 0", "Content-Length: 5"),
                        ("Content-Length: 5", "Content-Length: 5"), ("Content-Length: 5, 5",),
                        ("Content-Length: 5,6",), ("Content-Length: +5",), ("Content-Length: -5",),
                        ("Content-Length: 0x5",), ("Content-Length: 5 5",), ("Content-Length: 5a",),
                        ("Content-Length: 99999999999999999999999",), ("Content-Length:",),
                        ("Content-Length: 5;q=1",)):
            with self.subTest(headers):
                self.assertIn(self.smuggle("POST /v1/jobs HTTP/1.1", *headers), (400, 413))

    def test_length_and_chunked(self):
        """Length together with chunked is refused, whichever comes first."""
        for headers in (("Content-Length: 5", "Transfer-Encoding: chunked"),
                        ("Transfer-Encoding: chunked", "Content-Length: 5")):
            with self.subTest(headers):
                self.assertEqual(self.smuggle("POST /v1/jobs HTTP/1.1", *headers), 400)

    def test_codings(self):
        """Transfer-Encoding is `chunked`, in HTTP/1.1, once, or the request is refused."""
        for line, value in (("POST /v1/jobs HTTP/1.0", "chunked"),
                            ("POST /v1/jobs HTTP/1.1", "gzip"),
                            ("POST /v1/jobs HTTP/1.1", "gzip, chunked"),
                            ("POST /v1/jobs HTTP/1.1", "chunked, gzip"),
                            ("POST /v1/jobs HTTP/1.1", "chunked, chunked"),
                            ("POST /v1/jobs HTTP/1.1", "identity"),
                            ("POST /v1/jobs HTTP/1.1", "xchunked"),
                            ("POST /v1/jobs HTTP/1.1", "\x0bchunked")):
            with self.subTest(f"{line}: {value}"):
                self.assertEqual(self.smuggle(line, f"Transfer-Encoding: {value}",
                                              body=b"0\r\n\r\n"), 400)
        self.assertEqual(self.smuggle("POST /v1/jobs HTTP/1.1", "Transfer-Encoding: chunked",
                                      "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400)

    def test_header_syntax(self):
        """Names that are no tokens, a space before the colon, control characters are refused."""
        for header in ("Content-Length : 5", "Bad Name: x", "X(y): z", "X@y: z",
                       "X-A: b\x01c", "X-A: b\x7fc", "X-A\x00B: c", "X-\xe9: c", "no colon at all",
                       " leading: space"):
            with self.subTest(header):
                self.assertEqual(self.smuggle("POST /v1/jobs HTTP/1.1", header), 400)

    def test_empty_names(self):
        """microhttpd takes a line without a name for the end of the head, and a value ends at NUL.

        The daemon cannot see either. What follows such a line is no request, and ends it all.
        """
        answer = self.api.raw(self.head("POST /v1/jobs HTTP/1.1", "Content-Type: application/json",
                                        ": empty", "Content-Length: 300")
                              + self.head("GET /v1/jobs HTTP/1.1", "Connection: close"))
        self.assertEqual(statuses(answer), [400], answer)
        self.assertIn(self.raw(self.head("GET /livez HTTP/1.1", "X-A: b\x00c",
                                         "Connection: close")), (200, 400))

    def test_versions(self):
        """Other versions than 1.0 and 1.1 are refused."""
        for line in ("GET /livez HTTP/1.9", "GET /livez HTTP/2.0", "GET /livez HTTP/0.9",
                     "GET /livez http/1.1", "GET /livez HTTP/11", "GET /livez FTP/1.1"):
            with self.subTest(line):
                answer = self.api.raw(self.head(line))
                self.assertRegex(answer, b"^HTTP/1.[01] (400|505) ")

    def test_request_lines(self):
        """What is no request line gets 400, 505 or nothing, 408 where more was to come; the end."""
        for data in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET /livez\r\n\r\n",
                     b"\r\n" * 50, b"\x00" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                     b" GET /livez HTTP/1.1\r\n\r\n"):
            with self.subTest(data), self.api.socket() as connection:
                connection.settimeout(20)
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                self.assertRegex(read_all(connection)[:12], b"^(HTTP/1.[01] (400|408|505))?$")
        for line in ("GET http://evil.example/livez HTTP/1.1", "GET livez HTTP/1.1",
                     "GET * HTTP/1.1", "CONNECT evil.example:443 HTTP/1.1"):
            with self.subTest(line):
                self.assertIn(self.raw(self.head(line, "Connection: close")), (400, 404, 405, 421))
        self.check_alive()

    def test_folds_and_bare_line_feeds(self):
        """What cannot be seen through the library is one request with one answer all the same."""
        text = json.dumps(JOB)
        for headers in (["Transfer-Encoding:\r\n chunked"],
                        ["X-A: b\r\n Content-Length: 0", f"Content-Length: {len(text)}"],
                        ["X-A: b\nContent-Length: 0", f"Content-Length: {len(text)}"],
                        ["Content-Length: 0\nX-A: b"]):
            with self.subTest(headers):
                status = self.smuggle("POST /v1/jobs HTTP/1.1", "Connection: close", *headers)
                self.assertGreaterEqual(status, 400)

    def test_chunks(self):
        """Broken chunks are refused and make no job."""
        text = json.dumps(JOB).encode()
        for body in (b"zz\r\n" + text + b"\r\n0\r\n\r\n", b"-1\r\n" + text + b"\r\n0\r\n\r\n",
                     b"ffffffffffffffffff\r\n" + text, b"%x" % len(text) + text + b"\r\n0\r\n\r\n",
                     b"%x\r\n%sX0\r\n\r\n" % (len(text), text)):
            with self.subTest(body[:30]):
                self.assertIn(self.smuggle("POST /v1/jobs HTTP/1.1", "Transfer-Encoding: chunked",
                                           body=body), (400, 413))


class Connections(RequestCase):
    settings = {"api": {"header_timeout": "1s", "max_connections": 64}}

    def test_slow_heads(self):
        """A head that is not complete in time ends the connection, also one that drips."""
        silent, half, drip = (self.api.socket() for _ in range(3))
        with silent, half, drip:
            started = time.monotonic()
            half.sendall(b"GET /livez HTTP/1.1\r\nHost: ")
            drip.sendall(b"G")
            while not closed_within(drip, 0.2):
                self.assertLess(time.monotonic() - started, 10)
                try:
                    drip.sendall(b"E")
                except OSError:
                    break
            self.assertGreater(time.monotonic() - started, 0.8)
            self.assertLess(time.monotonic() - started, 4)
            self.assertTrue(closed_within(half, 4))
            self.assertTrue(closed_within(silent, 4))

    def test_long_wait_is_no_slow_head(self):
        """Waiting for a job for longer than the header's time is fine."""
        job = self.finish({"kind": "delivery", "wait": "2500ms"})
        self.assertEqual(job["state"], "succeeded")

    def test_clients_that_vanish(self):
        """Clients that go away in a head, a body or a wait leave the daemon and the jobs be."""
        text = json.dumps({"kind": "delivery", "wait": "400ms", "name": "left behind"}).encode()
        whole = self.head("POST /v1/jobs?wait=60s HTTP/1.1", "Content-Type: application/json",
                          f"Content-Length: {len(text)}") + text
        for place in (10, 60, len(whole) - 5):
            with self.api.socket() as connection:
                connection.sendall(whole[:place])
        for _ in range(10):
            with self.api.socket() as connection:
                connection.sendall(whole)
        for _ in range(200):
            left = [job for job in self.listed() if job["name"] == "left behind"]
            if len(left) == 10 and all(job["state"] == "succeeded" for job in left):
                break
            self.finish({"kind": "delivery", "wait": "20ms"})
        self.assertEqual([job["state"] for job in left], ["succeeded"] * 10)

    def test_resets(self):
        """Connections that are reset in the middle of an answer do no harm."""
        for _ in range(30):
            connection = self.api.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(self.head("GET /v1/jobs?limit=1000 HTTP/1.1") * 5)
            connection.close()
        self.check_alive()

    def test_full(self):
        """With all connections taken a new one is refused at once with 503, until one ends."""
        held = []
        self.addCleanup(lambda: [connection.close() for connection in held])
        job = self.submit({"kind": "delivery", "wait": "30s"})
        wait = self.head(f"GET /v1/jobs/{job['id']}?wait=60s HTTP/1.1")
        for _ in range(64):
            connection = self.api.socket()
            connection.sendall(wait)
            held.append(connection)
        with self.api.socket() as connection:
            connection.settimeout(10)
            connection.sendall(self.head())
            answer = read_all(connection)
        self.assertRegex(answer, b"^HTTP/1.1 503 ")
        self.assertIn(b"retry-after:", answer.lower())
        for connection in held:
            connection.close()
        deadline = time.monotonic() + 10
        while True:
            try:
                if self.api.get("/livez").status == 200:
                    break
            except OSError:
                pass
            self.assertLess(time.monotonic(), deadline, "the connections did not come back")
        self.cancel(job["id"])
