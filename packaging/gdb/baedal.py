"""gdb commands for the coroutines of baedald, on a live process and on a core file.

    co tasks            every task: what it waits for, since when, its stack, where it is
    co bt SLOT|NAME     the frames of one task, or of all whose names begin so
    co bt all           those of all tasks

Load it with `source baedal.py` or `gdb -x baedal.py`. It needs the program's debug information. The
frames are those that the frame pointers lead to: registers can't be set on a core file.
"""
import time

import gdb

POINTER = 8
MARK_UNIT = 16                # FRAME_MARK() in daemon/co/runtime.h
MARKED_SIZE = MARK_UNIT << 16
FRAMES_MAX = 200
PC_BITS = (1 << 48) - 1       # above are the signatures of return addresses on aarch64

# Where co_switch() saves pc and frame pointer, from the saved stack pointer up: daemon/co/switch_*.S.
SAVED = {'x86-64': (6, 5), 'aarch64': (11, 10)}
# The same within ucontext_t.
REGISTERS = {'x86-64': ('gregs', 16, 10), 'aarch64': ('regs', None, 29)}


def enum_value(name):
    return int(gdb.parse_and_eval(name))


def word(address):
    memory = gdb.selected_inferior().read_memory(address, POINTER)
    return int.from_bytes(bytes(memory), 'little')


def processor():
    name = gdb.selected_inferior().architecture().name()
    return 'x86-64' if 'x86-64' in name else name.split(':')[0]


def uses_ucontext():
    """Whether the program was built with co_switch=ucontext."""
    symbol = gdb.lookup_static_symbol('co_switch_entry')
    return symbol is not None and symbol.symtab.filename.endswith('switch_ucontext.c')


def saved_place(context):
    """pc and frame pointer of a parked context."""
    cpu = processor()
    if uses_ucontext():
        kind = gdb.lookup_type('ucontext_t').pointer()
        machine = gdb.Value(context).cast(kind).dereference()['uc_mcontext']
        array, pc, fp = REGISTERS[cpu]
        return int(machine[array][pc] if pc is not None else machine['pc']), int(machine[array][fp])
    pc, fp = SAVED[cpu]
    return word(context + pc * POINTER), word(context + fp * POINTER)


def find_loops():
    """The runtimes of all threads, each with its thread."""
    found = []
    selected = gdb.selected_thread()
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        try:
            loop = gdb.parse_and_eval('co_thread_loop')
        except gdb.error:
            continue
        if int(loop) != 0:
            found.append((loop.dereference(), thread))
    if selected is not None:
        selected.switch()
    if not found:
        raise gdb.GdbError('no thread runs coroutines, or the debug information is not there')
    return found


def live():
    connection = gdb.selected_inferior().connection
    return connection is not None and connection.type == 'native'


class Task:
    def __init__(self, loop, thread, fiber):
        self.loop = loop
        self.thread = thread
        self.address = int(fiber)
        self.fiber = fiber.dereference()
        self.slot = int(self.fiber['handle']['slot'])
        self.id = f"{self.slot}.{int(self.fiber['handle']['gen'])}"
        self.name = self.fiber['name'].string(errors='replace')
        self.runs = int(loop['current']) == self.address
        state = int(self.fiber['state'])
        self.waits = state == enum_value('FIBER_PARKED')
        self.state = ('running' if state == enum_value('FIBER_RUNNING') else
                      'waiting' if self.waits else 'ready')

    def awaits(self):
        if not self.waits:
            return ''
        kind = gdb.lookup_type('enum co_awaits')
        name = str(gdb.Value(int(self.fiber['awaits'])).cast(kind))
        return name.removeprefix('CO_AWAITS_').lower()

    def waited(self):
        """Seconds; in a core file up to the last turn of the loop."""
        if not self.waits:
            return None
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) if live() else int(self.loop['now_ns'])
        return max(0, now - int(self.fiber['since_ns'])) / 1e9

    def stack_bytes(self):
        """From where it is parked to the top, where its block is."""
        end = self.address + self.fiber.type.sizeof
        return None if self.runs else end - int(self.fiber['sp'])

    def awaited(self):
        """The addresses of the tasks that it waits for."""
        if not self.waits:
            return []
        join, group = self.fiber['join'], self.fiber['joined']
        found = []
        if int(join):
            found += self._pending(join['members'], int(join['n']))
        elif self.awaits() == 'tasks':
            completed = self.fiber['object'].cast(gdb.lookup_type('struct co_completed').pointer())
            found += self._pending(completed['members'], int(completed['n']))
        if int(group):
            found += self._children(group)
        return found

    def _pending(self, members, n):
        slots = self.loop['slots']
        return [int(slots[int(members[i]['task']['slot'])]['fiber'])
                for i in range(n) if members[i]['pending']]

    def _children(self, group):
        kind = gdb.lookup_type('struct fiber')
        offset = next(f.bitpos // 8 for f in kind.fields() if f.name == 'sibling')
        end, found = group['children'].address, []
        node = group['children']['next']
        while int(node) != int(end):
            found.append(int(node) - offset)
            node = node['next']
        return found

    def _marked(self, field):
        frame = (self.address & ~(MARKED_SIZE - 1)) + int(self.fiber[field]) * MARK_UNIT
        return frame if frame < self.address else frame - MARKED_SIZE

    def _up(self, fp):
        """The caller's pc and frame pointer; None where the chain ends or leaves the stack."""
        if not int(self.fiber['sp']) <= fp <= self.address - 2 * POINTER or fp % POINTER:
            return None
        caller = word(fp)
        return (word(fp + POINTER), caller) if caller > fp else None

    def frames(self):
        """The program's return addresses, innermost first; see daemon/co/backtrace.c."""
        if not int(self.fiber['outer']):
            return [int(self.fiber['fn']) + 1]
        inner, outer = self._marked('inner'), self._marked('outer')
        place = saved_place(int(self.fiber['sp']))
        while place and place[1] <= inner:
            place = self._up(place[1])
        found = []
        while place and place[1] < outer and len(found) < FRAMES_MAX:
            found.append(place[0] & PC_BITS)
            place = self._up(place[1])
        return found or [int(self.fiber['fn']) + 1]

    def running_frames(self):
        """gdb's own frames of the thread that the task runs on."""
        selected = gdb.selected_thread()
        self.thread.switch()
        frame, found = gdb.newest_frame(), []
        while frame is not None and frame.name() != 'fiber_main' and len(found) < FRAMES_MAX:
            # All but the innermost one are at return addresses.
            found.append(frame.pc() + (1 if not found else 0))
            frame = frame.older()
        selected.switch()
        return found

    def places(self):
        return [place_text(pc) for pc in (self.running_frames() if self.runs else self.frames())]

    def describe(self):
        text = f'{self.id:<9} {self.name}: '
        if self.waits:
            text += f'waits for {self.awaits()} since {self.waited():.3f} s'
        else:
            text += self.state
        if self.fiber['cancelled']:
            text += ', cancelled'
        if not self.runs:
            text += f', {self.stack_bytes()} B of stack'
        return text


def functions_at(pc):
    """The functions whose code is there: those that were inlined, and the one that they are in."""
    found = []
    try:
        block = gdb.block_for_pc(pc)
    except (gdb.error, RuntimeError):
        block = None
    while block is not None and not block.is_global and not block.is_static:
        if block.function is not None:
            found.append(block.function.name)
        block = block.superblock
    return found


def place_text(return_address):
    """function (file:line) of the call that returns there."""
    pc = return_address - 1
    line, names = gdb.find_pc_line(pc), functions_at(pc)
    if not names:
        symbol = gdb.execute(f'info symbol {pc:#x}', to_string=True).split(' in section')[0]
        names = [f'{pc:#x}' if symbol.startswith('No symbol') else symbol.strip()]
    text = names[0]
    if line.symtab is not None:
        text += f' ({line.symtab.filename.lstrip("./")}:{line.line})'
    return ', inlined in '.join([text, *names[1:]])


def all_tasks():
    tasks = []
    for loop, thread in find_loops():
        task_kind = enum_value('SLOT_TASK')
        for i in range(int(loop['n_slots'])):
            slot = loop['slots'][i]
            if int(slot['kind']) == task_kind:
                tasks.append(Task(loop, thread, slot['fiber']))
    return tasks


def write_tree(tasks):
    """Below each task those that it waits for; each is described once."""
    by_address = {task.address: task for task in tasks}
    edges = {task.address: task.awaited() for task in tasks}
    awaited = {address for list_of_one in edges.values() for address in list_of_one}
    shown = set()

    def write(root):
        pending = [(root, 0)]
        while pending:
            task, depth = pending.pop()
            indent = '  ' * min(depth, 20)
            if task.address in shown:
                print(f'{indent}{task.id:<9} {task.name}: see above')
                continue
            shown.add(task.address)
            where = '' if task.runs else f', in {place_text(task.frames()[0])}'
            print(f'{indent}{task.describe()}{where}')
            pending += [(by_address[a], depth + 1) for a in reversed(edges[task.address])]

    print(f'{len(tasks)} tasks')
    for task in tasks:
        if task.address not in awaited:
            write(task)
    for task in tasks:
        if task.address not in shown:
            write(task)


class Coroutines(gdb.Command):
    """Coroutines: co tasks, co bt SLOT|NAME, co bt all."""

    def __init__(self):
        super().__init__('co', gdb.COMMAND_STACK, prefix=True)


class Tasks(gdb.Command):
    """co tasks: every task, below those that wait for it."""

    def __init__(self):
        super().__init__('co tasks', gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        write_tree(all_tasks())


class Backtrace(gdb.Command):
    """co bt SLOT|NAME|all: the frames of tasks; NAME is how their names begin."""

    def __init__(self):
        super().__init__('co bt', gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        wanted = argument.strip()
        if not wanted:
            raise gdb.GdbError('co bt needs the slot or the name of a task, or "all"')
        tasks = [t for t in all_tasks() if wanted in ('all', str(t.slot), t.id)
                 or t.name.startswith(wanted)]
        if not tasks:
            raise gdb.GdbError(f'there is no task {wanted}')
        for task in tasks:
            print(task.describe())
            for number, place in enumerate(task.places()):
                print(f'  #{number:<3} {place}')


Coroutines()
Tasks()
Backtrace()
