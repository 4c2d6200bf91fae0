#!/usr/bin/python3 -B
"""Each file here is a mistake that the compiler must find.

    check.py COMPILER...      gcc, clang

The comment at a file's top says for each compiler what the diagnostic has to say, a regular
expression; `compiles` is said by one that must compile. A file that does not name a compiler
compiles there: only clang knows which functions suspend. The examples must compile as well.
"""
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# gcc finds no return where the call in it was refused.
FLAGS = ['-std=gnu11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Wno-return-type', '-Werror',
         '-I', str(ROOT), '-c', '-o', '/dev/null']
EXTRA = {'gcc': [], 'clang': ['-Wthread-safety']}
SAYS = re.compile(r'^ \* (gcc|clang): (.+)$', re.M)


def fault(path, compiler):
    """What is wrong with the compiler's judgement of a file, or None."""
    expected = dict(SAYS.findall(path.read_text())).get(compiler)
    done = subprocess.run([compiler, *FLAGS, *EXTRA[compiler], path], stderr=subprocess.PIPE,
                          text=True, env={'PATH': '/usr/bin:/bin', 'LC_ALL': 'C'})
    if not expected:
        return f'does not compile:\n{done.stderr}' if done.returncode else None
    if done.returncode == 0:
        return 'compiles'
    errors = [line for line in done.stderr.splitlines() if ' error: ' in line]
    if len(errors) != 1 or not re.search(expected, errors[0]):
        return f'not one error that says "{expected}":\n{done.stderr}'
    return None


def main():
    faults = ran = 0
    for path in sorted(HERE.glob('*.c')) + sorted(ROOT.glob('tests/examples/*.c')):
        text = path.read_text()
        assert SAYS.search(text) or path.parent != HERE or '\n * compiles\n' in text, path
        for compiler in sys.argv[1:]:
            found = fault(path, compiler)
            ran += 1
            if found:
                faults += 1
                print(f'{path.name}, {compiler}: {found}')
    print(f'{ran} files compiled, {faults} faults')
    return 1 if faults or not ran else 0


if __name__ == '__main__':
    sys.exit(main())
