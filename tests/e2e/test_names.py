"""Names: the hosts file and name servers, with answers of every kind."""

import pathlib
import threading
import time

from tests.e2e.case import Case
from tests.fixture.daemon import Daemon
from tests.fixture.nameserver import NameServer

HOSTS = """127.0.0.1 localhost
127.0.0.1 loop.test
169.254.169.254 metadata.test
10.1.2.3 mixed.test
127.0.0.1 mixed.test
"""


class Names(Case):
    def setUp(self):
        super().setUp()
        self.names = NameServer({
            "origin.test": ["127.0.0.1"],
            "second.test": ["127.0.0.9", "127.0.0.1"],
            "private.test": ["10.1.2.3"],
            "rebound.test": ["127.0.0.1", "192.168.1.1"],
            "linklocal6.test": ["fe80::1"],
            "mapped.test": ["::ffff:169.254.169.254"],
            "broken.test": "servfail",
            "silent.test": "silent",
        })
        self.addCleanup(self.names.close)
        self.use(Daemon(files={"/etc/hosts": HOSTS, "/etc/resolv.conf": self.names.resolv_conf()}))

    def url(self, name, origin):
        return f"http://{name}:{origin.port}/echo"

    def test_names(self):
        """Names are found in the hosts file and by the name server; the lane is the name's."""
        origin = self.origin()
        for name in ("loop.test", "origin.test", "localhost", "ORIGIN.test", "origin.test."):
            with self.subTest(name):
                job = self.succeed({"kind": "fetch", "url": self.url(name, origin)})
                attempt = job["attempts"][0]
                self.assertEqual(attempt["remote"], f"127.0.0.1:{origin.port}")
                self.assertTrue(job["lane"].startswith(f"http://{name.lower().rstrip('.')}"))
        self.assertEqual(origin.seen()[1].header("host"), f"origin.test:{origin.port}")

    def test_dns_phase(self):
        """The first lookup is a phase of the attempt."""
        origin = self.origin()
        job = self.succeed({"kind": "fetch", "url": self.url("origin.test", origin)})
        self.assertIsNotNone(job["attempts"][0]["dns_ms"])

    def test_dead_first_address(self):
        """A first address that refuses falls through to the second."""
        origin = self.origin()
        job = self.succeed({"kind": "fetch", "url": self.url("second.test", origin)})
        self.assertEqual(job["attempts"][0]["remote"], f"127.0.0.1:{origin.port}")

    def test_not_found(self):
        """A name that does not exist: phase dns."""
        job = self.fail_with({"kind": "fetch", "url": "http://nowhere.test/"},
                             "dns_not_found", "dns")
        self.assertEqual(job["attempts"][0]["reached"], "dns")
        self.assertIs(job["error"]["retry_safe"], True)

    def test_broken_servers(self):
        """A server that fails, or does not answer: phase dns."""
        self.fail_with({"kind": "fetch", "url": "http://broken.test/"}, "dns_failed", "dns")
        self.fail_with({"kind": "fetch", "url": "http://silent.test/", "timeout": "700ms"},
                       ("timeout", "dns_failed"), "dns")

    def test_silent_server_blocks_nobody(self):
        """While a name is looked up in vain, other jobs go on."""
        origin = self.origin()
        batch = self.batch({"run": "gather", "jobs": [
            {"kind": "fetch", "url": f"http://host{n}.silent.test/", "timeout": "30s"}
            for n in range(5)] + [{"kind": "fetch", "url": "http://silent.test/"}]}, "")
        started = time.monotonic()
        for _ in range(5):
            self.succeed({"kind": "fetch", "url": self.url("origin.test", origin)})
        self.assertLess(time.monotonic() - started, 2)
        self.assertEqual(self.api.post(f"/v1/batches/{batch['id']}/cancel").status, 200)

    def test_refused_addresses(self):
        """Names that lead to addresses which are not allowed are refused, mixed answers too."""
        origin = self.origin()
        for name in ("private.test", "rebound.test", "metadata.test", "mixed.test",
                     "linklocal6.test", "mapped.test"):
            with self.subTest(name):
                job = self.fail_with({"kind": "fetch", "url": self.url(name, origin),
                                      "retry": {"attempts": 3, "backoff": "10ms"}},
                                     "blocked_address")
                self.assertEqual(len(job["attempts"]), 1)
        self.assertEqual(origin.connections, 0)

    def test_redirect_to_a_refused_name(self):
        """A redirect is looked at like a first URL."""
        origin = self.origin()
        self.fail_with({"kind": "fetch",
                        "url": origin.url(f"/to/302?url={self.url('private.test', origin)}")},
                       "blocked_address")
        self.assertEqual(len(origin.seen()), 1)

    def test_lookups_are_joined(self):
        """Fifty jobs for one name ask the name server a few times only."""
        origin = self.origin()
        batch = self.batch({"run": "gather", "jobs": [
            {"kind": "fetch", "url": self.url("origin.test", origin)}] * 50})
        self.assertEqual(batch["counts"]["succeeded"], 50)
        asked = [name for name, _ in self.names.questions if name.lower() == "origin.test"]
        self.assertLessEqual(len(asked), 4)

    def test_many_names(self):
        """A thousand unknown names fail quickly and take no thread each."""
        before = len(list((self.proc() / "task").iterdir()))
        most = [before]
        done = threading.Event()

        def watch():
            while not done.wait(0.02):
                most[0] = max(most[0], len(list((self.proc() / "task").iterdir())))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            batch = self.batch({"run": "gather", "jobs": [
                {"kind": "fetch", "url": f"http://n{n}.nowhere.test/"} for n in range(1000)]})
        finally:
            done.set()
            watcher.join()
        self.assertEqual(batch["counts"]["failed"], 1000)
        self.assertLessEqual(most[0], before + 8)

    def proc(self):
        return pathlib.Path(f"/proc/{self.daemon.process.pid}")
