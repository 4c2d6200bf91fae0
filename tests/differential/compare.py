"""Traces: those of our runtime, and whether two are equal."""
from __future__ import annotations

import itertools
import pathlib
import subprocess

from program import Program


DEATHS = 3  # in one batch: the rest is not run


class Runtime:
    """The program in C. Where it crashes, hangs or deadlocks, the program that it was at has failed."""

    def __init__(self, binary: pathlib.Path) -> None:
        self.binary = binary

    def run(self, programs: list[Program]) -> list[list[str]]:
        traces: list[list[str]] = []
        deaths = 0
        while len(traces) < len(programs):
            if deaths == DEATHS:
                return traces + [['not run']] * (len(programs) - len(traces))
            text = ''.join(program.text() for program in programs[len(traces):])
            process = subprocess.run([self.binary], input=text, stdout=subprocess.PIPE, text=True,
                                     stderr=subprocess.PIPE, check=False)
            new = self.split(process.stdout)
            if process.returncode:
                deaths += 1
                last = process.stderr.strip().splitlines()[-3:]
                if not new or new[-1][-1:] == ['done']:
                    raise RuntimeError(f'{self.binary}: {process.returncode}: {process.stderr}')
                new[-1] += [f'exit {process.returncode}', *last]
            traces += [[line for line in trace if line != 'done'] for trace in new]
        return traces

    @staticmethod
    def split(output: str) -> list[list[str]]:
        traces: list[list[str]] = []
        for line in output.splitlines():
            if line.startswith('begin '):
                traces.append([])
            elif line.startswith('done '):
                traces[-1].append('done')
            else:
                traces[-1].append(line)
        return traces


def order(line: str) -> tuple[int, str, str]:
    """By time and task; within a task it stays."""
    words = line.split()
    if not words[0].isdigit():
        return 2**62, '', ''
    return int(words[0]), words[1], line if words[1] == 'hook' else ''


def arranged(program: Program, trace: list[str], until: float) -> list[str]:
    trace = [line for line in trace if order(line)[0] < until]
    if program.mode == 'timed':
        return sorted(trace, key=order)
    # The end cancels all tasks at once, those that await others too.
    n = sum(1 for _ in itertools.takewhile(lambda line: order(line)[0] < program.horizon, trace))
    return trace[:n] + sorted(trace[n:], key=order)


def differ(program: Program, ours: list[str], theirs: tuple[list[str], float]) -> bool:
    trace, until = theirs
    return arranged(program, ours, until) != arranged(program, trace, until)


def side_by_side(program: Program, ours: list[str],
                 theirs: tuple[list[str], float]) -> list[str]:
    trace, until = theirs
    pairs = itertools.zip_longest(arranged(program, ours, until), arranged(program, trace, until),
                                  fillvalue='')
    lines = [f"  {'ours':44} asyncio"]
    for one, other in pairs:
        lines.append(f"{' ' if one == other else '>'} {one:44} {other}")
    return lines
