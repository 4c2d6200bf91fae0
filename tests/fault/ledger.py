"""The test's own book: what it asked for, what was acknowledged, what it was shown, and the audit.

A step is known to be over from the moment an answer said so. A request for it in a later life of
the daemon, which begins when no connection of the one before is left, is one that was run again.
"""

import collections
import dataclasses
import threading
import time

from tests.e2e.shapes import ENDED, instant
from tests.fault.kept import Kept
from tests.fixture.answers import content

AFTER_DELIVERY = ("wait", "collect")
# In an error's code or message, where a job may fail that nobody refused: a crash hit an attempt
# that may not be repeated, or the job was in flight at crashes in a row.
FORGIVEN = ("outcome_unknown", "crash")


@dataclasses.dataclass
class Asked:
    """One job as it was asked for; its key is its name and in each of its URLs."""

    key: str
    steps: tuple = ()  # those that send a request
    fails: bool = False  # its target refuses it
    wait: float = 0.0  # of a delivery, seconds
    size: int = 0  # of an answer whose bytes are to be checked; seed is the size


@dataclasses.dataclass
class Batch:
    run: str
    ids: list
    keys: list


class Ledger:
    """Filled by many threads. `group` is a label that all its jobs carry.

    A job may also fail with an error that says one of `forgiven`; `excused` counts these.
    """

    def __init__(self, group="g", forgiven=()):
        self.group = group
        self.forgiven = (*FORGIVEN, *forgiven)
        self.excused = 0
        self.lock = threading.Lock()
        self.asked = {}
        self.acknowledged = {}
        self.batches = {}
        self.over = {}
        self.finals = {}
        self.lives = []
        self.statuses = collections.Counter()
        self.broken = 0
        self.cancelled = set()
        self._numbers = 0
        self.findings = collections.defaultdict(list)

    def key(self):
        with self.lock:
            self._numbers += 1
            return f"{self.group}-{self._numbers}"

    def ask(self, asked):
        with self.lock:
            self.asked[asked.key] = asked

    def new_life(self):
        """The daemon is down, and nothing of its last life is under way."""
        self.lives.append(time.monotonic())

    def acknowledge(self, job_id, key):
        with self.lock:
            self.acknowledged[job_id] = key

    def acknowledge_batch(self, batch, run, keys):
        with self.lock:
            self.acknowledged.update(zip(batch["job_ids"], keys))
            self.batches[batch["id"]] = Batch(run, batch["job_ids"], keys)

    def count(self, reply):
        with self.lock:
            self.statuses[reply.status] += 1
        return reply

    def observe(self, job, since):
        """An answer has shown this job; it was asked for at `since`, perhaps beside others."""
        at = time.monotonic()
        with self.lock:
            asked = self.asked.get(job["name"])
            if asked is None:
                return
            if job["state"] in ENDED:
                for step in asked.steps:
                    self.over.setdefault((asked.key, step), at)
                final = job["state"], job["finished_at"]
                known, _ = self.finals.setdefault(job["id"], (final, at))
                if known != final:
                    self.findings["changed"].append(f"{job['id']} was {known}, is {final}")
            elif job["id"] in self.finals and self.finals[job["id"]][1] < since:
                self.findings["changed"].append(f"{job['id']} had ended, is {job['state']}")
            elif job["step"] in AFTER_DELIVERY and "deliver" in asked.steps:
                self.over.setdefault((asked.key, "deliver"), at)

    def _life(self, at):
        return sum(1 for began in self.lives if began <= at)

    # --- the audit ---

    def await_end(self, daemon, seconds=60):
        """Waits until all jobs have ended, those too whose answer was lost; the rest is stuck."""
        client = Kept(daemon)
        end = time.monotonic() + seconds
        for job_id in {*self.acknowledged, *(job["id"] for job in self.listed(client))}:
            if job_id in self.finals:
                continue
            since = time.monotonic()
            reply = client.get(f"/v1/jobs/{job_id}?wait={max(0.05, end - since):.2f}s")
            if reply.status == 200:
                self.observe(reply.json(), since)
        client.close()

    def listed(self, client):
        """All jobs of the group, whole."""
        jobs, cursor = [], ""
        while True:
            reply = client.get(f"/v1/jobs?full=true&limit=100&label=group:{self.group}{cursor}")
            if reply.status != 200:
                raise AssertionError(reply)
            page = reply.json()
            jobs += page["data"]
            if page["next_cursor"] is None:
                return jobs
            cursor = f"&cursor={page['next_cursor']}"

    def audit(self, daemon, requests):
        """Holds all that is in the store against the book and the target's log of requests."""
        client, since = Kept(daemon), time.monotonic()
        jobs = {job["id"]: job for job in self.listed(client)}
        for job in jobs.values():
            self.observe(job, since)
        self._audit_existence(jobs)
        sent = collections.defaultdict(list)
        for request in requests:
            parts = request.path.split("/")
            sent[parts[-2], parts[-1]].append(request)
        for job in jobs.values():
            self._audit_job(job, self.asked[job["name"]], sent, client)
        for batch_id, batch in self.batches.items():
            self._audit_batch(batch_id, batch, jobs, sent, client)
        for (key, step), at in self.over.items():
            again = [r for r in sent[key, step] if self._life(r.at) > self._life(at)]
            if again:
                self.findings["run again"].append(f"{key} {step}: {len(again)} times")
        client.close()
        return jobs

    def _audit_existence(self, jobs):
        for job_id, key in self.acknowledged.items():
            if job_id not in jobs:
                self.findings["lost"].append(f"{job_id} {key}")
        names = collections.Counter(job["name"] for job in jobs.values())
        for name, times in names.items():
            if times > 1:
                self.findings["made twice"].append(f"{name}: {times} jobs")

    def _audit_job(self, job, asked, sent, client):
        if job["state"] not in ENDED:
            self.findings["stuck"].append(f"{job['id']} {job['name']} {job['state']} {job['step']}")
            return
        wanted = "failed" if asked.fails else "succeeded"
        if job["state"] == "cancelled":
            fine = job["id"] in self.cancelled
        elif job["state"] == "failed":
            said = f"{job['error']['code']} {job['error']['message']}"
            excuse = any(part in said for part in self.forgiven)
            self.excused += excuse
            fine = asked.fails or excuse
        else:
            fine = job["state"] == wanted
        if not fine:
            self.findings["ended wrong"].append(
                f"{job['id']} {job['name']} {job['state']} {job['error']}")
        if job["state"] != "succeeded":
            return
        for step in asked.steps:
            if not sent[asked.key, step]:
                self.findings["never sent"].append(f"{job['name']} {step}")
        if job["kind"] == "delivery":
            self._audit_delivery(job, asked, sent)
        if asked.size:
            body = client.get(f"/v1/jobs/{job['id']}/body")
            if body.status != 200 or body.body != content(asked.size, asked.size):
                self.findings["body wrong"].append(f"{job['id']}: {body.status}")

    def _audit_delivery(self, job, asked, sent):
        at = {event["event"]: instant(event["at"]) for event in job["events"]}
        if list(at) != ["delivered", "waited", "collected"]:
            self.findings["events wrong"].append(f"{job['id']} {job['events']}")
        elif at["waited"] - at["delivered"] < asked.wait - 0.001:
            self.findings["waited too little"].append(f"{job['id']} {job['events']}")
        for step in asked.steps:
            for request in sent[asked.key, step]:
                if request.header("idempotency-key") not in (None, f"{job['id']}-{step}"):
                    self.findings["key wrong"].append(
                        f"{job['id']} {step}: {request.header('idempotency-key')}")

    def _audit_batch(self, batch_id, batch, jobs, sent, client):
        reply = client.get(f"/v1/batches/{batch_id}")
        if reply.status != 200:
            self.findings["lost"].append(f"batch {batch_id}: {reply.status}")
            return
        shown = reply.json()
        states = collections.Counter(jobs[i]["state"] for i in batch.ids if i in jobs)
        counted = {state: n for state, n in shown["counts"].items() if n and state != "total"}
        if counted != dict(states) or shown["counts"]["total"] != len(batch.ids):
            self.findings["miscounted"].append(f"{batch_id}: {shown['counts']}, are {states}")
        if shown["state"] not in ENDED:
            self.findings["stuck"].append(f"batch {batch_id} {shown['state']}")
        if batch.run == "sequence":
            self._audit_order(batch_id, batch, sent)

    def _audit_order(self, batch_id, batch, sent):
        """No member of a sequence is asked for once a later one was."""
        latest = 0.0
        for key in batch.keys:
            times = [r.at for step in self.asked[key].steps for r in sent[key, step]]
            if times and min(times) < latest:
                self.findings["out of order"].append(f"{batch_id} {key}")
            latest = max([latest, *times])

    def summary(self):
        """The counts that matter, those that are 0 too."""
        always = ("lost", "stuck", "run again")
        said = [f"{len(self.acknowledged)} acknowledged"]
        said += [f"{len(self.findings[name])} {name}" for name in always]
        said += [f"{len(found)} {name}" for name, found in self.findings.items()
                 if found and name not in always]
        said += [f"{self.excused} failed as they may"] if self.excused else []
        return ", ".join(said)

    def good(self):
        return not any(self.findings.values())

    def details(self, most=4):
        return "\n".join(f"{name}: {text}" for name, found in self.findings.items()
                         for text in found[:most])
