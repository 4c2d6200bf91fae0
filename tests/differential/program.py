"""Programs of the differential test: a tree of operations for each task, and their text."""
from __future__ import annotations

import dataclasses
from collections.abc import Iterator

EVENTS = 3
LOCKS = 2
CONDITIONS = 2
FUTURES = 3
NONE = 2**31 - 1  # the result of an operation that has nothing to work on


@dataclasses.dataclass
class Op:
    """`delay` is slept before it, `extra` belongs to the policy or to the end of a block."""
    verb: str
    args: list[int]
    delay: int = 0
    policy: str = 'r'
    extra: int = 0
    body: list[Op] | None = None  # of a block
    line: int = 0

    def __str__(self) -> str:
        return ' '.join(map(str, (self.delay, self.policy, self.extra, self.verb, *self.args)))


@dataclasses.dataclass
class Task:
    id: int
    end: int  # slept before its end, unless it is cancelled
    result: int
    ops: list[Op]


@dataclasses.dataclass
class Program:
    seed: int
    mode: str
    gates: list[int]
    queues: list[int]
    horizon: int
    cyclic: bool
    tasks: list[Task]

    def text(self) -> str:
        """What the program in C reads; numbers the lines of each task."""
        lines = [f'program {self.seed} {self.mode}', f'gates {words(self.gates)}',
                 f'queues {words(self.queues)}',
                 f'cyclic {int(self.cyclic)}']
        for task in self.tasks:
            lines.append(f'task {task.id} {task.end} {task.result}')
            block_lines(task.ops, lines, 0)
        return '\n'.join([*lines, f'horizon {self.horizon}', 'run', ''])

    def ops(self) -> Iterator[Op]:
        for task in self.tasks:
            yield from block_ops(task.ops)


def words(values: list[int]) -> str:
    return ' '.join(map(str, values))


def block_lines(ops: list[Op], lines: list[str], number: int) -> int:
    for op in ops:
        op.line = number
        lines.append(str(op))
        number += 1
        if op.body is not None:
            number = block_lines(op.body, lines, number) + 1
            lines.append('0 r 0 end')
    return number


def block_ops(ops: list[Op]) -> Iterator[Op]:
    for op in ops:
        yield op
        if op.body is not None:
            yield from block_ops(op.body)
