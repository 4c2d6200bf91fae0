#!/usr/bin/python3 -B
"""The shape of the files: their length, that of their functions, their names and words.

STYLE.md 4, 5 and 22. Prints a line for each fault.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

FILE_LINES = 600
FUNCTION_LINES = 100
NAMES = {'util', 'utils', 'misc', 'common', 'helper', 'helpers'}
# Put together here so that this file has none of them.
WORDS = re.compile('|'.join(a + b for a, b in (
    ('TO', 'DO'), ('FIX', 'ME'), (r'\bXX', r'X\b'), ('HA', 'CK'), ('for no', r'w\b'))))
CODE = {'.c', '.h', '.S', '.py', ''}
TEXTS = CODE | {'.md', '.build', '.conf', '.service', '.scd', '.txt', '.lua', '.go', '.yaml', '.html',
                '.js', '.css', '.gdb', '.sh'}


def repository_files():
    """What git has, and what it would take."""
    out = subprocess.run(['git', '-C', ROOT, 'ls-files', '-z', '--cached', '--others',
                          '--exclude-standard'], check=True, stdout=subprocess.PIPE).stdout
    return [p for p in sorted(out.decode().split('\0')) if p and (ROOT / p).is_file()]


def function_faults(path, lines):
    """A body begins with { and ends with } in the first column."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == '{':
            start = number
        elif line.startswith('}') and start is not None:
            if number - start - 1 > FUNCTION_LINES:
                yield f'{path}:{start}: a function of {number - start - 1} lines ({FUNCTION_LINES})'
            start = None


def word_faults(path, lines):
    for number, line in enumerate(lines, 1):
        match = WORDS.search(line)
        if match:
            yield f'{path}:{number}: "{match[0]}" has no place in the repository'
        if line != line.rstrip():
            yield f'{path}:{number}: space at the end of the line'


def faults(path):
    name = pathlib.PurePath(path)
    if name.stem in NAMES:
        yield f'{path}: the name says nothing'
    if name.suffix not in TEXTS or path == 'LICENSE':
        return
    text = (ROOT / path).read_text()
    lines = text.splitlines()
    if text and not text.endswith('\n'):
        yield f'{path}: no line break at the end'
    if name.suffix in CODE and len(lines) > FILE_LINES:
        yield f'{path}: {len(lines)} lines ({FILE_LINES})'
    if name.suffix == '.c':
        yield from function_faults(path, lines)
    if name.suffix == '.S' and '.note.GNU-stack' not in text:
        yield f'{path}: no .note.GNU-stack: the whole program would get an executable stack'
    if name.suffix == '.h' and '#pragma once' not in text:
        yield f'{path}: no #pragma once'
    yield from word_faults(path, lines)


def main():
    paths = repository_files()
    found = [fault for path in paths for fault in faults(path)]
    print('\n'.join(found) if found else f'{len(paths)} files')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
