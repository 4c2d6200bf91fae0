"""What every proof has: a table of claims, a seed, and things that go away at its end."""

import contextlib
import dataclasses
import random
import threading
import time

from tests.fixture.daemon import Daemon
from tests.fixture.origin import Origin


@dataclasses.dataclass
class Options:
    """What the command line asks for."""

    binary: str
    failpoint_binary: str | None = None
    long: bool = False
    seed: int = 0
    minutes: float | None = None


class Proof:
    """One part of a proof; says row by row what was done, how often, and what came of it."""

    def __init__(self, options: Options, stack: contextlib.ExitStack):
        self.options = options
        self.random = random.Random(options.seed)
        self.stack = stack
        self.passed = 0
        self.failed = 0

    @contextlib.contextmanager
    def within(self):
        """What is made in here goes away at its end."""
        outer = self.stack
        with contextlib.ExitStack() as inner:
            self.stack = inner
            try:
                yield
            finally:
                self.stack = outer

    def scale(self, smoke, long):
        return long if self.options.long else smoke

    def row(self, done: str, times: int | str, counted: str, good: bool) -> None:
        """One claim: what was done, how often, what was counted, whether it is as promised."""
        if good:
            self.passed += 1
        else:
            self.failed += 1
        print(f"  {'ok    ' if good else 'FAILED'}  {done:<46} {times!s:>7}  {counted}", flush=True)

    def note(self, text: str) -> None:
        for line in text.rstrip().splitlines():
            print(f"            {line}", flush=True)

    def daemon(self, settings=None, kind=Daemon, **options):
        """A daemon, not started, that must end well when the part does."""
        daemon = kind(settings, **options)
        self.stack.callback(daemon.close)
        return daemon

    def origin(self, **options) -> Origin:
        origin = Origin(**options)
        self.stack.callback(origin.close)
        return origin


def percentile(values, part: float) -> float:
    """The value that this part of them does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


class Machine:
    """What a busy machine adds to any answer, seen by how much a short sleep takes too long."""

    NAP = 0.003
    WAITS = 4  # for a processor, in one answer

    def __init__(self):
        self.overslept = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def rest(self):
        began = time.monotonic()
        time.sleep(self.NAP)
        self.overslept.append(time.monotonic() - began - self.NAP)

    def _run(self):
        while not self.ended.is_set():
            self.rest()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def room(self) -> float:
        """Seconds that an answer may take longer here."""
        return self.WAITS * percentile(self.overslept, 0.99)

    def said(self) -> str:
        return f"the machine: {milliseconds(percentile(self.overslept, 0.99))}"


class Patience:
    """A loop's bound: `while patience.left(): ...`, with a short rest between two looks."""

    def __init__(self, seconds: float, rest: float = 0.01):
        self.began = time.monotonic()
        self.end = self.began + seconds
        self.rest = rest
        self.first = True

    def left(self) -> bool:
        if not self.first:
            time.sleep(self.rest)
        self.first = False
        return time.monotonic() < self.end

    def spent(self) -> float:
        return time.monotonic() - self.began
