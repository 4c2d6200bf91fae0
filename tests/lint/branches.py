#!/usr/bin/python3 -B
"""What the runtime's objects and programs say about protected branches (readelf -n).

    tests/lint/branches.py BUILD

The linker marks a program with what all its parts have in common.
- x86-64: C has IBT and SHSTK (-fcf-protection=full). The switch goes on where another call would have
  returned, at which a shadow stack faults: its object has neither mark, so no program of ours gets one.
- aarch64: C has BTI and PAC (-mbranch-protection=standard). The switch has landing pads and parks its
  return address as it is: BTI.
- With -Dco_switch=ucontext the switch is libc's, which knows shadow stacks: all have all.

Prints a line for each fault.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# By machine: the marks of C, those of the switch in assembly, the linker of a cross build.
MACHINES = {
    'X86-64': ({'IBT', 'SHSTK'}, set(), 'x86_64-linux-gnu-ld'),
    'AArch64': ({'BTI', 'PAC'}, {'BTI'}, 'aarch64-linux-gnu-ld'),
}


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def marks(path):
    found = re.search(r'(?:x86|AArch64) feature: ([A-Z, ]+)', run('readelf', '-nW', path))
    return set(found[1].strip().split(', ')) if found else set()


def landing_faults(path):
    """x86-64: every function begins with endbr64; the jump to where a call returns is notrack."""
    code = run('objdump', '-d', '--no-show-raw-insn', path)
    for name, first in re.findall(r'^[0-9a-f]+ <(\w+)>:\n\s*[0-9a-f]+:\s*(\S+)', code, re.M):
        if first != 'endbr64':
            yield f'{path}: {name} begins with {first}, not endbr64'
    if not re.search(r'notrack jmp \*%rcx', code):
        yield f'{path}: no notrack jmp to where the other context goes on'


def faults(build):
    objects = sorted((build / 'libbaedal.a.p').glob('daemon_co_*.o'))
    machine = next(m for m in MACHINES if m in run('readelf', '-hW', objects[0]))
    of_c, of_switch, linker = MACHINES[machine]
    assembly = [o for o in objects if o.name.endswith('.S.o')]
    for path in objects:
        expected = of_switch if path in assembly else of_c
        if marks(path) != expected:
            yield f'{path}: {marks(path)}, not {expected}'
    common = of_switch if assembly else of_c
    with tempfile.NamedTemporaryFile(suffix='.o') as linked:
        run(shutil.which(linker) or 'ld', '-r', '-o', linked.name, *objects)
        if marks(linked.name) != common:
            yield f'linked: {marks(linked.name)}, not {common}'
    # What else there is in a program, as the C library's start, may have fewer.
    for path in filter(pathlib.Path.exists, (build / 'baedald', build / 'tests/unit/test-co_switch')):
        if marks(path) - common:
            yield f'{path}: {marks(path)}, more than {common}'
    for path in assembly:
        if machine == 'X86-64':
            yield from landing_faults(path)


def main():
    found = list(faults(pathlib.Path(sys.argv[1])))
    print(*found, sep='\n', end='\n' if found else '')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
