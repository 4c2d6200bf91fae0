"""What the programs of this folder say alike: the machine, and goals with what was reached.

A goal is a line that begins with "goal:" and ends in "met" or "missed"; tests/bench/all collects
them. Nothing follows from a missed one: clocks decide no exit status.
"""
import contextlib
import os
from typing import NamedTuple

import usage


class Goal(NamedTuple):
    what: str
    sign: str     # '<=' or '>='
    goal: float
    value: float  # None: not measured
    unit: str = ''

    def line(self):
        met = self.value >= self.goal if self.sign == '>=' else self.value <= self.goal
        return 'goal: %-52s %s %-10s %12s  %s' % (
            self.what, self.sign, number(self.goal) + self.unit, number(self.value) + self.unit,
            'met' if met else 'missed')


def number(value):
    """Four digits or all before the point, no zeros that say nothing."""
    if abs(value) >= 1000:
        return '{:,.0f}'.format(value)
    text = '%.4g' % value if abs(value) >= 0.01 else '%.4f' % value
    return text.rstrip('0').rstrip('.') if '.' in text else text


def print_goals(goals):
    print()
    for goal in goals:
        if goal.value is not None:
            print(goal.line(), flush=True)


def print_rows(headings, rows):
    """A table: the first column to the left, the others to the right."""
    cells = [headings] + [[cell if isinstance(cell, str) else number(cell) for cell in row]
                          for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for row in cells:
        print('  '.join([row[0].ljust(widths[0]),
                         *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]))


@contextlib.contextmanager
def machine(state_parent):
    """Yields a function that prints what the machine was like since the block began."""
    load, before = os.getloadavg()[0], usage.stolen_ticks()
    sync = usage.fdatasync(state_parent)

    def head(text=''):
        stolen, total = (after - old for after, old in zip(usage.stolen_ticks(), before))
        print('%d cores, load %.2f before, %.1f%% stolen by the hypervisor%s'
              % (os.cpu_count(), load, stolen / max(total, 1) * 100, text and '; ' + text))
        print('fdatasync of %d bytes appended on %s (%s, the state directory): median %.0f us, '
              'p99 %.0f us of %d\n'
              % (usage.SYNC_BYTES, usage.filesystem(state_parent), state_parent,
                 sync.median_us, sync.p99_us, usage.SYNCS))
    yield head
