"""Which addresses may be called: special ones are refused in every notation."""

from tests.e2e.case import Case, DaemonCase
from tests.fixture.daemon import Daemon

# each of these, at both edges of its range where it is one, is no target
SPECIAL = """
0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 100.100.100.200
127.0.0.1 127.255.255.255 169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.0 172.31.255.255
192.0.0.0 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255
198.51.100.1 203.0.113.255 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16
[::] [::1] [::ffff:127.0.0.1] [::ffff:10.0.0.1] [::ffff:a9fe:a9fe] [::127.0.0.1] [64:ff9b::7f00:1]
[64:ff9b:1::1] [100::1] [2001::1] [2001:2::1] [2001:db8::1] [2002:7f00:1::] [3fff::1] [5f00::1]
[fc00::1] [fd00:ec2::254] [fe80::1] [fec0::1] [ff02::1] [::ffff:0:127.0.0.1]
[0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:ffff:7f00:0001]
""".split()

# other ways to write loopback and metadata addresses, which resolvers and libraries know
NOTATIONS = """
2130706433 0x7f000001 017700000001 127.1 127.0.1 0x7f.1 0177.0.0.1 0x7f.0x0.0x0.0x1 127.0.0.1.
2852039166 0xa9fea9fe 169.254.43518 0251.0376.0251.0376 0 0x0 0.0
""".split()


class Refused(DaemonCase):
    """Nothing special is allowed."""

    settings = {"egress": {"allow": []}}

    def submit_url(self, url):
        return self.api.post("/v1/jobs", {"kind": "fetch", "url": url})

    def test_literals(self):
        """Special addresses are refused when the job is submitted."""
        for host in SPECIAL:
            for url in (f"http://{host}/", f"https://{host}:8443/path?query"):
                with self.subTest(url):
                    self.check_problem(self.submit_url(url), 422, "/url")

    def test_notations(self):
        """No other notation of an address gets through."""
        for host in NOTATIONS:
            with self.subTest(host):
                self.check_problem(self.submit_url(f"http://{host}/"), 422, "/url")

    def test_localhost(self):
        """localhost, in every spelling, is refused at submit or ends as blocked."""
        for host in ("localhost", "LOCALHOST", "localhost.", "a.localhost"):
            with self.subTest(host):
                reply = self.api.post("/v1/jobs?wait=30s", {
                    "kind": "fetch", "url": f"http://{host}:{self.daemon.port}/", "timeout": "3s"})
                if reply.status == 422:
                    self.check_problem(reply, 422, "/url")
                    continue
                job = reply.json()
                self.assertEqual(job["state"], "failed", job)
                self.assertIn(job["attempts"][0]["reached"], ("none", "dns"))
                if not host.startswith("a."):
                    self.assertEqual(job["error"]["code"], "blocked_address")

    def test_own_listener(self):
        """The daemon's own API is no target."""
        url = f"http://127.0.0.1:{self.daemon.port}/v1/jobs"
        self.check_problem(self.submit_url(url), 422, "/url")

    def test_every_place(self):
        """Deliveries, collect requests and the jobs of a batch are looked at, too."""
        bad = "http://169.254.169.254/latest/meta-data/"
        self.check_problem(self.api.post("/v1/jobs", {"kind": "delivery", "url": bad,
                                                      "payload": 1}), 422, "/url")
        self.check_problem(self.api.post("/v1/jobs", {
            "kind": "delivery", "url": "http://example.com/", "payload": 1,
            "collect": {"url": bad}}), 422, "/collect/url")
        self.check_problem(self.api.post("/v1/batches", {"run": "gather", "jobs": [
            {"kind": "delivery"}, {"kind": "fetch", "url": bad}]}), 422, "/jobs/1/url")
        answers = self.api.ndjson("/v1/jobs", [{"kind": "fetch", "url": bad}]).lines()
        self.assertEqual(answers[0]["status"], 422)

    def test_public_addresses(self):
        """Public addresses are accepted; the neighbours of special ranges, too."""
        for host in ("1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
                     "128.0.0.0", "169.253.255.255", "172.15.255.255", "172.32.0.0",
                     "198.17.255.255", "198.20.0.0", "223.255.255.255",
                     "[2606:4700::1111]", "[2003::1]"):
            with self.subTest(host):
                reply = self.api.post("/v1/jobs", {"kind": "fetch", "url": f"http://{host}/",
                                                   "delay": "1h"})
                self.assertEqual(reply.status, 202, reply)
                self.cancel(reply.json()["id"])


class Allowed(Case):
    """What egress.allow and egress.deny change."""

    def test_allow(self):
        """An address that is allowed may be called, its neighbour may not."""
        self.use(Daemon({"egress": {"allow": ["127.0.0.1/32", "10.9.0.0/16"]}}))
        self.succeed({"kind": "fetch", "url": self.origin().url()})
        other = self.origin(host="127.0.0.2")
        self.check_problem(self.api.post("/v1/jobs", {"kind": "fetch", "url": other.url()}),
                           422, "/url")
        self.assertEqual(other.connections, 0)

    def test_allowed_in_other_notations(self):
        """An allowed address is the same address in every notation that is accepted."""
        self.use(Daemon({"egress": {"allow": ["127.0.0.1"]}}))
        origin = self.origin()
        for host in ("[::ffff:127.0.0.1]", "127.1", "2130706433"):
            reply = self.api.post("/v1/jobs?wait=30s", {
                "kind": "fetch", "url": f"http://{host}:{origin.port}/ok"})
            if reply.status == 200 and reply.json()["state"] == "succeeded":
                self.assertEqual(reply.json()["attempts"][0]["remote"].split(":")[-1],
                                 str(origin.port))

    def test_deny_wins(self):
        """What is denied is refused, allowed or public."""
        self.use(Daemon({"egress": {"allow": ["127.0.0.0/8"],
                                    "deny": ["127.0.0.9/32", "1.1.1.0/24"]}}))
        self.succeed({"kind": "fetch", "url": self.origin().url()})
        for url in (self.origin(host="127.0.0.9").url(), "http://1.1.1.1/"):
            self.check_problem(self.api.post("/v1/jobs", {"kind": "fetch", "url": url}),
                               422, "/url")

    def test_redirects(self):
        """A redirect to an address that is not allowed is not followed."""
        self.use(Daemon({"egress": {"allow": ["127.0.0.1/32"]}}))
        origin, other = self.origin(), self.origin(host="127.0.0.2")
        for target in (other.url("/echo"), "http://169.254.169.254/", "http://[::1]:1/",
                       "http://2130706434:1/", "http://[::ffff:127.0.0.2]:1/"):
            with self.subTest(target):
                job = self.fail_with({"kind": "fetch", "url": origin.url(f"/to/302?url={target}"),
                                      "retry": {"attempts": 3, "backoff": "10ms"}},
                                     ("blocked_address", "bad_redirect"))
                self.assertEqual(len([a for a in job["attempts"] if a["hop"] == 0]), 1)
        self.assertEqual(other.connections, 0)

    def test_localhost(self):
        """localhost leads to those loopback addresses that are allowed."""
        self.use(Daemon({"egress": {"allow": ["127.0.0.1/32"]}}))
        origin = self.origin()
        job = self.succeed({"kind": "fetch", "url": f"http://localhost:{origin.port}/ok"})
        self.assertEqual(job["attempts"][0]["remote"], f"127.0.0.1:{origin.port}")

    def test_reload(self):
        """New rules hold for what comes after SIGHUP, also for jobs accepted before."""
        daemon = self.use(Daemon({"egress": {"allow": ["127.0.0.0/8"]}}))
        origin = self.origin(host="127.0.0.2")
        self.succeed({"kind": "fetch", "url": origin.url()})
        waiting = self.submit({"kind": "fetch", "url": origin.url("/echo"), "delay": "1500ms"})
        daemon.write_configuration({"egress": {"allow": ["127.0.0.1/32"]}})
        daemon.reload()
        self.check_problem(self.api.post("/v1/jobs", {"kind": "fetch", "url": origin.url()}),
                           422, "/url")
        job = self.ended(waiting["id"])
        self.assertEqual(job["state"], "failed")
        self.assertEqual(job["error"]["code"], "blocked_address")
        self.assertEqual(origin.seen("/echo"), [])
