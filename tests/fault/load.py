"""Mixed load: threads that submit jobs in every way, wait, list and cancel, until told to stop.

A daemon that dies under them is no fault here: they go on as soon as it answers again.
"""

import http.client
import random
import threading
import time

from tests.fault.jobs import IN_ORDER, USUAL, Maker
from tests.fault.kept import Kept

LOST_CONNECTION = (OSError, http.client.HTTPException, ValueError)
LINES = 20


class Traffic:
    """`pause` is the mean rest of each thread between two calls, seconds."""

    def __init__(self, daemon, origin, ledger, seed, threads=5, pause=0.02, cancels=False):
        self.daemon = daemon
        self.origin = origin
        self.ledger = ledger
        self.pause = pause
        self.ended = threading.Event()
        self.actions = {Traffic.single: 6, Traffic.waited: 2, Traffic.gather: 1,
                        Traffic.sequence: 1, Traffic.bulk: 1, Traffic.look: 2}
        if cancels:
            self.actions |= {Traffic.cancel: 2, Traffic.vanish: 1}
        self.threads = [threading.Thread(target=self._run, args=(random.Random(seed + n),))
                        for n in range(threads)]
        self.faults = []

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(100)
        if self.faults:
            raise self.faults[0]

    def _run(self, rng):
        client = Kept(self.daemon)
        maker = Maker(self.ledger, self.origin, rng, USUAL)
        while not self.ended.is_set():
            action = rng.choices(list(self.actions), self.actions.values())[0]
            try:
                action(self, client, maker, rng)
            except LOST_CONNECTION:
                self.ledger.broken += 1
                self.ended.wait(0.01)
            except Exception as fault:  # goes to whoever stops the load
                self.faults.append(fault)
                return
            self.ended.wait(rng.uniform(0, 2 * self.pause))
        client.close()

    # --- what a client does ---

    def single(self, client, maker, _rng):
        spec, asked = maker.make()
        reply = self.ledger.count(client.post("/v1/jobs", spec))
        if reply.status == 202:
            self.ledger.acknowledge(reply.json()["id"], asked.key)

    def waited(self, client, maker, _rng):
        spec, asked = maker.make()
        since = time.monotonic()
        reply = self.ledger.count(client.post("/v1/jobs?wait=2s", spec))
        if reply.status in (200, 202):
            self.ledger.acknowledge(reply.json()["id"], asked.key)
            self.ledger.observe(reply.json(), since)

    def _batch(self, client, run, made):
        body = {"run": run, "jobs": [spec for spec, _ in made]}
        reply = self.ledger.count(client.post("/v1/batches", body))
        if reply.status == 202:
            self.ledger.acknowledge_batch(reply.json(), run, [asked.key for _, asked in made])

    def gather(self, client, maker, rng):
        self._batch(client, "gather", [maker.make() for _ in range(rng.randint(2, 10))])

    def sequence(self, client, maker, rng):
        kinds = rng.choices(list(IN_ORDER), IN_ORDER.values(), k=rng.randint(2, 5))
        self._batch(client, "sequence", [maker.make(kind) for kind in kinds])

    def bulk(self, client, maker, _rng):
        """A bulk answer that breaks off still acknowledges the lines that have come whole."""
        made = [maker.make() for _ in range(LINES)]
        for (_, asked), line in zip(made, client.bulk([spec for spec, _ in made])):
            self.ledger.statuses[f"line {line['status']}"] += 1
            if line["status"] == 202:
                self.ledger.acknowledge(line["id"], asked.key)

    def look(self, client, _maker, _rng):
        """What is shown is what a restart may not take back."""
        since = time.monotonic()
        reply = client.get(f"/v1/jobs?limit=200&label=group:{self.ledger.group}")
        if reply.status == 200:
            for job in reply.json()["data"]:
                self.ledger.observe(job, since)

    def _some_id(self, rng):
        with self.ledger.lock:
            latest = list(self.ledger.acknowledged)[-50:]
        return rng.choice(latest) if latest else None

    def cancel(self, client, _maker, rng):
        if job_id := self._some_id(rng):
            self.ledger.cancelled.add(job_id)
            since = time.monotonic()
            reply = client.post(f"/v1/jobs/{job_id}/cancel")
            if reply.status == 200:
                self.ledger.observe(reply.json(), since)

    def vanish(self, client, _maker, rng):
        """Asks to wait for a job, and is gone."""
        if job_id := self._some_id(rng):
            with client.socket() as connection:
                connection.sendall(f"GET /v1/jobs/{job_id}?wait=30s HTTP/1.1\r\n"
                                   f"Host: 127.0.0.1:{self.daemon.port}\r\n\r\n".encode())
                self.ended.wait(rng.uniform(0, 0.05))


def crash(daemon, origin, ledger, die=None):
    """The daemon dies, by kill -9 unless `die` does it; returns when nothing of it is under way."""
    if die:
        die()
    daemon.kill()
    settle(origin)
    ledger.new_life()


def settle(origin):
    """Until the target has seen the end of each connection of the process that died."""
    time.sleep(0.005)  # what the kernel has accepted is accepted here, too
    origin.wait_quiet()


def take_requests(origin):
    """The target's log of requests so far; it begins anew."""
    with origin.changed:
        taken, origin.requests = origin.requests, []
        return taken
