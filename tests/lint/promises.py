#!/usr/bin/python3 -B
"""daemon/co/README.md names the tests that prove each feature: they must be there.

A line's last column holds `file: test, test; file: test`, or a folder under tests.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = ROOT / 'daemon/co/README.md'


def tests_of(name):
    """The names that the test program registers."""
    path = ROOT / 'tests/unit/co' / f'{name}.c'
    return set(re.findall(r'cmocka_unit_test\w*\(\s*(\w+)', path.read_text())) if path.exists() else None


def faults():
    for number, line in enumerate(TABLE.read_text().splitlines(), 1):
        if not line.startswith('| ') or line.startswith('| asyncio |'):
            continue
        where = f'{TABLE.relative_to(ROOT)}:{number}'
        for proof in line.strip('| ').split(' | ')[-1].split(';'):
            name, _, listed = proof.strip().partition(':')
            if name.startswith('tests/'):
                if not (ROOT / name).exists():
                    yield f'{where}: there is no {name}'
                continue
            there = tests_of(name)
            if there is None or not listed:
                yield f'{where}: {name} is no test program, or no test of it is named'
                continue
            for test in listed.split(','):
                if test.strip() not in there:
                    yield f'{where}: {name} has no test {test.strip()}'


found = list(faults())
print('\n'.join(found))
sys.exit(bool(found))
