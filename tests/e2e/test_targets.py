"""Targets that misbehave: the job fails with phase and code, and the daemon goes on."""

import time

from tests.e2e.case import Case, DaemonCase
from tests.fixture import misbehaviours
from tests.fixture.blackhole import Blackhole
from tests.fixture.daemon import Daemon, free_port

BROKEN_OFF = ("connection_reset", "outcome_unknown")
BAD = ("bad_response",)
NO_TIME = ("timeout", "outcome_unknown")

# path of the scripted origin: codes of which one must be the job's
TARGETS = {
    "/close": BROKEN_OFF,
    "/close/header": (*BROKEN_OFF, *BAD),
    "/close/body": BROKEN_OFF,
    "/reset/request": BROKEN_OFF,
    "/reset/header": BROKEN_OFF,
    "/reset/body": BROKEN_OFF,
    "/length/long": BROKEN_OFF,
    "/length/two": BAD,
    "/length/list": BAD,
    "/length/negative": BAD,
    "/length/huge": (*BAD, "body_too_large"),
    "/length/word": BAD,
    "/chunk/bad": BAD,
    "/chunk/huge": (*BAD, "body_too_large"),
    "/chunk/negative": BAD,
    "/chunk/cut": BROKEN_OFF,
    "/chunk/unfinished": BROKEN_OFF,
    "/head/garbage": BAD,
    "/head/http09": BAD,
    "/head/ftp": BAD,
    "/head/smtp": BAD,
    "/head/ssh": BAD,
    "/head/status-000": (*BAD, "unexpected_status"),
    "/head/status-1000": BAD,
    "/head/status-word": BAD,
    "/head/nul-header": BAD,
    "/switch": BAD,
    "/huge-header": BAD,
    "/endless/headers": BAD,
    "/endless/informational": BAD,
    "/endless/body": ("body_too_large",),
    "/silent": NO_TIME,
    "/drip/header?ms=100": NO_TIME,
    "/drip/body?ms=100": ("timeout",),
}


class Targets(DaemonCase):
    settings = {"transfer": {"connect_timeout": "500ms", "max_body": "2MiB"}}

    def fetch(self, url, **more):
        return {"kind": "fetch", "url": url, "timeout": "2s", **more}

    def check_goes_on(self):
        """The daemon answers, and its next fetch succeeds."""
        self.check_alive()
        self.succeed(self.fetch(self.origin().url("/ok")))

    def test_each(self):
        """Every misbehaviour is one failed attempt with its code, and nothing else suffers."""
        for path, codes in TARGETS.items():
            with self.subTest(path):
                origin = self.origin()
                job = self.fail_with(self.fetch(origin.url(path)), codes)
                self.assertEqual(len(job["attempts"]), 1)
                self.assertEqual(job["attempts"][0]["error"]["code"], job["error"]["code"])
                self.assertIn(job["error"]["phase"], ("request", "response"))
                self.assertEqual(len(origin.seen()), 1, "requests equal attempts")
                self.assertLess(job["run_ms"], 3500)
        self.check_goes_on()

    def test_together(self):
        """All of them at once, tried three times each, disturb no proper fetch beside them."""
        origin = self.origin()
        proper = self.origin()
        jobs = [self.fetch(origin.url(path), timeout="1s",
                           retry={"attempts": 3, "backoff": "10ms", "max_backoff": "20ms"})
                for path in TARGETS]
        jobs += [self.fetch(proper.url("/ok?ms=50"))] * 50
        batch = self.batch({"run": "gather", "jobs": jobs})
        self.assertEqual(batch["counts"]["succeeded"], 50)
        self.assertEqual(batch["counts"]["failed"], len(TARGETS))
        attempts = [len(job["attempts"]) for job in self.jobs_of(batch)[:len(TARGETS)]]
        self.assertEqual(len(origin.seen()), sum(attempts), "requests equal attempts")

    def test_harmless(self):
        """What is odd and not dangerous is an answer."""
        origin = self.origin()
        for path, size in (("/length/short", 5), ("/extra", 4)):
            with self.subTest(path):
                job = self.succeed(self.fetch(origin.url(path)), "&body=inline")
                self.assertEqual(job["result"]["body_bytes"], size)
        self.succeed(self.fetch(origin.url("/ok")))

    def test_refused(self):
        """Nobody listens: phase connect, and safe to repeat."""
        job = self.fail_with(self.fetch(f"http://127.0.0.1:{free_port()}/"),
                             "connection_refused", "connect")
        self.assertIs(job["error"]["retry_safe"], True)
        self.assertEqual(job["attempts"][0]["reached"], "connect")
        self.assertIsNone(job["attempts"][0]["first_byte_ms"])
        self.assertIsNone(job["result"])

    def test_refused_is_tried_again(self):
        """A refused connection is tried as often as the job asks, with its records."""
        job = self.fail_with(
            self.fetch(f"http://127.0.0.1:{free_port()}/",
                       retry={"attempts": 3, "backoff": "10ms", "max_backoff": "20ms"}),
            "connection_refused", "connect")
        self.assertEqual([a["n"] for a in job["attempts"]], [1, 2, 3])

    def test_no_connection(self):
        """A connection that is never established ends with transfer.connect_timeout."""
        hole = Blackhole()
        self.addCleanup(hole.close)
        job = self.fail_with(self.fetch(hole.url(), timeout="20s"),
                             ("timeout", "connection_failed"), "connect")
        self.assertGreaterEqual(job["run_ms"], 450)
        self.assertLess(job["run_ms"], 3000)
        self.assertIs(job["error"]["retry_safe"], True)

    def test_ports(self):
        """Ports that reset, close, talk first or stay silent."""
        for on_accept, codes in ((misbehaviours.reset_at_once, BROKEN_OFF),
                                 (misbehaviours.close_at_once, BROKEN_OFF),
                                 (misbehaviours.plain_noise, (*BAD, *BROKEN_OFF)),
                                 (misbehaviours.never_read, NO_TIME)):
            with self.subTest(on_accept.__name__):
                origin = self.origin(on_accept=on_accept)
                self.fail_with(self.fetch(origin.url("/")), codes)
        self.check_goes_on()

    def test_no_tls(self):
        """TLS against a port that speaks none: phase tls."""
        for on_accept in (misbehaviours.plain_noise, misbehaviours.close_at_once,
                          misbehaviours.reset_at_first_byte):
            with self.subTest(on_accept.__name__):
                origin = self.origin(on_accept=on_accept)
                url = origin.url("/").replace("http://", "https://")
                job = self.fail_with(self.fetch(url), ("tls_failed", "connection_reset"), "tls")
                self.assertEqual(job["attempts"][0]["reached"], "tls")
        silent = self.origin(on_accept=misbehaviours.never_read)
        self.fail_with(self.fetch(silent.url("/").replace("http://", "https://")),
                       ("timeout", "tls_failed"), "tls")
        http = self.origin()  # waits for the end of a line
        self.fail_with(self.fetch(http.url("/ok").replace("http://", "https://")),
                       ("timeout", "tls_failed"), "tls")

    def test_large_body_that_is_not_read(self):
        """Uploading to a target that does not read ends with the timeout."""
        origin = self.origin(on_accept=misbehaviours.never_read)
        self.fail_with(self.fetch(origin.url("/"), method="POST", body="x" * 6000000),
                       NO_TIME, "request")

    def test_early_answer(self):
        """A target that refuses a large upload and closes gives a failure, or its answer."""
        def refuse(connection):
            connection.socket.recv(1000)
            connection.send("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n"
                            "Connection: close\r\n\r\n")
        origin = self.origin(on_accept=refuse)
        self.fail_with(self.fetch(origin.url("/"), method="POST", body="x" * 3000000),
                       ("unexpected_status", *BROKEN_OFF))

    def test_bomb(self):
        """A compressed bomb is never unpacked beyond max_body, in memory or on disk."""
        origin = self.origin()
        job = self.finish(self.fetch(origin.url("/bomb?mb=100"), timeout="30s"))
        if job["state"] == "failed":
            self.assertEqual(job["error"]["code"], "body_too_large", job)
        if job["result"] is not None:
            self.assertLessEqual(job["result"]["body_bytes"], 2 << 20)
        self.check_goes_on()

    def test_endless_bodies_leave_no_files(self):
        """Bodies that were cut off leave nothing behind but what the job keeps."""
        origin = self.origin()
        for _ in range(3):
            self.fail_with(self.fetch(origin.url("/endless/body")), "body_too_large")
        for file in (self.daemon.state / "bodies").iterdir():
            job = self.get(file.name[:len("01a203c6-55b9-7000-bf76-2e69d0fa725a")])
            self.assertEqual(job["result"]["body_bytes"], file.stat().st_size, file.name)

    def test_many_silent(self):
        """Two hundred silent targets hold up nobody else."""
        origin = self.origin()
        batch = self.batch({"run": "gather", "jobs": [
            self.fetch(origin.url("/silent"), timeout="60s")] * 200}, "")
        origin.wait_for(32)
        started = time.monotonic()
        self.succeed(self.fetch(self.origin().url("/ok")))
        self.assertLess(time.monotonic() - started, 1)
        self.assertEqual(self.api.post(f"/v1/batches/{batch['id']}/cancel").status, 200)
        self.assertEqual(origin.high_water, 32)


class Proxies(Case):
    def test_no_proxy_of_the_environment(self):
        """Proxies that the environment names are not asked."""
        proxy, target = self.origin(), self.origin()
        self.use(Daemon(environment={name: proxy.origin for name in (
            "http_proxy", "https_proxy", "all_proxy", "ALL_PROXY", "HTTPS_PROXY")}))
        self.succeed({"kind": "fetch", "url": target.url("/ok")})
        self.assertEqual(len(target.seen()), 1)
        self.assertEqual(proxy.connections, 0)
