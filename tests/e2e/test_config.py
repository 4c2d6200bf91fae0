"""Configuration: mistakes with file and line, drop-ins, what the program prints, SIGHUP."""

import json
import re
import shutil
import subprocess

from tests.e2e.case import Case
from tests.fixture.daemon import ROOT, Daemon, binary


class Program(Case):
    """What the program does without becoming a daemon."""

    def make(self, settings=None):
        daemon = Daemon(settings)
        self.addCleanup(daemon.close)
        return daemon

    def drop_in(self, daemon, name, text):
        directory = daemon.directory / "baedald.conf.d"
        directory.mkdir(exist_ok=True)
        path = directory / name
        path.write_text(text)
        return path

    def check_mistakes(self, daemon, *places):
        """--check-config and a start both name each place as file:line and exit with 6."""
        for arguments in (("--check-config",), ()):
            done = daemon.run(*arguments)
            self.assertEqual(done.returncode, 6, done)
            found = re.findall(r"^(?:<\d>)?(?:\S+ )*?(/\S+):(\d+): \S", done.stderr, re.M)
            self.assertEqual(sorted(found), sorted((str(path), str(line)) for path, line in places),
                             done.stderr)
        self.assertFalse(daemon.state.exists(), "a bad configuration has made a state directory")

    def test_version(self):
        """--version prints name and version."""
        done = subprocess.run([binary(), "--version"], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"^baedald \d+\.\d+\.\d+")

    def test_help(self):
        """--help names every option on standard output."""
        done = subprocess.run([binary(), "--help"], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0)
        for option in ("-c", "--check-config", "--check-store", "--dump-config", "--version",
                       "--help"):
            self.assertIn(option, done.stdout)

    def test_wrong_arguments(self):
        """Unknown options and stray arguments are exit 2."""
        for arguments in (["--nonsense"], ["stray"], ["-c"], ["--check-store", "a", "b"]):
            done = subprocess.run([binary(), *arguments], capture_output=True, text=True,
                                  timeout=30)
            self.assertEqual(done.returncode, 2, done)
            self.assertTrue(done.stderr)

    def test_check(self):
        """--check-config of a good file is exit 0 and starts nothing."""
        daemon = self.make()
        self.assertEqual(daemon.run("--check-config").returncode, 0)
        self.assertFalse(daemon.state.exists())

    def test_no_file(self):
        """A file that was named and is not there is exit 6."""
        daemon = self.make()
        daemon.configuration.unlink()
        done = daemon.run("--check-config")
        self.assertEqual(done.returncode, 6)
        self.assertIn(str(daemon.configuration), done.stderr)

    def test_three_mistakes(self):
        """Three mistakes are all named, each with file and line."""
        daemon = self.make()
        path = daemon.configuration
        path.write_text(
            'api = { listen = ["127.0.0.1:1"]; max_wait = "10 parsecs"; };\n'
            'store = { directory = "%s"; };\n'
            'scheduler = {\n'
            '    max_actve = 10;\n'
            '};\n'
            'log = { level = "loud"; };\n' % daemon.state)
        self.check_mistakes(daemon, (path, 1), (path, 4), (path, 6))

    def test_kinds_of_mistakes(self):
        """Unknown groups and keys, wrong types, bad values and ranges."""
        for number, text in enumerate((
                'nonsense = { a = 1; };', 'api = { nonsense = 1; };', 'api = 5;',
                'scheduler = { max_active = "many"; };', 'scheduler = { max_active = -1; };',
                'scheduler = { max_active = 0; };', 'transfer = { timeout = "-5s"; };',
                'transfer = { max_body = "10 parsecs"; };', 'api = { listen = "nowhere"; };',
                'api = { listen = ["127.0.0.1:99999"]; };',
                'egress = { allow = ["10.0.0.0/33"]; };',
                'egress = { deny = ["example.com"]; };', 'lanes = ( { concurrency = 1; } );',
                'lanes = ( { origin = "ftp://x"; concurrency = 1; } );',
                'lanes = ( { origin = "default"; concurrency = 0; } );',
                'lanes = ( { origin = "default"; speed = 1; } );',
                'retry = { attempts = 2; };', 'store = { durability = "maybe"; };')):
            with self.subTest(text):
                daemon = self.make()
                path = self.drop_in(daemon, f"{number}.conf", "\n" + text + "\n")
                self.check_mistakes(daemon, (path, 2))

    def test_syntax(self):
        """A file that cannot be read as configuration is named with the line."""
        daemon = self.make()
        path = self.drop_in(daemon, "a.conf", 'api = {\n    max_wait = ;\n};\n')
        self.check_mistakes(daemon, (path, 2))

    def test_duplicates(self):
        """A key that is there twice in one file, or a lane, is a mistake."""
        daemon = self.make()
        path = self.drop_in(daemon, "a.conf",
                            'log = {\n  level = "info";\n  level = "debug";\n};\n')
        self.check_mistakes(daemon, (path, 3))
        path.write_text('lanes = (\n  { origin = "http://a:80"; concurrency = 1; },\n'
                        '  { origin = "http://a:80"; concurrency = 2; }\n);\n')
        self.check_mistakes(daemon, (path, 3))

    def test_mistakes_in_drop_ins(self):
        """Mistakes are found in all files at once."""
        daemon = self.make()
        first = self.drop_in(daemon, "10-a.conf", "\n\nlog = { level = 5; };\n")
        second = self.drop_in(daemon, "20-b.conf", "api = { max_lines = 0; };\n")
        self.check_mistakes(daemon, (first, 3), (second, 1))

    def test_open_listener(self):
        """Listening beyond loopback is refused: there is nothing to keep strangers out."""
        daemon = self.make()
        for address in ("0.0.0.0:1", "[::]:1", "192.0.2.1:1", "10.0.0.1:8470"):
            with self.subTest(address):
                path = self.drop_in(daemon, "a.conf", f'api = {{ listen = ["{address}"]; }};\n')
                self.check_mistakes(daemon, (path, 1))

    def test_drop_ins(self):
        """Drop-ins lie over the file, by name, key by key; lanes by origin; lists replace."""
        daemon = self.make({"scheduler": {"max_active": 100, "drain_timeout": "9s"},
                            "lanes": [{"origin": "default", "concurrency": 3},
                                      {"origin": "http://a.test:80", "concurrency": 4}]})
        self.drop_in(daemon, "20-b.conf", 'scheduler = { max_active = 20; };\n')
        self.drop_in(daemon, "10-a.conf",
                     'scheduler = { max_active = 10; };\n'
                     'lanes = ( { origin = "http://a.test:80"; concurrency = 44; } );\n'
                     'egress = { allow = ["10.0.0.0/8"]; };\n')
        self.drop_in(daemon, "ignored.txt", "this is no configuration")
        text = self.dump(daemon)
        self.assertRegex(text, r"max_active\s*=\s*20\b")
        self.assertRegex(text, r"drain_timeout\s*=\s*\"?9")
        self.assertRegex(text, r"(?s)a\.test:80.{0,100}?concurrency\s*=\s*44\b")
        self.assertRegex(text, r"(?s)default.{0,100}?concurrency\s*=\s*3\b")
        self.assertIn("10.0.0.0/8", text)
        self.assertNotIn("127.0.0.0/8", text)

    def dump(self, daemon):
        done = daemon.run("--dump-config")
        self.assertEqual(done.returncode, 0, done)
        return done.stdout

    def test_dump(self):
        """--dump-config shows every value with the place that it comes from."""
        daemon = self.make({"log": {"level": "warning"}})
        path = self.drop_in(daemon, "a.conf", '\n\napi = { max_wait = "7s"; };\n')
        text = self.dump(daemon)
        self.assertRegex(text, rf"max_wait\s*=.*7.*{re.escape(str(path))}:3")
        self.assertRegex(text, rf"level\s*=.*warning.*{re.escape(str(daemon.configuration))}:\d+")
        self.assertRegex(text, r"connect_timeout\s*=.*5.*default")
        for key in ("listen", "max_wait", "max_body", "max_bulk", "max_lines", "max_connections",
                    "header_timeout", "directory", "durability", "max_jobs", "max_batches",
                    "min_free", "ballast", "max_active", "window", "window_memory", "max_lanes",
                    "age", "count", "bytes", "idempotency", "drain_timeout", "executor_threads", "executor_processes", "threads",
                    "body_memory", "timeout", "allow", "deny"):
            self.assertRegex(text, rf"\b{key}\s*=")

    def test_dump_is_a_configuration(self):
        """What --dump-config prints can be read again and means the same."""
        daemon = self.make({"lanes": [{"origin": "http://a.test:80", "concurrency": 4}],
                            "api": {"max_wait": "250ms"}})
        text = self.dump(daemon)
        daemon.configuration.write_text(text)
        values = [line.partition(" # ")[0].rstrip() for line in text.splitlines()]
        again = [line.partition(" # ")[0].rstrip() for line in self.dump(daemon).splitlines()]
        self.assertEqual(values, again)

    def test_shipped_file(self):
        """The configuration that is shipped is a good one."""
        done = subprocess.run([binary(), "-c", str(ROOT / "config" / "baedald.conf"),
                               "--check-config"], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done)


class CheckStore(Case):
    """--check-store."""

    def setUp(self):
        """A store with one job that has ended."""
        super().setUp()
        self.use(Daemon())
        self.succeed({"kind": "delivery"})

    def check(self, *arguments):
        return self.daemon.run("--check-store", *arguments)

    def test_sound(self):
        """0: the configured one, or the one that is named, for which no configuration is read."""
        self.daemon.stop()
        self.assertEqual(self.check().returncode, 0)
        copy = self.daemon.directory / "copy"
        shutil.copytree(self.daemon.state, copy)
        self.daemon.configuration.write_text("nonsense = 1;\n")
        self.assertEqual(self.check(str(copy)).returncode, 0)
        done = self.check()
        self.assertEqual(done.returncode, 6, done)

    def test_not_sound(self):
        """1, with a reason: damaged, or not there."""
        self.daemon.stop()
        for bad in (self.daemon.state, self.daemon.directory / "nowhere"):
            if bad.exists():
                database = next(bad.glob("*.db"))
                data = bytearray(database.read_bytes())
                data[0:100] = bytes(100)
                database.write_bytes(data)
            done = self.check(str(bad))
            self.assertEqual(done.returncode, 1, done)
            self.assertIn(str(bad), done.stderr)
        self.assertFalse((self.daemon.directory / "nowhere").exists())

    def test_in_use(self):
        """1 while a daemon has it open, which goes on unharmed."""
        done = self.check()
        self.assertEqual(done.returncode, 1, done)
        self.assertTrue(done.stderr)
        self.succeed({"kind": "delivery"})


class Reload(Case):
    """SIGHUP."""

    def set(self, daemon, **groups):
        daemon.write_configuration(groups)
        return daemon.reload()

    def test_concurrency_on_the_wire(self):
        """A changed concurrency of the lanes is seen by the origin, up and down."""
        daemon = self.use(Daemon({"lanes": [{"origin": "default", "concurrency": 2}]}))
        origin = self.origin()
        batch = self.batch({"run": "gather", "jobs": [
            {"kind": "fetch", "url": origin.url("/ok?ms=80")}] * 90}, "")
        origin.wait_for(8)
        self.assertEqual(origin.high_water, 2)
        self.set(daemon, lanes=[{"origin": "default", "concurrency": 6}])
        origin.wait_until(lambda: origin.high_water >= 6)
        origin.wait_for(len(origin.seen()) + 20)
        self.assertEqual(origin.high_water, 6)
        self.set(daemon, lanes=[{"origin": "default", "concurrency": 6},
                                {"origin": origin.origin, "concurrency": 1}])
        origin.wait_until(lambda: origin.active <= 1)
        origin.reset_high_water()
        origin.wait_for(len(origin.seen()) + 4)
        self.assertEqual(origin.high_water, 1)
        self.set(daemon, lanes=[{"origin": "default", "concurrency": 40}])
        self.assertEqual(self.get_batch(batch["id"], "?wait=60s")["counts"]["succeeded"], 90)

    def test_invalid_file_keeps_the_old_values(self):
        """A file with a mistake changes nothing, is named, and the daemon goes on."""
        daemon = self.use(Daemon({"lanes": [{"origin": "default", "concurrency": 2}]}))
        good = daemon.configuration.read_text()
        daemon.configuration.write_text(good.replace("concurrency = 2", "concurrency = -5"))
        daemon.reload()
        self.assertRegex(daemon.stderr(), rf"{re.escape(str(daemon.configuration))}:\d+: ")
        daemon.configuration.write_text("{ no configuration")
        daemon.reload()
        daemon.configuration.unlink()
        daemon.reload()
        origin = self.origin()
        batch = self.batch({"run": "gather", "jobs": [
            {"kind": "fetch", "url": origin.url("/ok?ms=20")}] * 10})
        self.assertEqual(batch["counts"]["succeeded"], 10)
        self.assertEqual(origin.high_water, 2)
        daemon.configuration.write_text(good.replace("concurrency = 2", "concurrency = 3"))
        daemon.reload()
        origin.reset_high_water()
        self.batch({"run": "gather", "jobs": [
            {"kind": "fetch", "url": origin.url("/ok?ms=20")}] * 10})
        self.assertEqual(origin.high_water, 3)

    def test_retry_defaults(self):
        """Changed retry defaults hold for jobs that are submitted after."""
        daemon = self.use(Daemon({"retry": {"fetch_attempts": 1, "backoff": "10ms"}}))
        url = self.origin().url("/status/503")
        self.assertEqual(len(self.finish({"kind": "fetch", "url": url})["attempts"]), 1)
        self.set(daemon, retry={"fetch_attempts": 3, "backoff": "10ms"})
        self.assertEqual(len(self.finish({"kind": "fetch", "url": url})["attempts"]), 3)

    def test_keys_that_need_a_restart(self):
        """A key that needs a restart is named; the others take effect."""
        daemon = self.use(Daemon({"scheduler": {"max_active": 50}}))
        mark = daemon.log_size()
        self.set(daemon, scheduler={"max_active": 60}, log={"level": "debug"})
        self.assertRegex(daemon.stderr(mark), r"max_active")
        self.check_alive()

    def test_log_level(self):
        """The level of the log changes at once."""
        daemon = self.use(Daemon({"log": {"level": "error"}}))
        self.succeed({"kind": "delivery"})
        self.assertEqual(daemon.stderr(), "")
        self.set(daemon, log={"level": "debug"})
        self.succeed({"kind": "delivery"})
        self.assertNotEqual(daemon.stderr(), "")

    def test_under_load(self):
        """Twenty reloads in the middle of the work lose nothing."""
        daemon = self.use(Daemon())
        origin = self.origin()
        batch = self.batch({"run": "gather", "jobs": [
            {"kind": "fetch", "url": origin.url("/ok?ms=20")}] * 300}, "")
        for number in range(20):
            self.set(daemon, lanes=[{"origin": "default", "concurrency": 1 + number % 7 * 5}])
        self.assertEqual(self.get_batch(batch["id"], "?wait=60s")["counts"]["succeeded"], 300)
        self.assertEqual(len(origin.seen()), 300)


class Limits(Case):
    """What the configured bounds do."""

    def test_max_active(self):
        """No more than max_active jobs run at a time, over all lanes."""
        self.use(Daemon({"scheduler": {"max_active": 5}}))
        origins = [self.origin() for _ in range(4)]
        batch = self.batch({"run": "gather", "jobs": [
            {"kind": "fetch", "url": origin.url("/ok?ms=60")} for origin in origins] * 10}, "")
        while (now := self.get_batch(batch["id"], "?wait=15ms"))["state"] == "running":
            self.assertLessEqual(now["counts"]["running"], 5)
            self.assertLessEqual(sum(origin.active for origin in origins), 5)
        self.assertEqual(now["counts"]["succeeded"], 40)
        self.assertGreaterEqual(now["elapsed_ms"], 40 / 5 * 60)

    def test_lanes_are_served_in_turn(self):
        """A crowded lane does not keep the others from their turn."""
        self.use(Daemon({"scheduler": {"max_active": 4},
                         "lanes": [{"origin": "default", "concurrency": 4}]}))
        crowded, quiet = self.origin(), self.origin()
        batch = self.batch({"run": "gather", "jobs": [
            {"kind": "fetch", "url": crowded.url("/ok?ms=50")}] * 100}, "")
        crowded.wait_for(4)
        self.succeed({"kind": "fetch", "url": quiet.url("/ok")})
        self.assertLess(len(crowded.seen()), 60)
        self.assertEqual(self.get_batch(batch["id"], "?wait=60s")["counts"]["succeeded"], 100)

    def test_max_jobs(self):
        """A full queue answers 503 with Retry-After, and takes jobs again when it has room."""
        self.use(Daemon({"store": {"max_jobs": 5}}))
        jobs = [self.submit({"kind": "delivery", "wait": "60s"}) for _ in range(5)]
        reply = self.api.post("/v1/jobs", {"kind": "delivery"})
        self.check_problem(reply, 503)
        self.assertTrue(reply.headers["Retry-After"])
        answers = self.api.ndjson("/v1/jobs", [{"kind": "delivery"}] * 2).lines()
        self.assertEqual([line["status"] for line in answers], [503, 503])
        reply = self.api.post("/v1/batches", {"run": "gather", "jobs": [{"kind": "delivery"}]})
        self.check_problem(reply, 503)
        self.cancel(jobs[0]["id"])
        self.succeed({"kind": "delivery"})

    def test_max_wait(self):
        """No wait is longer than api.max_wait, and Prefer is told so."""
        self.use(Daemon({"api": {"max_wait": "300ms"}}))
        reply = self.api.post("/v1/jobs", {"kind": "delivery", "wait": "30s"},
                              {"Prefer": "wait=20"})
        self.assertEqual(reply.status, 202)
        self.assertTrue(reply.headers["Preference-Applied"].startswith("wait="), reply)
        self.assertNotEqual(reply.headers["Preference-Applied"], "wait=20")
        self.assertEqual(self.get(reply.json()["id"], "?wait=20s")["state"], "waiting")

    def test_unix_socket(self):
        """The API is served on a Unix socket as well."""
        daemon = Daemon()
        path = daemon.directory / "api.sock"
        listen = [f"127.0.0.1:{daemon.port}", f"unix:{path}"]
        daemon.write_configuration({"api": {"listen": listen}})
        self.use(daemon)
        done = subprocess.run(
            ["curl", "-sS", "--max-time", "20", "--unix-socket", str(path), "--json",
             '{"kind": "delivery"}', "http://localhost/v1/jobs?wait=10s"],
            capture_output=True, text=True, timeout=30)
        self.assertEqual(json.loads(done.stdout)["state"], "succeeded", done)

    def test_ipv6_listener(self):
        """The API is served on ::1."""
        daemon = Daemon()
        daemon.write_configuration({"api": {"listen": [f"[::1]:{daemon.port}"]}})
        self.use(daemon)
        self.api.host = "::1"
        self.succeed({"kind": "delivery"})


