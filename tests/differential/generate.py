"""Random programs.

In mode `timed` whatever acts on others is preceded by a sleep of its own length, so that each instant
has one cause; the order within an instant does not matter. In mode `ordered` nothing is, and the exact
order is compared; it has only operations that take as many turns of the loop in asyncio as with us,
and it cancels only tasks that await no others (there, asyncio goes to the innermost one directly).
"""
from __future__ import annotations

import errno
import random

from program import CONDITIONS, EVENTS, FUTURES, LOCKS, Op, Program, Task

DEPTH = 3
CAPACITY = 1000  # in mode ordered, nobody waits for room

# What may be in a Lock: nothing that awaits tasks, for these may need the lock to end.
SIMPLE = {'sleep': 5, 'yield': 1, 'uncancel': 2, 'eset': 5, 'eclear': 1, 'epulse': 2, 'ewait': 3,
          'cwait': 2, 'cnotify': 4, 'hwait': 5, 'hnotify': 5, 'put': 7, 'tryput': 1, 'get': 6,
          'tryget': 1, 'fset': 4, 'fawait': 2, 'lleave': 1}
TIMED = SIMPLE | {'fdrop': 1, 'cancel': 8, 'cancelling': 3, 'done': 2, 'hook': 2, 'await': 6,
                  'shield': 5, 'waitfor': 5, 'gather': 8, 'wait': 6, 'completed': 4, 'Timeout': 6,
                  'Shield': 4, 'Group': 9, 'Lock': 6, 'Permit': 7, 'hwait': 1}
ORDERED = {'sleep': 1, 'yield': 8, 'uncancel': 2, 'eset': 3, 'eclear': 2, 'epulse': 3, 'ewait': 3,
           'cwait': 4, 'cnotify': 6, 'hnotify': 4, 'put': 2, 'tryput': 1, 'cancel': 8, 'Timeout': 2,
           'Lock': 9, 'Permit': 9, 'done': 2, 'lleave': 1}
SIMPLE_ORDERED = {verb: ORDERED[verb] for verb in SIMPLE if verb in ORDERED} | {'hwait': 4, 'cancel': 8}
AT_ONCE = {'sleep', 'yield', 'ewait', 'fawait', 'rearm', 'Timeout', 'Shield', 'Group'}
BLOCKS = {'Timeout', 'Shield', 'Group', 'Lock', 'Permit'}
JOINS = {'await': 1, 'shield': 1, 'waitfor': 1, 'gather': 4, 'wait': 4, 'completed': 4}


class Generator:
    def __init__(self, seed: int, mode: str) -> None:
        self.random = random.Random(f'{mode} {seed}')
        self.seed, self.mode = seed, mode
        self.timed = mode == 'timed'
        self.cancelled = False  # the operation before
        self.lock = 0  # the one that is held
        self.n = self.random.randint(3, 9)
        self.cyclic = self.timed and self.random.random() < 0.1
        self.parents = [0] + [self.random.randrange(i) if self.random.random() < 0.5 else 0
                              for i in range(1, self.n)]
        # Mode ordered: who awaits tasks or takes from the queue is not cancelled.
        self.leaves = [i for i in range(1, self.n) if i % 2]
        self.consumer = self.random.choice([i for i in range(self.n) if i not in self.leaves])

    def chance(self, p: float) -> bool:
        return self.random.random() < p

    def us(self) -> int:
        return int(10 ** self.random.uniform(6.5, 8.5))

    def program(self) -> Program:
        if self.timed:
            gates, queues = [1, 2], [1, self.random.randint(1, 2)]
        else:
            gates, queues = [1, 2], [CAPACITY]
        return Program(self.seed, self.mode, gates, queues, self.us() * self.random.randint(10, 60), self.cyclic,
                       [self.task(i) for i in range(self.n)])

    def task(self, number: int) -> Task:
        self.id = number
        self.children = [i for i in range(1, self.n) if self.parents[i] == number]
        verbs = TIMED if self.timed else dict(ORDERED)
        if not self.timed:
            if number not in self.leaves:
                verbs['await'] = 4
            if number == self.consumer:
                verbs |= {'get': 6, 'tryget': 2}
        self.verbs = verbs
        ops = self.block(0, self.random.randint(4, 10 if self.timed else 16), ())
        for child in self.children:
            ops.insert(self.random.randint(0, 2), self.spawn('spawn', child))
        return Task(number, self.us() if self.timed else 0, self.result(), ops)

    def result(self) -> int:
        dice = self.random.random()
        if dice < 0.6:
            return 100 + self.id
        if dice < 0.95:
            return -(200 + self.id)
        return -errno.ECANCELED if dice < 0.98 else -errno.ETIMEDOUT

    def spawn(self, verb: str, child: int) -> Op:
        return self.dress(Op(verb, [child]))

    def dress(self, op: Op) -> Op:
        """Gives it its delay and its policy."""
        op.policy = self.random.choices('rguoc', (8, 40, 25, 10, 17))[0]
        if self.timed:
            op.extra = self.us()
            # By a cycle of awaits, who cancels may be cancelled.
            if op.verb not in AT_ONCE or self.cancelled or self.chance(0.3):
                op.delay = self.us()
            self.cancelled = op.verb == 'cancel'
        return op

    def block(self, depth: int, length: int, within: tuple[str, ...]) -> list[Op]:
        ops = []
        for _ in range(length):
            op = self.dress(self.op(depth, within))
            ops.append(op)
            # What a cancelled task does at once must be the only thing of its instant.
            if self.timed and (op.verb, op.args) == ('cancel', [self.id]) and self.chance(0.7):
                ops += self.join_at_once() if self.chance(0.8) else [Op('uncancel', [])]
            if (op.verb, op.args) == ('Timeout', [0]):
                op.delay = self.us()
                op.body = self.join_at_once() + op.body
        return ops

    def join_at_once(self) -> list[Op]:
        op = self.join(self.random.choice(list(JOINS)))
        if not op:
            return []
        self.dress(op)
        op.delay = 0
        return [op]

    def op(self, depth: int, within: tuple[str, ...]) -> Op:
        if self.children and 'Lock' not in within and self.chance(0.7):
            return self.op_of_spawn(within)
        if ('Timeout' in within or 'Shield' in within) and self.chance(0.08):
            return Op('rearm', [self.us() * self.random.randint(0 if self.timed else 1, 4)])
        if self.timed and 'Group' in within and self.chance(0.04):
            return Op('gcancel', [])
        verbs = self.verbs
        if 'Lock' in within:
            verbs = SIMPLE if self.timed else SIMPLE_ORDERED
        while True:
            verb = self.random.choices(list(verbs), list(verbs.values()))[0]
            if (verb in BLOCKS and depth == DEPTH or verb == 'Group' and self.cyclic or
                    not self.timed and (verb == 'await' and 'Timeout' in within or
                                        verb == 'cancel' and self.leaves in ([], [self.id]))):
                continue
            if verb in JOINS:
                op = self.join(verb)
                if op:
                    return op
                continue
            if verb in BLOCKS:
                return self.op_of_block(verb, depth, within)
            return Op(verb, self.args(verb, within))

    def op_of_spawn(self, within: tuple[str, ...]) -> Op:
        child = self.children.pop(0)
        if not self.timed:
            return Op('spawn', [child])
        if 'Group' in within and self.chance(0.85):
            return Op('gspawn', [child])
        return Op(self.random.choices(('spawn', 'eager', 'stillborn'), (12, 4, 1))[0], [child])

    def op_of_block(self, verb: str, depth: int, within: tuple[str, ...]) -> Op:
        args = {'Timeout': self.deadline, 'Shield': self.deadline, 'Group': list,
                'Lock': lambda: self.args('lleave', within),
                'Permit': lambda: [self.pick(2)]}[verb]()
        if verb == 'Shield' and args[0] <= 0:
            args = [self.us()]
        if verb == 'Lock':
            self.lock = args[0]
        body = self.block(depth + 1, self.random.randint(1, 4), (*within, verb))
        return Op(verb, args, body=body)

    def deadline(self) -> list[int]:
        dice = self.random.random()
        if dice < 0.1:
            return [0 if dice < 0.05 and self.timed else -1]
        return [self.us() * self.random.randint(1, 3)]

    def pick(self, n: int) -> int:
        """One of n; in mode ordered rather the first, for many to meet there."""
        return self.random.randrange(n) if self.timed or self.chance(0.4) else 0

    def args(self, verb: str, within: tuple[str, ...]) -> list[int]:
        pick = self.pick
        if verb == 'sleep':
            return [self.us()]
        if verb in ('eset', 'eclear', 'epulse', 'ewait'):
            return [pick(EVENTS)]
        if verb == 'cwait':
            return [pick(CONDITIONS)]
        if verb == 'cnotify':
            return [pick(CONDITIONS), pick(4)]
        if verb == 'hwait' and 'Lock' in within and self.chance(0.85):
            return [self.lock]
        if verb in ('lleave', 'hwait'):
            return [pick(LOCKS)]
        if verb == 'hnotify':
            return [pick(LOCKS), pick(3)]
        if verb in ('put', 'tryput'):
            return [pick(2) if self.timed else 0, self.random.randint(1, 999)]
        if verb in ('get', 'tryget'):
            return [pick(2) if self.timed else 0]
        if verb == 'fset':
            return [pick(FUTURES), self.random.choice((7, 8, -9))]
        if verb in ('fdrop', 'fawait'):
            return [pick(FUTURES)]
        if verb == 'cancel' and not self.timed:
            return [self.random.choice([i for i in self.leaves if i != self.id])]
        if verb == 'cancel' and self.chance(0.15):
            return [self.id]
        if verb in ('cancel', 'cancelling', 'done', 'hook'):
            return [pick(self.n)]
        return []

    def join(self, verb: str) -> Op | None:
        """Without cycles a task awaits only those after it."""
        if self.cyclic and verb == 'waitfor':
            return None
        ids = list(range(0 if self.cyclic else self.id + 1, self.n))
        if not ids:
            return None
        # Rather its own children: they have been started.
        ids.sort(key=lambda i: self.random.random() + (self.parents[i] == self.id))
        ids = ids[-self.random.randint(1, JOINS[verb]):]
        self.random.shuffle(ids)
        head = {'waitfor': [], 'gather': [self.random.randrange(2)],
                'wait': [self.random.randrange(3), *self.deadline()]}.get(verb, [])
        return Op(verb, [*head, *ids, *(self.deadline() if verb == 'waitfor' else [])])


def generate(seed: int, mode: str) -> Program:
    return Generator(seed, mode).program()
