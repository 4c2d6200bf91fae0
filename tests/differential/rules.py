"""Where our runtime differs from asyncio 3.11 on purpose: the rules, and the classes that keep them.

Each rule is a sentence here, and the letters stand where on_asyncio.py or this file applies it. What
is not in this list must be equal.
"""
from __future__ import annotations

import asyncio
import collections
import math
from collections.abc import Callable
from typing import Any

RULES = {
    'L1': 'Cancellation is level-triggered: while a scope around the caller is cancelled, a call that '
          'suspends says so without waiting; one that awaits tasks cancels these first and waits for '
          'their end. asyncio tells once.',
    'L2': 'Who awaits tasks and is cancelled meanwhile is told so at their end, also when a task '
          'swallowed it and returned a result. asyncio returns the result. wait_for after its deadline '
          'is the exception, in both.',
    'R1': 'A deadline or a failed group around a wait that has been cancelled already does not cancel '
          'the awaited task once more: the level is the same. In asyncio it does. cancel() does in both.',
    'U1': 'uncancel() to 0 also takes back a cancellation that was not delivered yet, as CPython 3.13 '
          'does; and a task that cancels itself and returns has the result that it returns.',
    'U2': 'uncancel() and cancelling() count cancel() of the task alone; asyncio also counts what '
          'timeouts and groups do inside.',
    'T0': 'A scope whose deadline has passed is expired from its first line; asyncio.timeout(0) begins '
          'with the next turn of the loop.',
    'S1': 'CO_SHIELD is a scope of the same task; in asyncio it is a task of its own that is waited for '
          'until it ends.',
    'G1': 'A cancelled gather() returns after the end of all its tasks; asyncio returns at the first '
          'that ends cancelled.',
    'G2': 'A group can be cancelled by a call, and its opener can go on in it. asyncio 3.11 has no such '
          'call; it is made of what a failed child does.',
    'G3': 'A failed group returns the first error of a child, else that of its body; asyncio raises all '
          'of them, the body last.',
    'G4': 'A child that fails while the group is being closed leaves no cancellation behind with its '
          'opener (CPython 3.13: gh-116720; 3.11 does).',
    'W1': 'co_wait_for() is the one of CPython 3.12, `async with timeout(): return await`; that of 3.11 '
          'forgets a task when it is cancelled twice.',
    'F1': 'The cancellation of who awaits a future does not reach the future.',
    'D1': 'To await oneself, or somebody who waits for oneself, is -EDEADLK; it hangs in asyncio.',
    'D2': 'A lock knows its owner: entering it again is -EDEADLK, leaving that of another -EPERM.',
    'Q1': 'Who awaits tasks, all is over, and is then cancelled before it runs has the result; asyncio '
          'takes it away.',
    'S2': 'A lock passes over cancelled waiters at once; asyncio looks at the first waiter only, whose '
          'task then wakes the next.',
    'S3': 'A free permit is taken at once; in asyncio 3.11 who comes waits as long as another one that '
          'got its permit has not run.',
    'N3': 'Who is cancelled while it waits for the lock of a condition keeps its place in the line.',
    'H1': 'A cancellation goes from task to awaited task in a turn each; asyncio is at the innermost at '
          'once. Where that decides, as the awaited tasks are cancelled by somebody else, or end, at '
          'the very same instant, nothing is compared from then on.',
    'N1': 'notify() needs no lock.',
    'N2': 'Who was notified and is cancelled before it has the lock again passes the notification on, '
          'as in CPython 3.13 (gh-112202).',
    'E1': 'An eagerly started task runs at once; asyncio 3.11 starts it within the same instant.',
    'A1': 'Tasks that ended at the same instant come out of as_completed() in no particular order.',
}


class Loop(asyncio.base_events.BaseEventLoop):
    """Time is a whole number of microseconds and jumps to the next timer when nothing can run."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.quiet = False  # R1
        self.doubted: float = math.inf  # H1
        self.deaf = False  # N3: the next future's waiter is not to be woken by a cancellation
        self.scoped: Task | None = None  # whom a scope is about to cancel
        self._selector = self
        self._clock_resolution = 0.5
        self.set_task_factory(lambda loop, coro, **options: Task(coro, loop=loop, **options))
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> int:  # type: ignore[override]
        return self.now

    def create_future(self) -> asyncio.Future:
        future = Deaf(loop=self) if self.deaf else super().create_future()
        self.deaf = False
        return future

    def select(self, timeout: float | None) -> list:
        if timeout is None:
            raise RuntimeError('deadlock')
        if timeout > 0:
            self.now = self._scheduled[0]._when
        return []

    def _process_events(self, event_list: list) -> None:
        pass


class Deaf(asyncio.Future):
    def cancel(self, *args: Any, **options: Any) -> bool:
        return True


class Task(asyncio.Task):
    """Knows how often it was cancelled from outside, apart from scopes (U2)."""

    cancels = 0
    over: Callable[[], bool] | None = None  # Q1: whether what it awaits is
    handed = False  # Q1: it was, before the cancellation
    awaited: list[Task] = []  # while there is an `over`
    hit = -1  # H1: when it was cancelled

    def cancel(self, *args: Any, **options: Any) -> bool:
        loop = self.get_loop()
        if self.done():
            return False
        if loop.quiet:
            return True
        if self.over and self.cancelling() == 0:
            self.handed = self.over()
            if not self.handed and any(t.hit == loop.now and not t.done() for t in self.awaited):
                loop.doubted = min(loop.doubted, loop.now)
        self.hit = loop.now
        if loop.scoped is not self:
            self.cancels += 1
            return super().cancel(*args, **options)
        loop.scoped = None
        loop.quiet = self.cancelling() > 0
        try:
            return super().cancel(*args, **options)
        finally:
            loop.quiet = False


class Timeout(asyncio.Timeout):
    def _on_timeout(self) -> None:
        self._task.get_loop().scoped = self._task
        super()._on_timeout()

    async def __aenter__(self) -> Timeout:
        await super().__aenter__()
        await self.overtake()
        return self

    async def overtake(self) -> None:
        """T0."""
        past = self._when is not None and self._when <= self._task.get_loop().time()
        while past and not self.expired():
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                pass


class Group(asyncio.TaskGroup):
    closing = False

    async def __aexit__(self, *error: Any) -> None:
        self.closing = True
        before = self._parent_cancel_requested
        try:
            await super().__aexit__(*error)
        finally:
            if self._parent_cancel_requested and not before:  # G4
                self._parent_task.uncancel()

    def _on_task_done(self, task: asyncio.Task) -> None:
        self._loop.scoped = self._parent_task
        super()._on_task_done(task)
        self._loop.scoped = None

    def cancel(self) -> None:  # G2
        if not self._aborting:
            self._abort()
            self._parent_cancel_requested = True
            self._loop.scoped = self._parent_task
            self._parent_task.cancel()


class Semaphore(asyncio.Semaphore):
    def locked(self) -> bool:  # S3
        return self._value == 0


class Lock(asyncio.Lock):
    def _wake_up_first(self) -> None:  # S2
        for future in self._waiters or ():
            if not future.cancelled():
                if not future.done():
                    future.set_result(True)
                return


class Condition(asyncio.Condition):
    """With the wait() of CPython 3.13, as far as N2 goes."""

    async def wait(self) -> bool:
        self.release()
        future = self._get_loop().create_future()
        self._waiters.append(future)
        cancelled = False
        try:
            await future
        except asyncio.CancelledError:
            cancelled = True
        self._waiters.remove(future)
        self._get_loop().deaf = True  # N3
        try:
            await self.acquire()
        finally:
            self._get_loop().deaf = False
        if cancelled or asyncio.current_task().cancelling() > 0:
            if not future.cancelled():
                self.tell(1)
            raise asyncio.CancelledError
        return True

    def tell(self, n: int) -> None:  # N1
        locked, self._lock._locked = self._lock._locked, True
        self.notify(n if n else len(self._waiters))
        self._lock._locked = locked


class Bare(Condition):
    """N1: without a lock at all."""

    def __init__(self) -> None:
        super().__init__()
        self._waiters: collections.deque = collections.deque()
        self.release = lambda: None
        self.acquire = self.enter

    async def enter(self) -> None:
        pass
