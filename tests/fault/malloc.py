"""The n-th allocation fails, in everything clients can do: no crash, no hang, and it goes on."""

import collections
import http.client
import os
import re
import subprocess
import time

from tests.fault import preload
from tests.fault.kept import Kept
from tests.fault.proof import Patience
from tests.fault.scenarios import SCENARIOS
from tests.fixture.http import Client, read_all

ARMED, FAIL, SEEN, FAILED = range(4)  # struct control
SAMPLES = 8
HANG_SECONDS = 10
DYING_SECONDS = 3  # a process that crashed may still be writing its core
TIMEOUT_SECONDS = 1  # of the daemon's requests: that bounds what an allocation can delay
WHOLE_RUNS = 3  # in a row without a failure: there is nothing more to fail
CALL = re.compile(r"/baedald\(\+(0x[0-9a-f]+)\)")
ALLOCATIONS_MAX = 5000  # of one scenario, in the long form


class Story:
    """The client of one scenario; remembers every answer, and what was none."""

    def __init__(self, daemon, origin, number):
        self.daemon = daemon
        self.origin = origin
        self.number = number
        self.client = Client("127.0.0.1", daemon.port, HANG_SECONDS)
        self.answers = []

    def _note(self, call, *arguments):
        try:
            self.answers.append(call(*arguments).status)
        except TimeoutError:
            self.answers.append("hang")
        except (OSError, http.client.HTTPException):
            self.answers.append("closed")

    def get(self, path):
        self._note(self.client.get, path)

    def post(self, path, body=None):
        headers = {"Content-Type": "application/json"} if isinstance(body, bytes) else None
        self._note(self.client.post, path, body, headers)

    def lines(self, lines):
        self._note(self.client.ndjson, "/v1/jobs", lines)

    def _head(self, head):
        return head + b"Host: 127.0.0.1:%d\r\n\r\n" % self.daemon.port

    def raw(self, head, rest):
        """Sends this; anything that ends in time is an answer."""
        try:
            with self.client.socket() as connection:
                connection.sendall(self._head(head) + rest)
                read_all(connection)
        except TimeoutError:
            self.answers.append("hang")
        except OSError:
            self.answers.append("closed")

    def leave(self, head):
        with self.client.socket() as connection:
            connection.sendall(self._head(head))

    # --- preparations, which nothing fails ---

    def ended(self, spec):
        return self.client.post("/v1/jobs?wait=10s", spec).json()["id"]

    def waiting(self, wait):
        spec = {"kind": "delivery", "name": "quick" if wait != "1h" else "long", "wait": wait}
        return self.client.post("/v1/jobs", spec).json()["id"]

    def started(self, spec):
        job = self.client.post("/v1/jobs", spec).json()["id"]
        self.origin.wait_for(1, spec["url"].removeprefix(self.origin.origin).partition("?")[0])
        return job

    def batch(self, spec):
        return self.client.post("/v1/batches", spec).json()["id"]


class Torture:
    """One daemon with the library in it, and what came of all runs."""

    def __init__(self, proof):
        self.proof = proof
        self.origin = proof.origin()
        self.daemon = proof.daemon({"transfer": {"timeout": f"{TIMEOUT_SECONDS}s"}})
        control = self.daemon.directory / "control"
        self.words = preload.Words(control, 4)
        library = preload.build("failing_malloc", self.daemon.directory)
        preload.environment(self.daemon, library)
        self.daemon.environment["BAEDAL_TEST_MALLOC"] = str(control)
        self.daemon.start()
        self.runs = self.number = 0
        self.faults = collections.defaultdict(list)

    def run(self, name, fail):
        """Runs a scenario with that allocation failing; (how many there were, whether it did)."""
        self.number += 1
        story = Story(self.daemon, self.origin, self.number)
        steps = SCENARIOS[name](story)
        next(steps)
        self.words[SEEN] = self.words[FAILED] = 0
        self.words[FAIL] = fail
        self.words[ARMED] = 1
        mark, began = self.daemon.log_size(), time.monotonic()
        next(steps, None)
        self.words[ARMED] = 0
        self.runs += 1
        if time.monotonic() - began > 0.9 * TIMEOUT_SECONDS:
            self._fault("late", name, fail, mark)
        self._judge(name, fail, story, mark)
        return self.words[SEEN], self.words[FAILED] > 0

    def _judge(self, name, fail, story, mark):
        if "hang" in story.answers:
            self._fault("no answer", name, fail, mark)
        if self._well():
            return
        patience = Patience(DYING_SECONDS)
        while patience.left() and self.daemon.alive():
            pass
        if self.daemon.alive():
            self._fault("a good request fails after it", name, fail, mark)
            self.daemon.kill()
        else:
            self._fault(f"ended with {self.daemon.wait()}", name, fail, mark)
        self.daemon.start()

    def _fault(self, what, name, fail, mark):
        place = place_of(self.daemon.stderr(mark)) or \
            f"none in this run, the last one before: {place_of(self.daemon.stderr())}"
        self.faults[what, place].append(f"{name} {fail}")

    def count(self, *whats):
        return sum(len(found) for (what, _), found in self.faults.items() if what.startswith(whats))

    def details(self):
        """Each kind of fault at each place, the most frequent first."""
        frequent = sorted(self.faults.items(), key=lambda item: -len(item[1]))
        return "\n".join(f"{len(found)} × {what} ({', '.join(found[:3])}): {place}"
                         for (what, place), found in frequent)

    def _well(self):
        """Whether a good request after it is answered as ever."""
        client = Client("127.0.0.1", self.daemon.port, HANG_SECONDS)
        try:
            reply = client.post("/v1/jobs?wait=5s", {"kind": "delivery", "name": "good"})
            return reply.status == 200 and reply.json()["state"] == "succeeded"
        except (OSError, http.client.HTTPException):
            return False

    def stuck(self):
        """Jobs that should have ended, and do not."""
        client, patience = Kept(self.daemon), Patience(15, rest=0.2)
        while patience.left():
            left = [job["id"] for state in ("pending", "running", "waiting")
                    for job in client.get(f"/v1/jobs?limit=1000&state={state}").json()["data"]
                    if job["name"] == "quick" and not (job["wait_ms"] or 0) > 60000]
            if not left:
                break
        client.close()
        return left


def place_of(log):
    """Where the last allocation failed: the daemon's functions of that call, innermost first."""
    calls = CALL.findall(log[log.rfind("failing_malloc.so"):])
    if not calls:
        return ""
    named = subprocess.run(["addr2line", "-s", "-f", "-e", os.environ["BAEDALD"], *calls],
                           capture_output=True, text=True, timeout=60).stdout.split("\n")
    return " < ".join(f"{function} ({line})" for function, line in zip(named[::2], named[1::2]))


def numbers_of(proof, torture, name):
    """The allocations of a scenario that are to fail: all of them, or a sample."""
    if proof.options.long:
        return range(1, ALLOCATIONS_MAX)
    torture.run(name, 0)
    seen, _ = torture.run(name, 0)
    count = min(SAMPLES, seen)
    return sorted(proof.random.sample(range(1, seen + 1), count))


def each_scenario(proof):
    """Each scenario with each of its allocations failing."""
    torture = Torture(proof)
    failed = 0
    for name in SCENARIOS:
        whole = 0
        for number in numbers_of(proof, torture, name):
            _, hit = torture.run(name, number)
            failed += hit
            whole = 0 if hit else whole + 1
            if whole == WHOLE_RUNS:
                break
    stuck = torture.stuck()
    proof.row(f"{len(SCENARIOS)} scenarios, one allocation failing", torture.runs,
              f"{failed} failed: {torture.count('ended')} ends, {torture.count('no')} hangs, "
              f"{torture.count('a good')} unwell after it, {len(stuck)} jobs stuck, "
              f"{torture.count('late')} late",
              failed > 0 and not stuck and not torture.count("ended", "no", "a good"))
    proof.note(torture.details())


PARTS = [each_scenario]
