#!/usr/bin/python3 -B
"""Runs an example and the asyncio program that it follows; both must say the same.

    check.py delivery|portscan PROGRAM
"""
import contextlib
import pathlib
import re
import socket
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
UNIT = 0.02
TOOK = re.compile(r'^took ([\d.]+)$', re.M)


def outputs(name, program, *arguments):
    """What our program printed, and the original."""
    processes = [subprocess.Popen([*command, *map(str, arguments)], stdout=subprocess.PIPE,
                                  text=True)
                 for command in ([program], ['/usr/bin/python3', HERE / f'{name}.py'])]
    texts = [process.communicate(timeout=60)[0] for process in processes]
    assert all(process.returncode == 0 for process in processes), 'an exit status is not 0'
    return texts


def check_delivery(program):
    """The same lines; the sum of the waits one after another, the longest of them gathered."""
    ours, original = outputs('delivery', program, UNIT)
    times = [float(figure) for figure in TOOK.findall(ours)]
    assert TOOK.sub('', ours) == TOOK.sub('', original), f'{ours}\nis not\n{original}'
    assert [time >= least for time, least in zip(times, (18, 9, 9), strict=True)] == [True] * 3, ours
    assert times[1] < times[0] and times[2] < times[0], ours
    delivered, collected = (re.findall(rf'^(.) {what}$', ours, re.M)
                            for what in ('delivered', 'collected'))
    assert delivered == list('ABC' * 3) and collected == list('ABCBCABCA'), ours


def silent_port(stack):
    """A port whose queue of connections is full: it answers no more."""
    server = stack.enter_context(socket.create_server(('127.0.0.1', 0), backlog=0))
    stack.enter_context(socket.create_connection(server.getsockname()))
    return server.getsockname()[1]


def closed_port(stack):
    """One that is taken, so that nobody else opens it, and does not listen."""
    taken = stack.enter_context(socket.socket())
    taken.bind(('127.0.0.1', 0))
    return taken.getsockname()[1]


def check_portscan(program):
    """More ports than are tried at once, some of each kind."""
    with contextlib.ExitStack() as stack:
        ports = {}
        for _ in range(60):
            server = stack.enter_context(socket.create_server(('127.0.0.1', 0)))
            ports[server.getsockname()[1]] = 'open'
            ports[closed_port(stack)] = 'closed'
        ports[silent_port(stack)] = 'silent'
        ours, original = outputs('portscan', program, 0.5, *ports)
    assert ours == original, f'{ours}\nis not\n{original}'
    assert ours == ''.join(f'{port} {state}\n' for port, state in ports.items()), ours


if __name__ == '__main__':
    {'delivery': check_delivery, 'portscan': check_portscan}[sys.argv[1]](sys.argv[2])
