"""fsync that fails, is slow, or stands still: nothing is acknowledged that is not on the disk."""

import os
import shutil
import signal
import threading
import time

from tests.fault.kept import Kept
from tests.fault.load import LOST_CONNECTION
from tests.fault.proof import Machine, Patience, milliseconds, percentile
from tests.fault.tracing import SYNCS, Tracing
from tests.fixture.daemon import Daemon
from tests.fixture.notify import Ended
from tests.fixture.processes import descendants

JOB = {"kind": "delivery", "wait": "1h"}
END_SECONDS = 2  # between the error and the end of the process
SPARE_SUBMITS = 20  # each takes an fsync of its own: one of the first n must break
STRAY_SECONDS = 0.1  # an answer that was on its way when the error came
SLOW = 0.005
SLOW_ROOM = 0.025  # for a machine that does other things
SPIKE = 0.5
GLANCE_ROOM = 0.1  # the promise is 10 ms on a machine that does nothing else


def submit_until_broken(daemon, acknowledged, times=None):
    """Posts one job after another until the daemon is gone, or has answered so often."""
    client = Kept(daemon, timeout=20)
    try:
        while times is None or len(acknowledged) < times:
            began = time.time()
            reply = client.post("/v1/jobs", JOB)
            if reply.status == 202:
                acknowledged.append((reply.json()["id"], began, time.time()))
    except LOST_CONNECTION:
        pass
    client.close()


def missing(daemon, acknowledged):
    """Those that the restarted daemon does not have."""
    client = Kept(daemon)
    gone = [job_id for job_id, *_ in acknowledged if client.get(f"/v1/jobs/{job_id}").status != 200]
    client.close()
    return gone


def last_words(daemon, mark):
    """What it wrote since then, in lines."""
    return [line for line in daemon.stderr(mark).splitlines() if line]


def error_one_client(proof):
    """EIO on the n-th fsync, one client that waits for each answer."""
    daemon = proof.daemon()
    numbers = proof.scale((1, 2, 3, 5, 8, 21), range(1, 101))
    acknowledged, wrong = [], []
    for n in numbers:
        daemon.start()
        mark, mine = daemon.log_size(), []
        with Tracing(daemon, f"error=EIO:when={n}") as tracing:
            submit_until_broken(daemon, mine, times=n + SPARE_SUBMITS)
            status = daemon.wait(10 * END_SECONDS)
        good = sum(fine for _, fine, _ in tracing.calls())
        said = last_words(daemon, mark)
        if len(mine) > good:
            wrong.append(f"n={n}: {len(mine)} acknowledged by {good} good fsyncs")
        if status == 0 or len(said) != 1:
            wrong.append(f"n={n}: exit {status}, said {said}")
        acknowledged += mine
    daemon.start()
    lost = missing(daemon, acknowledged)
    proof.row("EIO at the n-th fsync, ended, started again", len(numbers),
              f"{len(acknowledged)} acknowledged, {len(lost)} lost, {len(wrong)} ends not clear",
              not lost and not wrong and bool(acknowledged))
    proof.note("\n".join(wrong[:5]))


def error_crowd(proof):
    """EIO on an fsync that many clients wait for."""
    daemon = proof.daemon()
    lost, late, stray = 0, [], []
    total = 0
    rounds = proof.scale(2, 20)
    for _ in range(rounds):
        daemon.start()
        acknowledged = []
        with Tracing(daemon, f"error=EIO:when={proof.random.randint(10, 60)}") as tracing:
            threads = [threading.Thread(target=submit_until_broken, args=(daemon, acknowledged))
                       for _ in range(16)]
            for thread in threads:
                thread.start()
            daemon.wait(10 * END_SECONDS)
            ended = time.time()
            for thread in threads:
                thread.join(30)
        broken = [at for at, fine, _ in tracing.calls() if not fine][0]
        late.append(ended - broken)
        stray += [done - broken for _, _, done in acknowledged if done > broken + STRAY_SECONDS]
        daemon.start()
        lost += len(missing(daemon, acknowledged))
        total += len(acknowledged)
        daemon.kill()
    proof.row("EIO under 16 clients", rounds,
              f"{total} acknowledged, {lost} lost, {len(stray)} answered after the error, ended "
              f"within {milliseconds(max(late))}",
              not lost and not stray and max(late) < END_SECONDS and total > 0)


class Traced(Daemon):
    """A daemon whose start is under strace; `inject` is None for one that is not."""

    inject = None

    def command(self, *arguments):
        command = super().command(*arguments)
        if self.inject is None:
            return command
        return ["strace", "-f", "--seccomp-bpf", "-o", str(self.directory / "strace"),
                "-e", f"trace={SYNCS}", "-e", f"inject={SYNCS}:{self.inject}", *command]

    def kill(self):
        if self.alive() and self.inject:
            for pid in descendants(self.process.pid):
                os.kill(pid, signal.SIGKILL)
            self.wait(30)  # strace ends with it
        super().kill()


def refused(daemon, n, wrong):
    """Starts with EIO on the n-th fsync; whether it refused, which it must do clearly."""
    daemon.inject = f"error=EIO:when={n}"
    mark = daemon.log_size()
    daemon.launch()
    try:
        daemon.notify.expect("READY", 30, daemon.pidfd)
    except Ended:
        status = daemon.wait(30)
        said = last_words(daemon, mark)
        if status == 0 or len(said) != 1:
            wrong.append(f"n={n}: exit {status}, said {said}")
        return True
    daemon.kill()
    return False


def error_at_start(proof):
    """EIO on the n-th fsync of a start: it is refused, or went well without it."""
    used, new = proof.daemon(kind=Traced), proof.daemon(kind=Traced)
    used.start()
    acknowledged, wrong, refusals = [], [], 0
    submit_until_broken(used, acknowledged, times=20)
    used.kill()
    numbers = range(1, proof.scale(5, 20))
    for n in numbers:
        refusals += refused(used, n, wrong)
        shutil.rmtree(new.state, ignore_errors=True)
        refusals += refused(new, n, wrong)
        new.inject = None
        new.start()
        new.kill()
    used.inject = None
    used.start()
    lost = missing(used, acknowledged)
    proof.row("EIO at the n-th fsync of a start", 2 * len(numbers),
              f"{refusals} starts refused, {len(wrong)} not clearly, {len(lost)} lost",
              not wrong and not lost and refusals > 0)
    proof.note("\n".join(wrong[:5]))


def slowed(proof):
    """Each fsync takes 5 ms more: a submit takes at most the group before it and its own."""
    daemon = proof.daemon()
    daemon.start()
    times = proof.scale(1500, 20000)
    plain = []
    submit_until_broken(daemon, plain, times=200)
    acknowledged = []
    with Tracing(daemon, f"delay_enter={int(SLOW * 1e6)}") as tracing, Machine() as machine:
        threads = [threading.Thread(target=submit_until_broken, args=(daemon, acknowledged, times))
                   for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    own = percentile([s for _, _, s in tracing.calls()], 0.5)
    fsync = own if own > SLOW else own + SLOW
    took = [done - began for _, began, done in acknowledged]
    proof.row("fsync slowed to 5 ms, 8 clients", len(acknowledged),
              f"fsync {milliseconds(fsync)}, submit p50 {milliseconds(percentile(took, 0.5))} "
              f"p99 {milliseconds(percentile(took, 0.99))} = "
              f"{percentile(took, 0.99) / fsync:.1f} × (not slowed, one client: p99 "
              f"{milliseconds(percentile([d - b for _, b, d in plain], 0.99))}; {machine.said()})",
              percentile(took, 0.99) <= 3 * fsync + SLOW_ROOM + machine.room())


def spike(proof):
    """While an fsync stands still for 500 ms, what needs no commit is answered at once."""
    daemon = proof.daemon()
    daemon.start()
    live = []
    submit_until_broken(daemon, live, times=20)
    spikes = proof.scale(3, 30)
    acknowledged, looks = [], []
    paths = ["/livez", "/readyz", "/v1/tasks", *(f"/v1/jobs/{job_id}" for job_id, *_ in live)]
    with Tracing(daemon, f"delay_enter={int(SPIKE * 1e6)}"):
        submitter = threading.Thread(target=submit_until_broken,
                                     args=(daemon, acknowledged, spikes))
        submitter.start()
        client = Kept(daemon)
        patience = Patience(60 + 2 * spikes * SPIKE, rest=0.002)
        while submitter.is_alive() and patience.left():
            path = paths[len(looks) % len(paths)]
            began = time.time()
            reply = client.get(path)
            looks.append((began, time.time() - began, path, reply.status))
        client.close()
        submitter.join(30)
    held = [(began + 0.02, done) for _, began, done in acknowledged if done - began > 0.8 * SPIKE]
    during = [look for look in looks
              if any(begin <= look[0] and look[0] + look[1] <= end for begin, end in held)]
    bad = {f"{path} {status}" for _, _, path, status in during if status != 200}
    took = [seconds for _, seconds, _, _ in during]
    proof.row("looks while an fsync stands still for 500 ms", len(held),
              f"{len(during)} answers, p50 {milliseconds(percentile(took, 0.5))} "
              f"p99 {milliseconds(percentile(took, 0.99))} max "
              f"{milliseconds(max(took, default=0))}, {len(bad)} not 200",
              bool(during) and not bad and percentile(took, 0.99) < GLANCE_ROOM)


PARTS = [error_one_client, error_crowd, error_at_start, slowed, spike]
