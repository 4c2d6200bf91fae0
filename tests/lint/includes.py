#!/usr/bin/python3 -B
"""Calls go down: which folder may include what, and where each foreign library lives.

The table is that of DESIGN.md, section 3, folders. Prints a line for each include that breaks it.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Project headers by folder: prefixes of what it may include beside its own.
FOLDERS = {
    'daemon/base': [],
    'daemon/model': ['daemon/base/'],
    'daemon/co': ['daemon/base/'],
    'daemon/transfer': ['daemon/base/', 'daemon/co/', 'daemon/model/'],
    'daemon/store': ['daemon/base/', 'daemon/co/', 'daemon/model/'],
    'daemon/engine': ['daemon/base/', 'daemon/co/', 'daemon/model/', 'daemon/transfer/',
                      'daemon/store/'],
    'api': ['daemon/base/', 'daemon/co/', 'daemon/model/', 'daemon/engine/'],
    # The headers that hold each module's struct x_options.
    'config': ['daemon/base/', 'api/server.h', 'daemon/engine/service.h', 'daemon/store/store.h',
               'daemon/transfer/egress.h', 'daemon/transfer/transfer.h'],
}

# Behind these everybody sees one face only.
FACES = {
    'daemon/co/': {'daemon/co/co.h', 'daemon/co/task.h', 'daemon/co/scope.h', 'daemon/co/sync.h',
                   'daemon/co/wait.h', 'daemon/co/info.h', 'daemon/co/suspends.h'},
    'daemon/engine/': {'daemon/engine/service.h'},
    'daemon/store/': {'daemon/store/store.h'},
    'daemon/transfer/': {'daemon/transfer/transfer.h', 'daemon/transfer/egress.h'},
    'api/': {'api/server.h'},
    'config/': {'config/config.h'},
}

# Foreign headers by prefix, and the files that are their home.
HOMES = {
    'event2/': {'daemon/base/loop.c', 'daemon/base/loop.h'},
    'dwarf.h': {'daemon/base/debuginfo_libdw.c'},
    'elfutils/': {'daemon/base/debuginfo_libdw.c'},
    'systemd/': {'daemon/base/log.c', 'daemon/base/notify.c'},
    'curl/': {'daemon/transfer/easy.h', 'daemon/transfer/egress_url.c', 'daemon/transfer/lines.h',
              'daemon/transfer/outcome.h', 'daemon/transfer/pump.c',
              'daemon/transfer/redirect.c', 'daemon/transfer/transfer.c'},
    'seccomp.h': {'daemon/transfer/sandbox.c'},
    'ares': {'daemon/transfer/resolve.c'},
    'sqlite3.h': {'daemon/store/sqlite_schema.h', 'daemon/store/sqlite_statement.h'},
    'microhttpd.h': {'api/answer.c', 'api/connection.c', 'api/server.c'},
    'openssl/': {'api/digest.c'},
    'jansson.h': {'api/codec_json.h', 'api/shape.h'},
    'libconfig.h': {'config/source.h'},
    'sanitizer/': {'daemon/co/sanitizer.h'},
    'valgrind/': {'daemon/co/sanitizer.h'},
}

LIBC_FOLDERS = ('arpa/', 'asm/', 'linux/', 'net/', 'netinet/', 'sys/')
LIBC = set('''
    alloca assert complex ctype dirent dlfcn elf endian errno execinfo fcntl fenv float fnmatch getopt
    glob grp inttypes iso646 langinfo libgen limits link locale malloc math memory netdb poll pthread
    pwd regex sched search semaphore setjmp signal spawn stdalign stdarg stdatomic stdbool stddef
    stdint stdio stdlib stdnoreturn string strings syslog termios threads time uchar ucontext unistd
    utime wchar wctype
    '''.split())

# model is pure: no I/O and no clock of its own.
IMPURE = {'fcntl', 'unistd', 'poll', 'dirent', 'pthread', 'threads', 'netdb', 'signal', 'spawn'}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def folder_of(path):
    return next((f for f in FOLDERS if path.startswith(f + '/')), None)


def project_fault(path, folder, header):
    if header.startswith(folder + '/'):
        return None
    if '/' not in header or not (ROOT / header).exists():
        return f'"{header}" is not a path from the root of the repository'
    if not header.startswith(tuple(FOLDERS[folder])):
        return f'{folder} must not include "{header}"'
    face = next((shown for prefix, shown in FACES.items() if header.startswith(prefix)), None)
    if face and header not in face:
        return f'"{header}" is an inner header of its folder'
    return None


def foreign_fault(path, folder, header):
    for prefix, homes in HOMES.items():
        if header.startswith(prefix):
            home = any(path == h or (h.endswith('/') and path.startswith(h)) for h in homes)
            return None if home else f'<{header}> has its home in {", ".join(sorted(homes))}'
    name = header.removesuffix('.h')
    if not header.startswith(LIBC_FOLDERS) and name not in LIBC:
        return f'<{header}> is no known header; a foreign one needs a home in tests/lint/includes.py'
    if folder == 'daemon/model' and (header.startswith(LIBC_FOLDERS) or name in IMPURE):
        return f'model is pure and must not include <{header}>'
    return None


def faults(path):
    folder = folder_of(path)
    for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        check = project_fault if match[1] == '"' else foreign_fault
        fault = check(path, folder, match[2])
        if fault:
            yield f'{path}:{number}: {fault}'


def main():
    paths = sorted(str(p.relative_to(ROOT)) for top in ('daemon', 'api', 'config')
                   for p in (ROOT / top).rglob('*') if p.suffix in ('.c', '.h', '.S'))
    outside = [p for p in paths if not folder_of(p) and p != 'daemon/main.c']
    found = [f'{p}: its folder is not in the table of tests/lint/includes.py' for p in outside]
    for path in paths:
        if folder_of(path):
            found += faults(path)
    print('\n'.join(found) if found else f'{len(paths)} files')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
