"""packaging/gdb/baedal.py: the coroutines of a live daemon, and of the core file of a dead one."""

import os
import pathlib
import re
import resource
import signal
import subprocess
import unittest

from tests.e2e.case import Case
from tests.fixture.daemon import ROOT, Daemon, binary

SCRIPT = ROOT / "packaging/gdb/baedal.py"
FRAME = re.compile(r"  #\d+ +\w+ \(\S+:\d+\)")


def may_trace():
    scope = pathlib.Path("/proc/sys/kernel/yama/ptrace_scope")
    return os.geteuid() == 0 or not scope.exists() or scope.read_text().strip() == "0"


def core_name():
    """Where the kernel puts core files; None: somebody else takes them."""
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    return None if not pattern or "|" in pattern or "%" in pattern else pattern


def gdb(*arguments):
    """What the commands of the script print."""
    commands = [part for command in ("co tasks", "co bt main", "co bt fetch", "co bt all")
                for part in ("-ex", f"echo == {command}\\n", "-ex", command)]
    done = subprocess.run(["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off",
                           *arguments, "-x", str(SCRIPT), *commands],
                          capture_output=True, text=True, timeout=120, check=False)
    sections = {}
    for section in done.stdout.split("\n== ")[1:]:
        name, _, text = section.partition("\n")
        sections[name] = text
    return sections, done.stdout + done.stderr


class Gdb(Case):
    def setUp(self):
        super().setUp()
        self.use(Daemon())
        self.slow = self.origin()
        self.jobs = [self.submit({"kind": "fetch", "url": self.slow.url("/silent")})["id"]
                     for _ in range(3)]
        self.slow.wait_for(3)

    def check(self, sections, output):
        self.assertEqual(set(sections), {"co tasks", "co bt main", "co bt fetch", "co bt all"},
                         output)
        tree = sections["co tasks"]
        self.assertRegex(tree, r"\A\d+ tasks\n")
        for job in self.jobs:
            self.assertRegex(tree, rf"\d+\.\d+ +fetch {job}: waits for \w+ since [\d.]+ s, "
                                   r"\d+ B of stack, in \w+ \(daemon/\S+:\d+\)")
            self.assertIn(f"fetch {job}: ", sections["co bt fetch"])
        self.assertRegex(tree, r" main: waits for condition since ")
        self.assertRegex(sections["co bt main"], r"#0 +\w+ \(daemon/main\.c:\d+\)")
        self.assertEqual(sections["co bt fetch"].count("activation_main (daemon/engine/"), 3, output)
        self.assertGreater(len(FRAME.findall(sections["co bt all"])), 8, output)
        self.assertNotIn("daemon/co/", sections["co bt all"])

    @unittest.skipUnless(may_trace(), "ptrace is for root only here")
    def test_live(self):
        """On a process: each task, what it waits for, and its frames; the process goes on."""
        self.check(*gdb("-p", str(self.daemon.process.pid)))
        self.check_alive()

    @unittest.skipIf(core_name() is None, "core files go elsewhere here")
    def test_core(self):
        """On the core file of a crash, where nothing can be called and no register set."""
        pid = self.daemon.process.pid
        path = pathlib.Path(os.readlink(f"/proc/{pid}/cwd")) / core_name()
        candidates = [path, path.with_name(f"{path.name}.{pid}")]
        resource.prlimit(pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
        self.daemon.send(signal.SIGABRT)
        self.assertEqual(self.daemon.wait(), -signal.SIGABRT)
        core = next(c for c in candidates if c.exists())
        self.addCleanup(core.unlink)
        self.check(*gdb(binary(), str(core)))
