"""What a failpoint needs beside the usual load to be passed: a scene for each beginning of a name."""

import contextlib
import shutil
import threading

from tests.fault.disk import Disk, settings
from tests.fault.jobs import Maker
from tests.fault.kept import Kept
from tests.fault.kill9 import SETTINGS
from tests.fault.ledger import Ledger
from tests.fault.load import LOST_CONNECTION, Traffic
from tests.fixture.config import merge

LARGE_BATCH = 1500  # jobs: several transactions
KEPT = 4000  # ended jobs; those of the load are fewer, so that only what came before them goes
FILES = 60  # of the first of them have a file
REST = 0.1
ROOM_JOBS = 150  # whose answers go into the store when the disk is full
ROOM_BYTES = 60000
ROOMY_MIB = 192  # a disk on which only another's file leaves no room


class Scene:
    """The usual load. `act` is done again and again beside it, until the daemon is dead.

    `anew`: each life begins with an empty directory, has a book that knows of nothing before it,
    and is audited by itself.
    """

    anew = False
    at_start = False
    forgiven = ()  # errors with which a job may fail here

    def __init__(self, proof):
        self.proof = proof
        self.ended = threading.Event()

    def settings(self):
        return SETTINGS

    def before(self, daemon, origin):
        """Before each life, with the daemon down."""

    def first_failpoint(self, name):
        """What kills it first, so that `name` is passed at the start after it; None: nothing."""
        return None

    def act(self, client):
        self.ended.set()

    def after(self):
        """The daemon is dead."""

    @contextlib.contextmanager
    def load(self, daemon, origin, ledger, seed):
        self.ended.clear()
        with Traffic(daemon, origin, ledger, seed, pause=0.005, cancels=True):
            thread = threading.Thread(target=self._act, args=(daemon,))
            thread.start()
            try:
                yield
            finally:
                self.ended.set()
                thread.join()
                self.after()

    def _act(self, daemon):
        client = Kept(daemon)
        while not self.ended.is_set():
            try:
                self.act(client)
            except LOST_CONNECTION:
                pass
            self.ended.wait(REST)
        client.close()


class NewStore(Scene):
    """The schema is made in an empty directory."""

    anew = at_start = True

    def before(self, daemon, origin):
        shutil.rmtree(daemon.state, ignore_errors=True)


class LargeBatch(Scene):
    """Batches that are loaded in several transactions."""

    def act(self, client):
        client.post("/v1/batches", {"run": "gather", "jobs": [{"kind": "delivery"}] * LARGE_BATCH})

    def first_failpoint(self, name):
        return "loading_middle_slice:abort" if "drop" in name else None


class Backup(Scene):
    def act(self, client):
        client.post("/v1/admin/backup")


class Retention(Scene):
    """More jobs have ended than are kept."""

    anew = True

    def settings(self):
        return merge(SETTINGS, {"retention": {"count": KEPT}})

    def before(self, daemon, origin):
        shutil.rmtree(daemon.state, ignore_errors=True)
        daemon.start()
        client = Kept(daemon)
        maker = Maker(Ledger("before"), origin, self.proof.random)
        client.bulk([maker.make("large")[0] for _ in range(FILES)])
        for _ in range(KEPT // 1000):
            client.bulk([{"kind": "delivery"}] * 1000)
        client.close()
        daemon.kill()


class FullDisk(Scene):
    """The disk is full, and is not, and is, from when the daemon runs."""

    anew = True  # what many lives keep would fill the disk for good
    forgiven = ("storage_full",)  # more is to be written than the ballast has room for

    def __init__(self, proof):
        super().__init__(proof)
        self.disk = Disk(proof, ROOMY_MIB)

    def settings(self):
        return settings(self.proof, self.disk)

    def before(self, daemon, origin):
        shutil.rmtree(self.disk.place / "state", ignore_errors=True)
        answer = origin.url(f"/ok/room/request?size={ROOM_BYTES}")
        self.needing_room = [{"kind": "fetch", "url": answer, "delay": "200ms"}] * ROOM_JOBS

    def act(self, client):
        client.bulk(self.needing_room)
        if self.disk.filler.exists():
            self.disk.empty()
        else:
            self.disk.fill(0)
        self.ended.wait(5 * REST)

    def after(self):
        self.disk.empty()


SCENES = {"migrate": NewStore, "loading": LargeBatch, "backup": Backup, "purge": Retention,
          "ballast": FullDisk, "alone": FullDisk}


def scene_of(name):
    return SCENES.get(name.partition("_")[0], Scene)
