"""Operations on what tasks share, and blocks; those of ops_sync.c and ops_block.c."""
from __future__ import annotations

import asyncio
import errno

from actor import CANCELED, EXPIRED, Base, raised
from program import Op
from rules import Group, Timeout


class Sharing(Base):
    async def op_eset(self, op: Op, i: int) -> int:
        self.world.events[i].set()
        return 0

    async def op_eclear(self, op: Op, i: int) -> int:
        self.world.events[i].clear()
        return 0

    async def op_epulse(self, op: Op, i: int) -> int:
        await self.op_eset(op, i)
        return await self.op_eclear(op, i)

    async def op_ewait(self, op: Op, i: int) -> int:
        return await self.suspend(self.world.events[i].wait)

    def lock_leave(self, i: int) -> int:
        if self.world.owners[i] is not self:  # D2
            return -errno.EPERM
        self.world.owners[i] = None
        self.world.locks[i].release()
        return 0

    async def op_lleave(self, op: Op, i: int) -> int:
        return self.lock_leave(i)

    async def op_cwait(self, op: Op, i: int) -> int:
        return await self.suspend(self.world.conditions[i].wait)

    async def op_cnotify(self, op: Op, i: int, n: int) -> int:
        if n:
            self.world.conditions[i].tell(n)
        return 0

    async def op_hwait(self, op: Op, i: int) -> int:
        if self.cancelled():  # L1
            return CANCELED
        if self.world.owners[i] is not self:  # D2
            return -errno.EPERM
        self.world.owners[i] = None
        try:
            return await self.suspend(self.world.held[i].wait)
        finally:
            self.world.owners[i] = self

    async def op_hnotify(self, op: Op, i: int, n: int) -> int:
        self.world.held[i].tell(n)
        return 0

    async def op_put(self, op: Op, i: int, item: int) -> int:
        return await self.suspend(lambda: self.world.queues[i].put(item))

    async def op_tryput(self, op: Op, i: int, item: int) -> int:
        try:
            self.world.queues[i].put_nowait(item)
            return 0
        except asyncio.QueueFull:
            return -errno.EAGAIN

    async def op_get(self, op: Op, i: int) -> int:
        rc = await self.suspend(self.world.queues[i].get)
        if rc == 0:
            self.text = f' {self.value}'
        return rc

    async def op_tryget(self, op: Op, i: int) -> int:
        try:
            self.text = f' {self.world.queues[i].get_nowait()}'
            return 0
        except asyncio.QueueEmpty:
            return -errno.EAGAIN

    async def op_fset(self, op: Op, i: int, value: int) -> int:
        future = self.world.futures[i]
        if not future:
            return -errno.ESRCH
        if future.done():
            return -errno.EALREADY
        future.set_result(value)
        return 0

    async def op_fdrop(self, op: Op, i: int) -> int:
        future, self.world.futures[i] = self.world.futures[i], None
        if not future:
            return -errno.ESRCH
        future.cancel()
        return 0

    async def op_fawait(self, op: Op, i: int) -> int:
        future = self.world.futures[i]
        if not future:
            return -errno.ESRCH
        rc = await self.suspend(lambda: asyncio.shield(future))  # F1
        return CANCELED if rc and self.cancelled() else self.awaited_rc(0, future)

    # Blocks.

    async def op_Timeout(self, op: Op, us: int) -> int:
        rc, expired = await self.scope(op, us)
        return EXPIRED if expired else rc

    async def scope(self, op: Op, us: int) -> tuple[int, bool]:
        """The error of the block, and whether the deadline made it."""
        try:
            async with Timeout(self.world.loop.now + us if us >= 0 else None) as timeout:
                self.timeouts.append(timeout)
                try:
                    rc = await self.block(op.body)
                finally:
                    self.timeouts.pop()
                if rc == CANCELED:
                    raise asyncio.CancelledError
                return rc, False
        except TimeoutError:
            return CANCELED, True
        except asyncio.CancelledError:
            return CANCELED, False

    async def op_rearm(self, op: Op, us: int) -> int:
        timeout = self.timeouts[-1]
        if timeout.expired():
            return EXPIRED
        timeout.reschedule(self.world.loop.now + us)
        await timeout.overtake()
        return 0

    async def op_Shield(self, op: Op, us: int) -> int:
        rc, expired = await self.shielded(self.scope(op, us))
        return EXPIRED if expired and not self.cancelled() else rc

    async def op_Group(self, op: Op) -> int:
        body = 0
        group = Group()
        try:
            async with group:
                self.groups.append(group)
                try:
                    body = await self.block(op.body)
                finally:
                    self.groups.pop()
                self.joined = group
                if self.cancelled() and group._tasks:  # L1
                    raise asyncio.CancelledError
                await self.settle()
                raised(body)
            rc = body
        except BaseExceptionGroup as errors:
            rc = errors.exceptions[0].args[0]  # G3
        except asyncio.CancelledError:
            rc = CANCELED if body == 0 and self.cancelled() else body  # G2
        finally:
            self.joined = None
        return rc

    async def op_gcancel(self, op: Op) -> int:
        self.groups[-1].cancel()
        return 0

    async def op_Lock(self, op: Op, i: int) -> int:
        if not self.cancelled() and self.world.owners[i] is self:  # D2
            return -errno.EDEADLK
        rc = await self.suspend(self.world.locks[i].acquire)
        if rc < 0:
            return rc
        self.world.owners[i] = self
        rc = await self.block(op.body)
        await self.sleep_shielded(op.extra)
        self.text = f' {self.lock_leave(i)}'
        return rc

    async def op_Permit(self, op: Op, i: int) -> int:
        rc = await self.suspend(self.world.gates[i].acquire)
        if rc < 0:
            return rc
        rc = await self.block(op.body)
        self.text = ' in'
        await self.sleep_shielded(op.extra)
        self.world.gates[i].release()
        return rc
