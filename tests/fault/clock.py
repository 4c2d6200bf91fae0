"""A wall clock that jumps, and a process that stood still: nothing is early, nothing comes at once.

When a delivery was collected, and when that was due, is measured by the target on its own clock.
"""

import datetime
import signal
import time

from tests.e2e.shapes import ENDED
from tests.fault import preload
from tests.fault.kept import Kept
from tests.fault.proof import Patience

HOUR, DAY = 3600, 86400
JUMPS = (HOUR, -HOUR, DAY, -DAY, 0)
EARLY = 0.05  # the promise is 1 s
LATE = 2.0
WINDOW = 0.1  # of that many seconds is the densest
LANE = 8
WAITS = 100
SETTINGS = {"lanes": [{"origin": "default", "concurrency": LANE}]}


class Spread:
    """Deliveries whose waits end evenly between two times from now."""

    def __init__(self, daemon, origin, first, last, count):
        self.origin = origin
        self.waits = {f"s{n}": first + (last - first) * n / count for n in range(count)}
        self.rate = count / (last - first)
        self.specs = [
            {"kind": "delivery", "name": key, "wait": wait, "url": origin.url(f"/ok/{key}/deliver"),
             "collect": {"url": origin.url(f"/ok/{key}/collect?ms=10")}}
            for key, wait in self.waits.items()]
        client = Kept(daemon)
        self.ids = [line["id"] for line in client.bulk(self.specs)]
        client.close()
        origin.wait_until(lambda: self._came("deliver") == count)
        origin.reset_high_water()

    def _came(self, step):
        return sum(request.path.endswith(step) for request in self.origin.requests)

    def await_collected(self, seconds):
        """Waits until all are collected; how many are not."""
        patience = Patience(seconds, rest=0.05)
        while patience.left() and self._came("collect") < len(self.waits):
            pass
        return len(self.waits) - self._came("collect")

    def collected(self):
        """{key: (when its wait was over, when it was collected)}."""
        times = {}
        for key, wait in self.waits.items():
            began = self.origin.seen(f"/ok/{key}/deliver")[0].answered
            times[key] = began + wait, self.origin.seen(f"/ok/{key}/collect")[0].at
        return times

    def densest(self, times):
        """The most collects in a window."""
        at = sorted(collected for _, collected in times.values())
        return max(sum(begin <= other < begin + WINDOW for other in at) for begin in at)


class SteppedClock:
    """The wall clock that a daemon sees."""

    def __init__(self, daemon):
        path = daemon.directory / "clock"
        self.words = preload.Words(path, 1)
        preload.environment(daemon, preload.build("stepped_clock", daemon.directory))
        daemon.environment["BAEDAL_TEST_CLOCK"] = str(path)

    def set_ahead(self, seconds):
        self.words[0] = int(seconds * 1e9)


def report(proof, done, times, spread, missing):
    if missing:
        proof.row(done, times, f"{missing} of {len(spread.waits)} never came", False)
        return
    collected = spread.collected()
    late = [at - due for due, at in collected.values()]
    densest = spread.densest(collected)
    most = 4 * spread.rate * WINDOW + 6
    proof.row(done, times,
              f"{len(late)} waits: {min(late) * 1000:+.0f} to {max(late) * 1000:+.0f} ms, at most "
              f"{densest} in {WINDOW * 1000:.0f} ms ({spread.rate * WINDOW:.0f} due)",
              min(late) > -EARLY and max(late) < LATE and densest <= most)


def waits_over_jumps(proof):
    """The wall clock jumps while deliveries wait."""
    daemon, origin = proof.daemon(SETTINGS), proof.origin()
    clock = SteppedClock(daemon)
    daemon.start()
    last = proof.scale(4.0, 30.0)
    spread = Spread(daemon, origin, 1.0, last, int(20 * last))
    for ahead in JUMPS:
        time.sleep(last / 2 / len(JUMPS))
        clock.set_ahead(ahead)
    report(proof, "wall clock ±1 h, ±1 day under waits", len(JUMPS), spread,
           spread.await_collected(last + 10))


def dated(daemon, seconds):
    """A job whose date is so many seconds from now, by the true clock."""
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    spec = {"kind": "delivery", "name": f"at {seconds}",
            "at": at.isoformat(timespec="microseconds").replace("+00:00", "Z")}
    reply = daemon.client().post("/v1/jobs", spec)
    if reply.status != 202:
        raise AssertionError(reply)
    return reply.json()["id"]


def has_ended(daemon, job_id, wait=None):
    """Whether it has ended, or does within a time."""
    query = f"?wait={wait}s" if wait else ""
    return daemon.client().get(f"/v1/jobs/{job_id}{query}").json()["state"] in ENDED


def dates_over_jumps(proof):
    """Jobs with a date follow the wall clock."""
    daemon = proof.daemon(SETTINGS)
    clock = SteppedClock(daemon)
    daemon.start()
    wrong = []
    soon, half_hour, later = (dated(daemon, seconds) for seconds in (1.5, HOUR / 2, 2 * HOUR))
    clock.set_ahead(-HOUR)
    if has_ended(daemon, soon, 2.5):
        wrong.append("after -1 h: one that is due in an hour has run")
    clock.set_ahead(0)
    if not has_ended(daemon, soon, 2):
        wrong.append("back again: one whose date has passed has not run")
    clock.set_ahead(HOUR)
    if not has_ended(daemon, half_hour, 2):
        wrong.append("after +1 h: one whose date has passed has not run")
    if has_ended(daemon, later):
        wrong.append("after +1 h: one that is due in an hour has run")
    proof.row("wall clock ±1 h under jobs with a date", 3, f"{len(wrong)} at the wrong time",
              not wrong)
    proof.note("\n".join(wrong))


def stands_still(proof):
    """SIGSTOP while deliveries wait; what was due meanwhile comes after it, as its lane allows."""
    daemon, origin = proof.daemon(SETTINGS), proof.origin()
    daemon.start()
    stop = proof.scale(5, 60)
    spread = Spread(daemon, origin, 2.0, stop + 4.0, WAITS)
    time.sleep(0.5)
    stopped = time.monotonic()
    daemon.send(signal.SIGSTOP)
    time.sleep(stop)
    resumed = time.monotonic()
    daemon.send(signal.SIGCONT)
    missing = spread.await_collected(20)
    if missing:
        proof.row(f"SIGSTOP {stop} s", 1, f"{missing} never came", False)
        return
    late = [at - (due if at < stopped else max(due, resumed))
            for due, at in spread.collected().values()]
    proof.row(f"SIGSTOP {stop} s under waits", 1,
              f"{len(late)} waits: {min(late) * 1000:+.0f} to {max(late) * 1000:+.0f} ms after "
              f"they were due and it ran, {origin.high_water} at a time of {LANE}",
              min(late) > -EARLY and max(late) < LATE and origin.high_water <= LANE)


PARTS = [waits_over_jumps, dates_over_jumps, stands_still]
