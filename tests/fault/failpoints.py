"""The daemon aborts at each commit boundary it names; what was acknowledged is whole after it."""

import os
import signal
import subprocess

from tests.fault.jobs import USUAL, Maker
from tests.fault.kept import Kept
from tests.fault.kill9 import StoreCheck, audit
from tests.fault.ledger import Ledger
from tests.fault.load import crash
from tests.fault.proof import Patience
from tests.fault.scenes import scene_of
from tests.fixture.daemon import Daemon
from tests.fixture.notify import Ended

KILLED = -signal.SIGKILL  # what a failpoint does to the process
LATEST = 12  # the abort is at a passage up to this one
LATER_SECONDS = 4  # to get to a later passage, which it need not
FIRST_SECONDS = 20


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


def dies_in_time(daemon, seconds):
    """Starts it under load and waits for its abort; whether it was one."""
    try:
        daemon.launch()
        daemon.notify.expect("READY", FIRST_SECONDS, daemon.pidfd)
    except Ended:
        return daemon.process.wait(FIRST_SECONDS) == KILLED
    patience = Patience(seconds)
    while patience.left():
        if not daemon.alive():
            return daemon.process.returncode == KILLED
    return False


def abort_at(proof, daemon, origin, ledger, scene, name):
    """Under load until it aborts there, at a random passage or at the first.

    Returns whether it did, and the book that holds for what is in the store.
    """
    for passage in (1,) if scene.at_start else (proof.random.randint(2, LATEST), 1):
        if scene.anew:
            ledger = Ledger(f"{name}-{proof.random.randint(0, 1 << 30)}", scene.forgiven)
        scene.before(daemon, origin)
        points = [scene.first_failpoint(name), f"{name}:abort:{passage}"]
        for daemon.failpoint in filter(None, points):
            with scene.load(daemon, origin, ledger, proof.options.seed + passage):
                reached = dies_in_time(daemon, FIRST_SECONDS if passage == 1 else LATER_SECONDS)
                daemon.failpoint = None
                crash(daemon, origin, ledger)
        if reached:
            return True, ledger
    return False, ledger


def abort_often(proof, name, program):
    """One failpoint in its scene, with a daemon and a book of its own."""
    scene = scene_of(name)(proof)
    daemon, origin = proof.daemon(scene.settings(), Failing), proof.origin()
    daemon.program = program
    check = StoreCheck(daemon)
    times, reached = proof.scale(1, 20), 0
    ledger = Ledger(name, scene.forgiven)
    for life in range(times):
        once, ledger = abort_at(proof, daemon, origin, ledger, scene, name)
        reached += once
        if not scene.at_start:
            check()
        daemon.start()
        submit_some(daemon, origin, ledger, proof)
        if scene.anew or life == times - 1:
            audit(proof, f"aborted at {name}", 1 if scene.anew else reached, ledger, daemon, origin)
        daemon.kill()
    if reached < times:
        proof.row(f"{name} is passed under load", times, f"{reached} times", False)
    return check


def submit_some(daemon, origin, ledger, proof):
    """It works as ever after it."""
    client, maker = Kept(daemon), Maker(ledger, origin, proof.random, USUAL)
    for _ in range(10):
        spec, asked = maker.make()
        reply = client.post("/v1/jobs", spec)
        if reply.status == 202:
            ledger.acknowledge(reply.json()["id"], asked.key)
    client.close()


def each(proof):
    """Aborted at each failpoint under load."""
    program = proof.options.failpoint_binary or os.environ["BAEDALD"]
    names = names_of(program)
    if not names:
        proof.row("aborted at each failpoint", 0, "not built with failpoints", False)
    checks = []
    for name in names:
        with proof.within():
            checks.append(abort_often(proof, name, program))
    bad = [fault for check in checks for fault in check.bad]
    if names:
        times = sum(check.times for check in checks)
        proof.row("store checked after each death", times, f"{len(bad)} unsound",
                  not bad and times > 0)
        proof.note("\n".join(bad[:3]))


PARTS = [each]
