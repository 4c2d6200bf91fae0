"""Servers and clients that nobody here wrote: nginx, httpbin, curl, aiohttp, requests."""

import asyncio
import gzip
import hashlib
import json
import random
import subprocess
import unittest

from tests.e2e.case import DaemonCase
from tests.fixture.foreign import Httpbin, Nginx
from tests.fixture.http import Client

FILES = {
    "hello.txt": b"Hello, world!\n" * 50,
    "empty": b"",
    "small": random.Random(1).randbytes(1024),
    "middle": random.Random(2).randbytes(700_000),
    "large": random.Random(3).randbytes(9_000_000),
}


class WithNginx(DaemonCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.nginx = Nginx(FILES)
        cls.addClassCleanup(cls.nginx.close)

    def fetch(self, path, host=None, **more):
        return {"kind": "fetch", "url": self.nginx.url(path, host), **more}

    def digest(self, job):
        return hashlib.sha256(self.body(job["id"])).hexdigest()

    def test_files(self):
        """Files of every size arrive byte for byte."""
        for name, data in FILES.items():
            with self.subTest(name):
                job = self.succeed(self.fetch(f"/{name}"))
                self.assertEqual(job["result"]["body_bytes"], len(data))
                self.assertIn("nginx", job["result"]["headers"]["server"][0])
                if data:
                    self.assertEqual(self.digest(job), hashlib.sha256(data).hexdigest())

    def test_many_at_once(self):
        """Three hundred files from three addresses at once arrive intact."""
        names = ["small", "middle", "hello.txt"]
        hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        jobs = [self.fetch("/" + names[n % 3], hosts[n // 3 % 3]) for n in range(300)]
        batch = self.batch({"run": "gather", "jobs": jobs})
        self.assertEqual(batch["counts"]["succeeded"], 300, batch)
        for number, job_id in enumerate(batch["job_ids"][:60]):
            self.assertEqual(self.body(job_id), FILES[names[number % 3]])

    def test_gzip(self):
        """An answer that was asked for in gzip is kept as it came, or unpacked; never mangled."""
        job = self.succeed(self.fetch("/hello.txt", headers={"Accept-Encoding": "gzip"}))
        body = self.body(job["id"])
        if job["result"]["headers"].get("content-encoding") == ["gzip"] and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        self.assertEqual(body, FILES["hello.txt"])
        plain = self.succeed(self.fetch("/hello.txt"))
        self.assertNotIn("content-encoding", plain["result"]["headers"])

    def test_ranges_and_conditions(self):
        """Ranges and conditional requests are the client's business and work."""
        job = self.succeed(self.fetch("/small", headers={"Range": "bytes=10-19"}))
        self.assertEqual(job["result"]["status"], 206)
        self.assertEqual(self.body(job["id"]), FILES["small"][10:20])
        tag = job["result"]["headers"]["etag"][0]
        same = self.succeed(self.fetch("/small", headers={"If-None-Match": tag},
                                       expect=["304"]))
        self.assertEqual((same["result"]["status"], same["result"]["body_bytes"]), (304, 0))

    def test_statuses(self):
        """What nginx refuses is a failure with its status and its page."""
        for path, status in (("/nothing", 404), ("/private", 403)):
            job = self.fail_with(self.fetch(path), "unexpected_status", "response")
            self.assertEqual(job["result"]["status"], status)
            self.assertGreater(job["result"]["body_bytes"], 0)

    def test_redirect(self):
        """nginx' own redirects are followed."""
        job = self.succeed(self.fetch("/moved"))
        self.assertEqual([a["status"] for a in job["attempts"]], [301, 200])
        self.assertEqual(self.body(job["id"]), FILES["hello.txt"])

    def test_slow(self):
        """A limited rate takes its time, and a timeout in the middle of it ends the job."""
        job = self.fail_with(self.fetch("/slow/middle", timeout="500ms"), "timeout", "response")
        self.assertEqual(job["attempts"][0]["reached"], "response")
        self.assertGreater(job["attempts"][0]["received_bytes"], 0)

    def test_no_keep_alive(self):
        """A server that closes after each answer loses nothing."""
        batch = self.batch({"run": "gather", "jobs": [self.fetch("/closing/small")] * 100})
        self.assertEqual(batch["counts"]["succeeded"], 100)

    def test_head_and_refused_post(self):
        """HEAD and a method that nginx refuses."""
        job = self.succeed(self.fetch("/middle", method="HEAD"))
        self.assertEqual(job["result"]["headers"]["content-length"], ["700000"])
        self.assertEqual(job["result"]["body_bytes"], 0)
        job = self.fail_with(self.fetch("/hello.txt", method="POST", body="x" * 100000),
                             "unexpected_status")
        self.assertEqual(job["result"]["status"], 405)


class WithHttpbin(DaemonCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.httpbin = Httpbin()
        cls.addClassCleanup(cls.httpbin.close)

    def answer(self, path, **more):
        """The JSON that httpbin answers with."""
        job = self.succeed({"kind": "fetch", "url": self.httpbin.url(path), **more}, "&body=inline")
        return json.loads(job["result"]["body"])

    def test_methods_and_bodies(self):
        """httpbin sees the method, headers and body that the job says."""
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            with self.subTest(method):
                seen = self.answer(f"/{method.lower()}?a=1&b=%20", method=method,
                                   body={"json": {"x": [1, 2]}}, headers={"X-Probe": "p"})
                self.assertEqual(seen["json"], {"x": [1, 2]})
                self.assertEqual(seen["args"], {"a": "1", "b": " "})
                self.assertEqual(seen["headers"]["X-Probe"], "p")

    def test_redirects(self):
        """Relative and absolute redirects of httpbin are followed."""
        for path in ("/redirect/3", "/absolute-redirect/3", "/relative-redirect/3"):
            job = self.succeed({"kind": "fetch", "url": self.httpbin.url(path)})
            self.assertEqual(len(job["attempts"]), 4)

    def test_codings(self):
        """gzip, deflate and UTF-8 answers are kept whole."""
        for path in ("/gzip", "/deflate", "/encoding/utf8"):
            job = self.succeed({"kind": "fetch", "url": self.httpbin.url(path),
                                "headers": {"Accept-Encoding": "gzip, deflate"}})
            self.assertEqual(len(self.body(job["id"])), job["result"]["body_bytes"])
        utf8 = self.succeed({"kind": "fetch", "url": self.httpbin.url("/encoding/utf8")},
                            "&body=inline")
        plain = Client(self.httpbin.host, self.httpbin.port).get("/encoding/utf8")
        self.assertEqual(utf8["result"]["body"], plain.body.decode())

    def test_delay_and_drip(self):
        """Delayed and dripping answers take their time and no more."""
        job = self.succeed({"kind": "fetch", "url": self.httpbin.url("/delay/0.5")})
        self.assertGreaterEqual(job["attempts"][0]["first_byte_ms"], 490)
        job = self.succeed({"kind": "fetch", "url": self.httpbin.url(
            "/drip?duration=0.5&numbytes=5&delay=0")})
        self.assertEqual(job["result"]["body_bytes"], 5)
        self.assertGreaterEqual(job["attempts"][0]["receive_ms"], 250)

    def test_statuses(self):
        """httpbin's statuses, tried again where that makes sense."""
        job = self.fail_with({"kind": "fetch", "url": self.httpbin.url("/status/418")},
                             "unexpected_status")
        self.assertEqual(job["result"]["status"], 418)
        job = self.fail_with({"kind": "fetch", "url": self.httpbin.url("/status/502"),
                              "retry": {"attempts": 3, "backoff": "10ms"}}, "unexpected_status")
        self.assertEqual(len(job["attempts"]), 3)

    def test_streams(self):
        """Bodies without a length, in chunks, are complete."""
        job = self.succeed({"kind": "fetch", "url": self.httpbin.url("/stream/50")})
        self.assertEqual(self.body(job["id"]).count(b"\n"), 50)
        job = self.succeed({"kind": "fetch", "url": self.httpbin.url(
            "/stream-bytes/100000?seed=1&chunk_size=999")})
        self.assertEqual(job["result"]["body_bytes"], 100000)

    def test_credentials(self):
        """Basic authentication works with a header, which is never shown."""
        job = self.succeed({"kind": "fetch", "url": self.httpbin.url("/basic-auth/me/word"),
                            "headers": {"Authorization": "Basic bWU6d29yZA=="}})
        self.assertEqual(job["request"]["headers"]["authorization"], ["***"])


class Clients(DaemonCase):
    """Other people's clients against the API."""

    def base(self):
        return f"http://127.0.0.1:{self.daemon.port}"

    def curl(self, *arguments):
        done = subprocess.run(["curl", "-sS", "--max-time", "60", *arguments], text=True,
                              capture_output=True, timeout=90)
        self.assertEqual(done.returncode, 0, done)
        return done.stdout

    def test_curl_json(self):
        """curl --json submits a job and reads it back."""
        url = self.origin().url("/ok")
        text = self.curl("--json", json.dumps({"kind": "fetch", "url": url}),
                         f"{self.base()}/v1/jobs?wait=20s")
        job = json.loads(text)
        self.assertEqual(job["state"], "succeeded")
        self.assertEqual(self.curl(f"{self.base()}/v1/jobs/{job['id']}/body"), "ok\n")

    def test_curl_prefer(self):
        """curl with Prefer: wait."""
        text = self.curl("-H", "Prefer: wait=20", "--json", '{"kind":"delivery","wait":"100ms"}',
                         f"{self.base()}/v1/jobs")
        self.assertEqual(json.loads(text)["state"], "succeeded")

    def test_curl_ndjson(self):
        """curl --data-binary uploads lines, also from standard input as chunks."""
        lines = "".join(f'{{"kind":"delivery","name":"{n}"}}\n' for n in range(3000))
        done = subprocess.run(
            ["curl", "-sS", "-T", "-", "-X", "POST", "-H", "Content-Type: application/x-ndjson",
             f"{self.base()}/v1/jobs"], input=lines, text=True, capture_output=True, timeout=90)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([line["status"] for line in answers], [202] * 3000, done.stderr)

    def test_curl_without_a_type(self):
        """curl -d without a type is told about --json."""
        text = self.curl("-d", '{"kind":"delivery"}', f"{self.base()}/v1/jobs")
        self.assertIn("curl --json", json.loads(text)["detail"])

    def test_curl_reads_results(self):
        """curl -N reads a batch's results as they come."""
        batch = self.batch({"run": "gather", "jobs": [
            {"kind": "delivery", "wait": f"{n * 100}ms"} for n in range(5)]}, "")
        text = self.curl("-N", f"{self.base()}/v1/batches/{batch['id']}/results")
        self.assertEqual([json.loads(line)["id"] for line in text.splitlines() if line],
                         batch["job_ids"])

    def test_aiohttp(self):
        """aiohttp submits two hundred jobs at once and waits for all of them."""
        try:
            import aiohttp
        except ImportError as missing:
            raise unittest.SkipTest(f"python3-aiohttp: {missing}") from None

        async def one(session, number):
            spec = {"kind": "delivery", "name": str(number), "wait": "200ms"}
            async with session.post(f"{self.base()}/v1/jobs?wait=30s", json=spec) as reply:
                return reply.status, await reply.json()

        async def everything():
            connector = aiohttp.TCPConnector(limit=200)
            async with aiohttp.ClientSession(connector=connector) as session:
                return await asyncio.gather(*(one(session, n) for n in range(200)))

        answers = asyncio.run(everything())
        self.assertEqual({status for status, _ in answers}, {200})
        self.assertEqual([job["name"] for _, job in answers], [str(n) for n in range(200)])
        self.assertEqual({job["state"] for _, job in answers}, {"succeeded"})

    def test_requests(self):
        """requests with a session keeps its connection over many calls."""
        try:
            import requests
        except ImportError as missing:
            raise unittest.SkipTest(f"python3-requests: {missing}") from None
        with requests.Session() as session:
            session.trust_env = False
            for _ in range(20):
                reply = session.post(f"{self.base()}/v1/jobs?wait=10s",
                                     json={"kind": "delivery"}, timeout=30)
                self.assertEqual(reply.json()["state"], "succeeded", reply.text)

    def test_wrk(self):
        """A minute's worth of health checks from a load generator in one second."""
        try:
            done = subprocess.run(["wrk", "-t1", "-c50", "-d1s", f"{self.base()}/livez"],
                                  text=True, capture_output=True, timeout=60)
        except OSError as missing:
            raise unittest.SkipTest(f"wrk: {missing}") from None
        self.assertNotIn("Non-2xx", done.stdout)
        self.assertNotIn("Socket errors", done.stdout)
        self.check_alive()
