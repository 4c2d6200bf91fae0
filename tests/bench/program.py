"""How the programs of this folder begin and end: arguments, packages, the build."""
import argparse
import os
import signal
import subprocess
import sys

from tests.fixture.daemon import ROOT

PYTHON = '/usr/bin/python3'

# package: a command that succeeds where it is installed
PACKAGES = {
    'nginx-light': ['nginx', '-v'],
    'wrk': ['sh', '-c', 'command -v wrk'],
    'golang-go': ['go', 'version'],
    'python3-aiohttp': [PYTHON, '-c', 'import aiohttp'],
    'python3-requests': [PYTHON, '-c', 'import requests'],
    'strace': ['strace', '-V'],
    'nodejs': ['node', '--version'],
    'npm': ['npm', '--version'],
    'redis-server': ['redis-server', '--version'],
    'postgresql': ['sh', '-c', 'ls /usr/lib/postgresql/*/bin/postgres'],
}


def parser(text):
    """With what all of them take."""
    p = argparse.ArgumentParser(description=text,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--binary', type=os.path.realpath, help='a baedald that is built already')
    p.add_argument('--build', type=os.path.realpath, default=str(ROOT / 'build-bench'),
                   help='meson build directory')
    return p


def prepare(options, packages, targets=()):
    """Installs what is missing and builds the targets, and the daemon unless one is named."""
    os.environ['PATH'] += ':/usr/sbin'  # nginx, where users do not look
    _install_missing(packages)
    targets = list(targets)
    if not options.binary:
        targets.append('baedald')
        options.binary = options.build + '/baedald'
    if targets:
        _build(options.build, targets)


def _build(directory, targets):
    if not os.path.exists(directory + '/build.ninja'):
        subprocess.run(['meson', 'setup', directory, ROOT], check=True,
                       stdout=sys.stderr)
    subprocess.run(['ninja', '-C', directory, *targets], check=True, stdout=sys.stderr)


def _present(command):
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def _install_missing(packages):
    missing = [package for package in packages if not _present(PACKAGES[package])]
    if not missing:
        return
    if os.geteuid() != 0:
        raise RuntimeError('missing: apt-get install ' + ' '.join(missing))
    # Some of them start a server unless this file forbids it.
    policy = '/usr/sbin/policy-rc.d'
    ours = not os.path.exists(policy)
    if ours:
        with open(policy, 'w') as f:
            f.write('#!/bin/sh\nexit 101\n')
        os.chmod(policy, 0o755)
    try:
        for arguments in (['update'], ['install', '-y', '--no-install-recommends', *missing]):
            subprocess.run(['apt-get', *arguments], check=True, stdin=subprocess.DEVNULL,
                           stdout=sys.stderr,
                           env={**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'})
    finally:
        if ours:
            os.unlink(policy)


def main(name, function):
    """Runs it; what goes wrong becomes one line and a status, and SIGTERM leaves nothing behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        function()
    except (RuntimeError, AssertionError, OSError, subprocess.SubprocessError) as e:
        sys.exit('tests/bench/%s: %s' % (name, e))
    except KeyboardInterrupt:
        sys.exit(130)
