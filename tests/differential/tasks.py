"""Operations on tasks; those of ops_task.c. The letters are those of rules.py."""
from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import Any

from actor import CANCELED, EXPIRED, Base, Failure, raised, result_of
from program import NONE, Op
from rules import Timeout

WHEN = (asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION)


class Tasks(Base):
    async def op_sleep(self, op: Op, us: int) -> int:
        return await self.suspend(lambda: asyncio.sleep(us))

    async def op_yield(self, op: Op) -> int:
        return await self.suspend(lambda: asyncio.sleep(0))

    async def op_spawn(self, op: Op, number: int) -> int:
        if self.world.closing or number in self.world.actors:
            return NONE
        self.world.spawn(number, self.world.loop.create_task)
        return 0

    op_eager = op_spawn  # E1

    async def op_stillborn(self, op: Op, number: int) -> int:
        rc = await self.op_spawn(op, number)
        if rc == 0:
            self.world.actors[number].task.cancel()
        return rc

    async def op_gspawn(self, op: Op, number: int) -> int:
        if not self.groups or self.world.closing or number in self.world.actors:
            return NONE
        group = self.groups[-1]
        if group._aborting:
            return CANCELED
        self.world.spawn(number, group.create_task)
        return 0

    def others(self, numbers: tuple[int, ...]) -> list[Base]:
        return [self.world.actors[n] for n in numbers if n in self.world.actors]

    async def op_cancel(self, op: Op, number: int) -> int:
        for actor in self.others((number,)):
            actor.task.cancel()
            return 0
        return NONE

    async def op_uncancel(self, op: Op) -> int:
        if self.world.closing:
            return NONE
        self.text = f' {self.uncancel()} {int(self.cancelled())}'
        return 0

    async def op_cancelling(self, op: Op, number: int) -> int:
        for actor in [] if self.world.closing else self.others((number,)):
            self.text = f' {0 if actor.task.done() else actor.task.cancels}'
            return 0
        return NONE

    async def op_done(self, op: Op, number: int) -> int:
        for actor in self.others((number,)):
            self.text = f' {int(actor.task.done())}'
            return 0
        return NONE

    async def op_hook(self, op: Op, number: int) -> int:
        for actor in self.others((number,)):
            actor.task.add_done_callback(
                lambda task: self.world.tell('hook', op.line, 'hook', result_of(task)))
            return 0
        return NONE

    def deadlocks(self, other: Base) -> bool:
        """D1: whether `other` waits, over however many tasks, for this one."""
        if other.task.done():
            return False
        seen, left = set(), [other]
        while left:
            actor = left.pop()
            if actor is self:
                return True
            if actor in seen or actor.task.done():
                continue
            seen.add(actor)
            left += actor.awaited
            if actor.joined:
                left += [a for a in self.world.actors.values() if a.task in actor.joined._tasks]
        return False

    async def cancel_all(self, actors: list[Base]) -> None:
        """L1, G1: cancels the tasks, once more each time that the caller is, and waits for their end."""
        me = self.frames[-1]
        seen = me.cancels
        while pending := [a.task for a in actors if not a.task.done()]:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError:
                for _ in range(me.cancels - seen):
                    for task in pending:
                        task.cancel()
                seen = me.cancels

    async def native(self, wait: Callable[[], Awaitable[Any]],
                     over: Callable[[], bool], others: list[Base]) -> tuple[Any, bool]:
        """What asyncio makes of the wait, or a task's error; and whether Q1 applies."""
        me = self.frames[-1]
        me.over, me.handed, me.awaited = over, False, [other.task for other in others]
        try:
            value = await wait()
        except asyncio.CancelledError:
            value = CANCELED
        except Failure as failure:
            value = failure.args[0]
        finally:
            me.over = None
        return value, me.handed

    async def join(self, actors: list[Base], wait: Callable[[], Awaitable[Any]],
                   over: Callable[[], bool], firm: bool = True) -> tuple[int, Any]:
        """Awaits the tasks by `wait`: (CANCELED, None), (0, its value), (0, a task's error)."""
        self.awaited = actors if firm else []
        try:
            if self.cancelled():  # L1
                for actor in actors:
                    actor.task.cancel()
            else:
                await self.settle()
                value, handed = await self.native(wait, over, actors)
                if handed or not self.cancelled():
                    return 0, value
            await self.cancel_all(actors)  # L2, G1
            return CANCELED, None
        finally:
            self.awaited = []

    def awaited_rc(self, rc: int, future: asyncio.Future) -> int:
        if rc < 0:
            return rc
        value = result_of(future)
        if value != CANCELED or not self.cancelled():
            self.text = f' {value}'
        return min(value, 0)

    async def op_await(self, op: Op, number: int) -> int:
        for other in self.others((number,)):
            if self.deadlocks(other):
                return -errno.EDEADLK
            rc, _ = await self.join([other], lambda: other.task, other.task.done)
            return self.awaited_rc(rc, other.task)
        return NONE

    async def op_shield(self, op: Op, number: int) -> int:
        for other in self.others((number,)):
            if self.deadlocks(other):
                return -errno.EDEADLK
            if self.cancelled():  # L1
                return CANCELED
            await self.settle()
            self.awaited = [other]
            _, handed = await self.native(lambda: asyncio.shield(other.task), other.task.done,
                                           [other])
            self.awaited = []
            if self.cancelled() and not handed:
                return self.doubt([other])
            return self.awaited_rc(0, other.task)
        return NONE

    async def op_waitfor(self, op: Op, number: int, us: int) -> int:
        for other in self.others((number,)):
            if self.deadlocks(other):
                return -errno.EDEADLK
            if other.task.done() and not self.cancelled():
                return self.awaited_rc(0, other.task)
            rc = 0
            try:
                async with Timeout(self.world.loop.now + us if us >= 0 else None):  # W1
                    rc, _ = await self.join([other], lambda: other.task, other.task.done, firm=False)
                    raised(rc)
            except TimeoutError:
                rc = EXPIRED if result_of(other.task) == CANCELED else 0
            except asyncio.CancelledError:
                rc = CANCELED
            return self.awaited_rc(rc, other.task)
        return NONE

    async def op_gather(self, op: Op, keeps: int, *numbers: int) -> int:
        others = self.others(numbers)
        cycles = [self.deadlocks(other) for other in others]  # D1
        good = [other for other, cycle in zip(others, cycles) if not cycle]

        def failed() -> int:
            for other, cycle in zip(others, cycles):
                if cycle:
                    return -errno.EDEADLK
                if other.task.done() and result_of(other.task) < 0:
                    return result_of(other.task)
            return 0

        def over() -> bool:
            return all(a.task.done() for a in good) or not keeps and failed() < 0

        async def wait() -> Any:
            if not keeps and failed() == -errno.EDEADLK:
                return -errno.EDEADLK
            return await asyncio.gather(*(a.task for a in good), return_exceptions=bool(keeps))

        rc, value = await self.join(good, wait, over)
        if rc == 0 and not keeps and failed() < 0:
            rc = value if isinstance(value, int) and value != CANCELED else failed()
        if rc < 0:
            return rc
        results = iter(good)
        self.text = ''.join(
            f' {-errno.EDEADLK if cycle else result_of(next(results).task)}' for cycle in cycles)
        return 0

    async def op_wait(self, op: Op, when: int, us: int, *numbers: int) -> int:
        others = self.others(numbers)
        if not others:
            return NONE
        if any(self.deadlocks(other) for other in others):
            return -errno.EDEADLK
        self.awaited = others if when == 0 and us < 0 else []
        tasks = [other.task for other in others]

        def over() -> bool:
            done = [task for task in tasks if task.done()]
            return (len(done) == len(tasks) or when == 1 and done != [] or
                    when == 2 and any(result_of(task) not in (CANCELED, *range(9999)) for task in done))

        if self.cancelled():  # L1
            return CANCELED
        await self.settle()
        value, handed = await self.native(lambda: asyncio.wait(
            tasks, timeout=us if us >= 0 else None, return_when=WHEN[when]), over, others)
        self.awaited = []
        if value == CANCELED and not handed:
            return self.doubt(others)
        self.doubt(others, 2)  # how many are there may not be told
        self.text = f' {sum(task.done() for task in tasks)}'
        return 0

    async def op_completed(self, op: Op, *numbers: int) -> int:
        others = self.others(numbers)
        if any(self.deadlocks(other) for other in others):
            return -errno.EDEADLK
        results, rc = [], 0
        for coming in asyncio.as_completed([other.task for other in others]):
            if self.cancelled():  # L1
                coming.close()
                rc = CANCELED
                break
            await self.settle()
            try:
                value = await coming
            except Failure as failure:
                value = failure.args[0]
            except asyncio.CancelledError:
                if self.cancelled():
                    rc = self.doubt(others)
                    break
                value = CANCELED
            results.append((self.world.loop.now, value))
        else:
            rc = CANCELED if self.cancelled() else 0
        self.text = ''.join(f' {when}:{value}' for when, value in sorted(results))  # A1
        return rc
