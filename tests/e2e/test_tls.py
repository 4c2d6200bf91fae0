"""HTTPS: certificates are checked, and a good one makes a connection."""

import pathlib
import shutil
import tempfile
import unittest

from tests.e2e.case import DaemonCase
from tests.fixture.answers import content
from tests.fixture.certificates import self_signed, server_context
from tests.fixture.daemon import Daemon

AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


class Tls(DaemonCase):
    """The daemon sees one more authority beside those of the system."""

    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="baedal-tls-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        super().setUpClass()

    @classmethod
    def make_daemon(cls):
        cls.trusted = self_signed(cls.directory)
        certificate = cls.trusted.read_text().partition("-----BEGIN PRIVATE KEY")[0]
        try:
            known = pathlib.Path(AUTHORITIES).read_text()
        except OSError as missing:
            raise unittest.SkipTest(f"ca-certificates is not installed: {missing}") from None
        return Daemon(files={AUTHORITIES: known + "\n" + certificate})

    def test_trusted(self):
        """A certificate of a known authority for this address is good; phases show TLS."""
        origin = self.origin(tls=server_context(self.trusted))
        job = self.succeed({"kind": "fetch", "url": origin.url("/ok?ms=20")}, "&body=inline")
        self.assertEqual(job["result"]["body"], "ok\n")
        self.assertEqual(job["lane"], origin.origin)
        attempt = job["attempts"][0]
        self.assertGreater(attempt["tls_ms"], 0)
        self.assertIsNotNone(attempt["connect_ms"])
        again = self.succeed({"kind": "fetch", "url": origin.url("/ok")})["attempts"][0]
        self.assertTrue(again["reused"])
        self.assertIsNone(again["tls_ms"])

    def test_untrusted(self):
        """A certificate of nobody known ends the job at once, before anything is sent."""
        origin = self.origin(tls=server_context(self_signed(self.directory, "localhost")))
        job = self.fail_with({"kind": "fetch", "url": origin.url("/ok"),
                              "retry": {"attempts": 3, "backoff": "10ms"}},
                             "certificate_invalid", "tls")
        self.assertEqual(len(job["attempts"]), 1)
        self.assertEqual(origin.seen(), [])

    def test_wrong_name(self):
        """A good certificate of another address is no good here."""
        origin = self.origin(host="127.0.0.2", tls=server_context(self.trusted))
        self.fail_with({"kind": "fetch", "url": origin.url("/ok")}, "certificate_invalid", "tls")
        self.assertEqual(origin.seen(), [])

    def test_executors(self):
        """Threads and worker processes trust the same authorities, and check as much."""
        strange = server_context(self_signed(self.directory, "127.0.0.9"))
        for executor in ("thread", "process"):
            with self.subTest(executor):
                origin = self.origin(tls=server_context(self.trusted))
                job = self.succeed({"kind": "fetch", "url": origin.url("/ok?size=70000"),
                                    "executor": executor})
                self.assertEqual(self.body(job["id"]), content(70000))
                self.assertGreater(job["attempts"][0]["tls_ms"], 0)
                other = self.origin(tls=strange)
                self.fail_with({"kind": "fetch", "url": other.url(), "executor": executor},
                               "certificate_invalid", "tls")
                self.assertEqual(other.seen(), [])

    def test_no_way_down(self):
        """A redirect from https to http is not followed, or loses what is secret."""
        secure, plain = self.origin(tls=server_context(self.trusted)), self.origin()
        job = self.finish({"kind": "fetch", "headers": {"Authorization": "Bearer a"},
                           "url": secure.url(f"/to/302?url={plain.url('/echo')}")})
        if job["state"] == "failed":
            self.assertEqual(job["error"]["code"], "bad_redirect")
        for request in plain.seen():
            self.assertEqual(request.values("authorization"), [])
