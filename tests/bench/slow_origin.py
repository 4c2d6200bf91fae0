#!/usr/bin/python3
"""An origin that answers when it is told to: slow_origin.py PORT REQUESTS HALF_BYTES

Takes requests on eight loopback addresses and prints "held" when so many are open. Each line of its
standard input is then done for all of them, and answered on standard output: "begin" sends the head
and half of the body, "end" the other half.
"""
import asyncio
import resource
import sys

from origin import ADDRESSES

BACKLOG = 8192


class Request(asyncio.Protocol):
    """A connection with one request at a time."""

    def __init__(self, held, wanted):
        self.held = held
        self.wanted = wanted
        self.received = b''

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        if self.received.endswith(b'\r\n\r\n'):
            self.received = b''
            self.held.append(self.transport)
            if len(self.held) == self.wanted:
                print('held', flush=True)


async def main(port, wanted, half):
    held = []
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Request(held, wanted), ADDRESSES, port, backlog=BACKLOG)
    print('ready', flush=True)
    head = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % (2 * half)
    while command := await loop.run_in_executor(None, sys.stdin.readline):
        for transport in held:
            transport.write(b'x' * half if command == 'end\n' else head + b'x' * half)
        print(command, end='', flush=True)


hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
asyncio.run(main(*map(int, sys.argv[1:])))
