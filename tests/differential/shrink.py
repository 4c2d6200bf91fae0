"""Cuts a program down while it still differs: tasks, operations, blocks around others, delays."""
from __future__ import annotations

import copy
from collections.abc import Iterator

import on_asyncio
from compare import Runtime, differ
from program import Op, Program

ROUNDS = 12


def lists(program: Program) -> Iterator[list[Op]]:
    def within(ops: list[Op]) -> Iterator[list[Op]]:
        yield ops
        for op in ops:
            if op.body is not None:
                yield from within(op.body)
    for task in program.tasks:
        yield from within(task.ops)


def places(program: Program) -> list[tuple[int, int]]:
    return [(i, j) for i, ops in enumerate(lists(program)) for j in range(len(ops))]


def cuts(program: Program) -> Iterator[Program]:
    """Each program that is one step smaller."""
    for i, j in reversed(places(program)):
        smaller = copy.deepcopy(program)
        ops = list(lists(smaller))[i]
        del ops[j]
        yield smaller
        op = list(lists(program))[i][j]
        if op.body:
            smaller = copy.deepcopy(program)
            list(lists(smaller))[i][j:j + 1] = copy.deepcopy(op.body)
            if valid(smaller):
                yield smaller
        if op.policy not in 'rg':
            smaller = copy.deepcopy(program)
            list(lists(smaller))[i][j].policy = 'g'
            yield smaller
    last = program.tasks[-1]
    if last.id and not any(last.id in op.args for op in program.ops()):
        smaller = copy.deepcopy(program)
        smaller.tasks.pop()
        yield smaller


def valid(program: Program) -> bool:
    """rearm needs its Timeout, gcancel its Group."""
    def check(ops: list[Op], within: frozenset[str]) -> bool:
        return all(not (op.verb == 'rearm' and not within & {'Timeout', 'Shield'} or
                        op.verb == 'gcancel' and 'Group' not in within) and
                   check(op.body or [], within | {op.verb}) for op in ops)
    return all(check(task.ops, frozenset()) for task in program.tasks)


def shrink(program: Program, runtime: Runtime) -> Program:
    for _ in range(ROUNDS):
        smaller = [p for p in cuts(program) if valid(p)]
        progress = False
        i = 0
        while i < len(smaller):
            candidate = smaller[i]
            ours, = runtime.run([candidate])
            if differ(candidate, ours, on_asyncio.run(candidate)):
                program, progress = candidate, True
                smaller = [p for p in cuts(program) if valid(p)]
                i = max(0, i - 1)
                continue
            i += 1
        if not progress:
            break
    return program
