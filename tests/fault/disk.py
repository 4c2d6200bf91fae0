"""A disk that fills up under load: new work is refused, what is there is kept, and it heals."""

import itertools
import os
import pathlib
import subprocess
import tempfile
import time

from tests.fault.jobs import Maker
from tests.fault.kept import Kept
from tests.fault.kill9 import SETTINGS, audit
from tests.fault.ledger import Ledger
from tests.fault.load import Traffic, crash
from tests.fault.proof import Patience, milliseconds
from tests.fixture.config import merge

DISK_MIB = 48
MIN_FREE = "4MiB"
BALLAST = "2MiB"
REFUSED_ROOM = 0.5  # the promise is 100 ms
HEAL_ROOM = 5  # the promise is 2 s
NEW_JOB = {"kind": "delivery", "name": "probe", "wait": "10ms"}


class Disk:
    """A small ext4 of its own, mounted from a file."""

    def __init__(self, proof, mebibytes=DISK_MIB):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="baedal-disk-"))
        proof.stack.callback(directory.rmdir)
        self.image = directory / "image"
        self.place = directory / "mounted"
        self.place.mkdir()
        proof.stack.callback(self.place.rmdir)
        with open(self.image, "wb") as image:
            image.truncate(mebibytes << 20)
        proof.stack.callback(self.image.unlink)
        self._run("mkfs.ext4", "-q", "-m", "0", str(self.image))
        self._run("mount", "-o", "loop", str(self.image), str(self.place))
        proof.stack.callback(self._run, "umount", str(self.place))
        self.filler = self.place / "filler"

    @staticmethod
    def _run(*command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.stderr}")

    def fill(self, leave):
        """Another's file takes all but `leave` bytes."""
        with open(self.filler, "ab", buffering=0) as filler:
            try:
                while (room := self.free() - leave) > 0:
                    os.posix_fallocate(filler.fileno(), filler.tell(), min(room, 1 << 20))
                    filler.seek(0, os.SEEK_END)
                while leave == 0:
                    filler.write(bytes(4096))
            except OSError:
                pass  # that is full

    def free(self):
        at = os.statvfs(self.place)
        return at.f_bavail * at.f_frsize

    def empty(self):
        self.filler.unlink(missing_ok=True)


def settings(proof, disk):
    store = {"directory": str(disk.place / "state"), "min_free": MIN_FREE}
    if "ballast" in proof.daemon().run("--dump-config").stdout:
        store["ballast"] = BALLAST
    return merge(SETTINGS, {"store": store})


def await_status(client, wanted, seconds):
    """Posts until this status comes; (seconds until then, seconds of that answer, the answer)."""
    patience = Patience(seconds)
    while patience.left():
        began = time.monotonic()
        reply = client.post("/v1/jobs", NEW_JOB)
        if reply.status == wanted:
            return patience.spent(), time.monotonic() - began, reply
    return None


def submit_running(client, ledger, maker):
    """Work that is under way when the disk is full, answers that need a file among it."""
    for n in range(10):
        spec, asked = maker.make("large" if n % 3 == 0 else "delivery")
        if asked.size:
            spec["delay"] = f"{maker.rng.randint(100, 500)}ms"
        reply = client.post("/v1/jobs", spec)
        if reply.status == 202:
            ledger.acknowledge(reply.json()["id"], asked.key)


def full_disk(proof):
    """The disk filled up under load."""
    disk = Disk(proof)
    daemon, origin, ledger = proof.daemon(settings(proof, disk)), proof.origin(), Ledger("disk")
    maker = Maker(ledger, origin, proof.random)
    daemon.start()
    proof.stack.callback(disk.empty)
    client = Kept(daemon)
    cycles = proof.scale(3, 20)
    refused, healed, faults = [], [], []
    leaves = itertools.cycle((0, 1 << 20, 0, 3 << 20))
    life = daemon.process.pid
    for _, leave in zip(range(cycles), leaves):
        with Traffic(daemon, origin, ledger, proof.random.randint(0, 1 << 30), pause=0.03):
            time.sleep(proof.random.uniform(0.1, 0.8))
            submit_running(client, ledger, maker)
            disk.fill(leave)
            came = await_status(client, 507, 10)
            if came is None:
                faults.append(f"no 507 with {leave} bytes free")
            else:
                refused.append(came[1])
                if "Retry-After" not in came[2].headers:
                    faults.append("507 without Retry-After")
            time.sleep(proof.random.uniform(0.3, 0.8))  # what runs ends on the full disk
            if client.get("/livez").status != 200:
                faults.append("not alive on the full disk")
            disk.empty()
            came = await_status(client, 202, 30)
            healed.append(came[0] if came else 30)
    proof.row("507 on a full disk", cycles,
              f"answered in at most {milliseconds(max(refused, default=0))}, {len(faults)} faults",
              not faults and max(refused) < REFUSED_ROOM)
    proof.note("\n".join(faults[:5]))
    proof.row("healed when there is space again", cycles,
              f"after at most {milliseconds(max(healed))}, "
              f"{'no' if daemon.process.pid == life and daemon.alive() else 'a'} restart",
              max(healed) < HEAL_ROOM and daemon.alive())
    ledger.await_end(daemon)
    crash(daemon, origin, ledger)
    daemon.start()
    client.close()
    audit(proof, "work that met the full disk", cycles, ledger, daemon, origin)


PARTS = [full_disk]
