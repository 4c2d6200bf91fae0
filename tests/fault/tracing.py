"""strace on the store's thread alone, with faults injected; the other threads run at full speed."""

import pathlib
import re
import subprocess

SYNCS = "fdatasync,fsync"
LINE = re.compile(
    r"^(?:\d+ +)?(?P<at>\d+\.\d+) \w+\(.*\) += (?P<result>-?\d+).*<(?P<s>[\d.]+)>")


def thread_of(pid, name):
    """The number of the thread of that name."""
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int(task.name)
    raise AssertionError(f"{pid} has no thread {name}")


class Tracing:
    """Attached from `with` on; `inject` is what follows inject=CALLS: in strace's option -e."""

    def __init__(self, daemon, inject):
        self.output = daemon.directory / "strace"
        thread = thread_of(daemon.process.pid, "store")
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "strace", "-p", str(thread), "-ttt", "-T",
             "-o", str(self.output), "-e", f"trace={SYNCS}", "-e", f"inject={SYNCS}:{inject}"],
            stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        said = self.process.stderr.readline()
        if "attached" not in said:
            raise AssertionError(f"strace: {said}{self.process.stderr.read()}")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=30)

    def calls(self):
        """(time of day, whether it went well, seconds) of each call, once strace has ended."""
        matches = [LINE.match(line) for line in self.output.read_text().splitlines()]
        return [(float(m["at"]), m["result"] == "0", float(m["s"])) for m in matches if m]
