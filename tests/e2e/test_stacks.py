"""A kernel without MADV_GUARD_INSTALL: no more jobs at a time than stacks can be guarded."""

import sys

from tests.e2e.case import Case
from tests.fixture.daemon import Daemon

# Runs a program whose madvise(_, _, 102) fails with EINVAL, as Linux before 6.13 has it.
LOADER = """
import ctypes, os, struct, sys
NUMBER, EINVAL = {"x86_64": 28, "aarch64": 233}[os.uname().machine], 22
ALLOW, ERRNO = 0x7fff0000, 0x00050000
code = b"".join(struct.pack("HBBI", *step) for step in (
    (0x20, 0, 0, 0), (0x15, 0, 3, NUMBER),      # the system call's number
    (0x20, 0, 0, 32), (0x15, 0, 1, 102),        # its third argument
    (0x06, 0, 0, ERRNO | EINVAL), (0x06, 0, 0, ALLOW)))
memory = ctypes.create_string_buffer(code)
program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(memory))
libc = ctypes.CDLL(None, use_errno=True)
for call in ((38, 1, 0, 0, 0), (22, 2, program)):    # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
    if libc.prctl(*call) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execv(sys.argv[1], sys.argv[1:])
"""


class OldKernel(Daemon):
    def command(self, *arguments):
        return [sys.executable, "-c", LOADER, *super().command(*arguments)]


class Stacks(Case):
    def start(self, max_active):
        """With 8,000 mappings, of which 5,000 are for others and a guarded stack takes two."""
        self.use(OldKernel({"scheduler": {"max_active": max_active},
                            "lanes": [{"origin": "default", "concurrency": 1000}],
                            "api": {"max_connections": 100}},
                           files={"/proc/sys/vm/max_map_count": "8000\n"}))
        return [line for line in self.daemon.stderr().splitlines() if "guarded stacks" in line]

    def test_clamp(self):
        """More jobs at a time than guards: as many as there are, and one line says so."""
        left = 1500 - 100 - 1024
        lines = self.start(1000)
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(f"{left} jobs at a time instead of 1000", lines[0])
        origin = self.origin()
        self.api.ndjson("/v1/jobs", [{"kind": "fetch", "url": origin.url("/silent")}] * (left + 50))
        origin.wait_for(left)
        names = [task["name"] for task in self.api.get("/v1/tasks").json()["data"]]
        self.assertEqual(sum(name.startswith("fetch ") for name in names), left)

    def test_enough(self):
        """Fewer: nothing is said."""
        self.assertEqual(self.start(300), [])
