"""The daemon aborts at each commit boundary it names; what was acknowledged is whole after it."""

import os
import subprocess

from tests.fault.kill9 import SETTINGS, StoreCheck, audit
from tests.fault.ledger import Ledger
from tests.fault.load import Traffic, crash
from tests.fault.proof import Patience
from tests.fixture.daemon import Daemon
from tests.fixture.notify import Ended

LATEST = 12  # the abort is at a passage up to this one
REACH_SECONDS = 5


def names_of(program):
    """The failpoints that a build says it has."""
    text = subprocess.run([program, "--version"], text=True, capture_output=True, timeout=30).stdout
    lines = [line for line in text.splitlines() if line.startswith("failpoints:")]
    return lines[0].split()[1:] if lines else []


class Failing(Daemon):
    """A daemon of the test build; `failpoint` is what it aborts at in its next life."""

    program = None
    failpoint = None

    def command(self, *arguments):
        return [self.program, *super().command(*arguments)[1:]]

    def _environment(self):
        own = {"BAEDAL_FAILPOINT": self.failpoint} if self.failpoint else {}
        return {**super()._environment(), **own}


def dies_in_time(daemon):
    """Starts it under load and waits for its abort."""
    try:
        daemon.launch()
        daemon.notify.expect("READY", REACH_SECONDS, daemon.pidfd)
    except Ended:
        return True
    patience = Patience(REACH_SECONDS)
    while patience.left():
        if not daemon.alive():
            return True
    return False


def abort_at(proof, daemon, origin, ledger, name):
    """Under load until it aborts there, at a random passage or at the first; whether it did."""
    for passage in (proof.random.randint(2, LATEST), 1):
        daemon.failpoint = f"{name}:abort:{passage}"
        reached = dies_in_time(daemon)
        crash(daemon, origin, ledger)
        if reached:
            return True
    return False


def each(proof):
    """Aborted at each failpoint under load."""
    program = proof.options.failpoint_binary or os.environ["BAEDALD"]
    names = names_of(program)
    if not names:
        proof.row("aborted at each failpoint", 0, "not built with failpoints", False)
        return
    daemon, origin = proof.daemon(SETTINGS, Failing), proof.origin()
    daemon.program = program
    check = StoreCheck(daemon)
    times = proof.scale(1, 20)
    for name in names:
        ledger = Ledger(name)
        reached = 0
        for turn in range(times):
            with Traffic(daemon, origin, ledger, proof.options.seed + turn, pause=0.005,
                         cancels=True):
                reached += abort_at(proof, daemon, origin, ledger, name)
                daemon.failpoint = None
                check()
                daemon.start()
        audit(proof, f"aborted at {name}", reached, ledger, daemon, origin)
        if reached < times:
            proof.row(f"{name} is passed under load", times, f"{reached} reached", False)
        daemon.kill()
    check.row(proof)


PARTS = [each]
