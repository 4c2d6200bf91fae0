"""kill -9 at random instants under mixed load: nothing is lost, nothing done is done again."""

import pathlib
import threading
import time

from tests.fault.jobs import Maker
from tests.fault.kept import Kept
from tests.fault.ledger import Ledger
from tests.fault.load import LOST_CONNECTION, Traffic, crash, take_requests

SETTINGS = {"scheduler": {"max_active": 64}, "lanes": [{"origin": "default", "concurrency": 16}]}
GROUP = 10  # cycles between two audits
LONGEST_LIFE = 0.7  # seconds of load before a kill


class StoreCheck:
    """`baedald --check-store` after each death, where the program has it."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.there = "--check-store" in daemon.run("--help").stdout
        self.times = 0
        self.bad = []

    def __call__(self):
        store = pathlib.Path(self.daemon.settings["store"]["directory"])
        if not self.there or not (store / "baedal.db").exists():
            return  # it died before it had made one
        self.times += 1
        ended = self.daemon.run("--check-store")
        if ended.returncode != 0:
            self.bad.append(f"exit {ended.returncode}: {ended.stdout}{ended.stderr}")

    def row(self, proof):
        if self.there:
            proof.row("store checked after each death", self.times, f"{len(self.bad)} unsound",
                      not self.bad)
            proof.note("\n".join(self.bad[:2]))
        else:
            proof.row("store checked after each death", 0, "the program has no --check-store",
                      False)


def live_and_die(proof, daemon, origin, ledger):
    """One life and its end; one in five dies while it starts."""
    if proof.random.random() < 0.2:
        daemon.launch()
        time.sleep(proof.random.uniform(0, 0.05))
    else:
        daemon.start()
        time.sleep(proof.random.uniform(0.01, LONGEST_LIFE))
    crash(daemon, origin, ledger)


def audit(proof, done, times, ledger, daemon, origin):
    """The row of a ledger, once all has ended."""
    ledger.await_end(daemon)
    requests = take_requests(origin)
    ledger.audit(daemon, requests)
    proof.row(done, times, f"{ledger.summary()}, {len(ledger.batches)} batches, "
              f"{len(requests)} requests", ledger.good() and len(ledger.acknowledged) > 0)
    proof.note(ledger.details())


def under_load(proof):
    """Killed at random instants under load."""
    daemon, origin = proof.daemon(SETTINGS), proof.origin()
    check = StoreCheck(daemon)
    for group in range(proof.scale(GROUP, 1000) // GROUP):
        ledger = Ledger(f"g{group}")
        with Traffic(daemon, origin, ledger, proof.options.seed + group):
            for _ in range(GROUP):
                live_and_die(proof, daemon, origin, ledger)
                check()
            daemon.start()
        audit(proof, f"kill -9 under load, group {group + 1}", GROUP, ledger, daemon, origin)
        daemon.kill()
    check.row(proof)


def repeat_until_answered(daemon, ledger, maker, stop):
    """A client as it should be: what got no answer is posted again, with the same key."""
    client = Kept(daemon)
    while not stop.is_set():
        spec, asked = maker.make("wait")
        while True:
            try:
                reply = client.post("/v1/jobs", spec, {"Idempotency-Key": asked.key})
            except LOST_CONNECTION:
                stop.wait(0.005)
                continue
            if reply.status in (200, 202):
                ledger.acknowledge(reply.json()["id"], asked.key)
            ledger.count(reply)
            break
    client.close()


def repeated_posts(proof):
    """Posts repeated with their Idempotency-Key until they are answered, over kills."""
    daemon, origin, ledger = proof.daemon(SETTINGS), proof.origin(), Ledger("keyed")
    stop = threading.Event()
    kills = proof.scale(5, 100)
    daemon.start()
    makers = [Maker(ledger, origin, proof.random) for _ in range(6)]
    threads = [threading.Thread(target=repeat_until_answered, args=(daemon, ledger, maker, stop))
               for maker in makers]
    for thread in threads:
        thread.start()
    try:
        for _ in range(kills):
            time.sleep(proof.random.uniform(0.05, 0.3))
            crash(daemon, origin, ledger)
            daemon.start()
    finally:
        stop.set()
        for thread in threads:
            thread.join(100)
    audit(proof, "posts repeated with their Idempotency-Key", kills, ledger, daemon, origin)


PARTS = [under_load, repeated_posts]
