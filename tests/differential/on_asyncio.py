"""Runs a program on asyncio; the trace is that of main.c. The letters are those of rules.py."""
from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from actor import Base
from program import CONDITIONS, EVENTS, FUTURES, LOCKS, Program
from rules import Bare, Condition, Lock, Loop, Semaphore
from sharing import Sharing
from tasks import Tasks

CLOSE_US = 1000003  # as in main.c


class Actor(Tasks, Sharing):
    pass


class World:
    def __init__(self, program: Program, loop: Loop) -> None:
        self.program, self.loop = program, loop
        self.trace: list[str] = []
        self.closing = False
        self.actors: dict[int, Actor] = {}
        self.doubts: list[tuple[int, list[Base], int]] = []  # H1: when, and how many must end then
        self.events = [asyncio.Event() for _ in range(EVENTS)]
        self.gates = [Semaphore(n) for n in program.gates]
        self.locks = [Lock() for _ in range(LOCKS)]
        self.owners: list[Actor | None] = [None] * LOCKS
        self.held = [Condition(lock) for lock in self.locks]
        self.conditions = [Bare() for _ in range(CONDITIONS)]
        self.queues: list[asyncio.Queue] = [asyncio.Queue(n) for n in program.queues]
        self.futures: list[asyncio.Future | None] = [loop.create_future() for _ in range(FUTURES)]

    def tell(self, who: Any, line: int, verb: str, rc: int, text: str = '') -> None:
        self.trace.append(f'{self.loop.now} {who} {line} {verb} {rc}{text}')

    async def main(self) -> None:
        self.spawn(0, self.loop.create_task)
        await asyncio.sleep(self.program.horizon)
        self.closing = True
        while left := [a.task for _, a in sorted(self.actors.items()) if not a.task.done()]:
            for task in left:
                task.cancel()
                await asyncio.sleep(CLOSE_US)
            await asyncio.wait(left)
        self.audit()

    def spawn(self, number: int, create: Callable[[Any], asyncio.Task]) -> Actor:
        actor = Actor(self, self.program.tasks[number])
        self.actors[number] = actor
        actor.task = create(actor.main())
        actor.frames = [actor.task]
        actor.task.add_done_callback(actor.end)
        return actor

    def clear_until(self) -> float:
        """H1: the instant from which on nothing is compared."""
        return min([self.loop.doubted, *(when for when, others, n in self.doubts
                                         if sum(other.ended == when for other in others) >= n)])

    def audit(self) -> None:
        text = ''.join(f' {gate._value}' for gate in self.gates)
        text += ''.join(' locked' if lock.locked() else ' free' for lock in self.locks)
        for queue in self.queues:
            text += ' |'
            while not queue.empty():
                text += f' {queue.get_nowait()}'
        self.tell('end', 0, 'audit', 0, text)


def run(program: Program) -> tuple[list[str], float]:
    """The trace, and the instant up to which it is compared (H1)."""
    loop = Loop()
    world = None
    try:
        world = World(program, loop)
        loop.run_until_complete(world.main())
        return world.trace, world.clear_until()
    except RuntimeError as error:
        return [*(world.trace if world else []), str(error)], math.inf
    finally:
        loop.close()
