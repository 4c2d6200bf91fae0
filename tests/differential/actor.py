"""A task on asyncio: it runs its operations one after the other, as actor.c does.

The letters are those of rules.py. Operations are methods op_VERB(op, *arguments), in tasks.py and sharing.py.
"""
from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from program import Op
from program import Task as Spec
from rules import Group, Task, Timeout

if TYPE_CHECKING:
    from on_asyncio import World

CANCELED = -errno.ECANCELED
EXPIRED = -errno.ETIMEDOUT


class Failure(Exception):
    """A task's result that is less than 0."""


def raised(rc: int) -> int:
    if rc == CANCELED:
        raise asyncio.CancelledError
    if rc < 0:
        raise Failure(rc)
    return rc


def result_of(task: asyncio.Future) -> int:
    """Of a task that has ended, or a future."""
    if task.cancelled():
        return CANCELED
    error = task.exception()
    return error.args[0] if isinstance(error, Failure) else task.result()


class Base:
    """A task. `frames`: its asyncio task, and one more for each shield that it is in (S1)."""

    def __init__(self, world: World, spec: Spec) -> None:
        self.world, self.spec = world, spec
        self.task: Any = None
        self.frames: list[Task] = []
        self.awaited: list[Base] = []  # it can't go on before their end
        self.joined: Group | None = None
        self.groups: list[Group] = []
        self.timeouts: list[Timeout] = []
        self.text = ''
        self.ended: int | None = None

    def end(self, task: asyncio.Task) -> None:
        self.ended = self.world.loop.now

    def doubt(self, others: list[Base], n: int = 1) -> int:
        """H1: if n of the others end at this instant. For those who are cancelled."""
        self.world.doubts.append((self.world.loop.now, others, n))
        return CANCELED

    def cancelled(self) -> bool:
        return self.frames[-1].cancelling() > 0

    def tell(self, op: Op | None, verb: str, rc: int, text: str = '') -> None:
        self.world.tell(self.spec.id, op.line if op else -1, verb, rc, text)

    async def main(self) -> int:
        left = await self.block(self.spec.ops)
        rc = left or self.spec.result
        if left != CANCELED or not self.cancelled():
            await self.sleep_shielded(self.spec.end)
        self.tell(None, 'ends', rc)
        await self.settle()
        return raised(rc)

    async def block(self, ops: list[Op]) -> int:
        rc = 0
        for op in ops:
            rc = await self.step(op)
            if rc < 0:
                break
        self.text = ''
        return rc

    async def step(self, op: Op) -> int:
        if op.delay > 0:
            rc = await self.suspend(lambda: asyncio.sleep(op.delay))
            if rc < 0:
                self.tell(op, 'skip', rc)
                return await self.react(op, rc)
        self.text = ''
        rc, text = await getattr(self, 'op_' + op.verb)(op, *op.args), self.text
        self.tell(op, op.verb, rc, text)
        return await self.react(op, rc) if rc < 0 else 0

    async def react(self, op: Op, rc: int) -> int:
        """See actor_react()."""
        if self.world.closing or op.policy == 'r':
            return rc
        if op.policy == 'g':
            return 0
        if op.policy == 'c':
            await self.sleep_shielded(op.extra)
            self.tell(op, 'cleanup', 0)
            return rc
        if not self.cancelled():
            return 0
        await self.sleep_shielded(op.extra)
        while not self.world.closing and self.task.cancels > 0:
            self.uncancel()
            if op.policy == 'o':
                break
        self.tell(op, 'uncancelled', int(self.cancelled()))
        return 0

    def uncancel(self) -> int:
        if self.task.cancels > 0:  # U2
            self.task.cancels -= 1
            self.task.uncancel()
        return self.task.cancels

    async def settle(self) -> None:
        """U1: what was taken back is not delivered."""
        if self.frames[-1]._must_cancel:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                pass

    async def suspend(self, wait: Callable[[], Awaitable[Any]]) -> int:
        """0 or CANCELED; the value is left in self.value."""
        if self.cancelled():  # L1
            return CANCELED
        await self.settle()
        try:
            self.value = await wait()
        except asyncio.CancelledError:
            return CANCELED
        return 0

    async def shielded(self, run: Coroutine[Any, Any, Any]) -> Any:
        """S1."""
        inner = asyncio.get_running_loop().create_task(run)
        self.frames.append(inner)
        while not inner.done():
            try:
                await asyncio.wait([inner])
            except asyncio.CancelledError:
                pass
        self.frames.pop()
        return inner.result()

    async def sleep_shielded(self, us: int) -> None:
        if us > 0:
            await self.shielded(asyncio.sleep(us))
