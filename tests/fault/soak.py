"""Mixed load for a while: memory and descriptors stay as they are, and the counts add up."""

import statistics
import time

from tests.fault.jobs import USUAL, Maker
from tests.fault.kept import Kept
from tests.fault.kill9 import SETTINGS, audit
from tests.fault.ledger import Ledger
from tests.fault.load import Traffic, take_requests
from tests.fault.process import cpu_seconds, descriptors, rss_kib
from tests.fault.proof import Patience

SMOKE_SECONDS = 60
LONG_SECONDS = 180
LOOK_SECONDS = 0.5
KEPT_JOBS = 10000  # of those that have ended, that are answered from memory: this many come before
BULK = 500
POINTS = 12  # of memory, to be read
WARM_SECONDS = 60
WARM_PART = 0.2  # of the time under load, not measured
SLOPE_KIB = 1024  # a minute, at fifteen thousand jobs
SMOKE_SLOPE_KIB = 4096  # the heap still settles
CACHE_KIB = 64 * 1024  # of the database's pages are kept in memory, as it grows
PAGE_COST = 1.1  # of a page with what SQLite keeps beside it
DESCRIPTORS = 40  # more in the second half than in the first


def warm_up(daemon, origin, rng):
    """As many jobs as are kept in memory have ended, the same mix as what follows."""
    ledger = Ledger("warm")
    maker, client = Maker(ledger, origin, rng, USUAL), Kept(daemon)
    for _ in range(KEPT_JOBS // BULK + 2):
        client.bulk([maker.make()[0] for _ in range(BULK)])
    patience = Patience(WARM_SECONDS, rest=0.1)
    while patience.left() and any(
            client.get(f"/v1/jobs?limit=1&state={state}").json()["data"]
            for state in ("waiting", "pending", "running")):
        pass
    client.close()


def database_kib(daemon):
    """As much of the database as can be in memory."""
    return min(CACHE_KIB, sum(path.stat().st_size for path in daemon.state.glob("*.db")) // 1024)


def look(daemon, seconds):
    """(time, memory beside the database's pages, descriptors, those pages) again and again."""
    seen = []
    patience = Patience(seconds, rest=LOOK_SECONDS)
    while patience.left():
        pages = database_kib(daemon)
        seen.append((patience.spent(), rss_kib(daemon.process.pid) - int(pages * PAGE_COST),
                     descriptors(daemon.process.pid), pages))
    return seen


def slope_a_minute(seen):
    """Least squares: KiB a minute."""
    line = statistics.linear_regression([at for at, *_ in seen], [memory for _, memory, *_ in seen])
    return 60 * line.slope


def mixed(proof):
    """Mixed load, with cancels and clients that vanish."""
    minutes = proof.options.minutes
    seconds = 60 * minutes if minutes else proof.scale(SMOKE_SECONDS, LONG_SECONDS)
    daemon, origin, ledger = proof.daemon(SETTINGS), proof.origin(), Ledger("soak")
    daemon.start()
    warm_up(daemon, origin, proof.random)
    take_requests(origin)
    began = time.monotonic()
    with Traffic(daemon, origin, ledger, proof.options.seed, cancels=True):
        seen = look(daemon, seconds)
        spent = cpu_seconds(daemon.process.pid)
    warm = [entry for entry in seen if entry[0] >= WARM_PART * seconds]
    slope = slope_a_minute(warm)
    half = len(warm) // 2
    open_first = max(entry[2] for entry in warm[:half])
    open_last = max(entry[2] for entry in warm[half:])
    accepted = len(ledger.acknowledged)
    steepest = SLOPE_KIB if seconds >= LONG_SECONDS else SMOKE_SLOPE_KIB
    proof.row(f"mixed load for {time.monotonic() - began:.0f} s", accepted,
              f"memory slope {slope:+.0f} KiB/min beside {warm[-1][3] - warm[0][3]} KiB of new "
              f"database pages, "
              f"descriptors {open_first} then {open_last}, "
              f"{spent:.0f} s of CPU, {ledger.broken} broken calls",
              slope < steepest and open_last <= open_first + DESCRIPTORS
              and accepted > 100)
    proof.note("memory beside the database's pages, KiB: " + " ".join(
        str(seen[n * (len(seen) - 1) // POINTS][1]) for n in range(POINTS + 1)))
    alive = accepted - len(ledger.finals)
    ledger.await_end(daemon)
    ended = len(ledger.finals)
    proof.row("accepted = ended + alive, and then all ended", accepted,
              f"{accepted - alive} seen ended under load, {ended} in the end", ended >= accepted)
    audit(proof, "mixed load, held against the book", 1, ledger, daemon, origin)


PARTS = [mixed]
