"""A process of its own that holds many connections to a port, each with a part of a request.

    /usr/bin/python3 -m tests.fault.halfopen PORT COUNT

Says how many it has, then holds them until its standard input ends.
"""

import socket
import sys

PART = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Never-"


def main():
    port, count = int(sys.argv[1]), int(sys.argv[2])
    held = []
    for _ in range(count):
        sock = socket.socket()
        sock.settimeout(10)
        try:
            sock.connect(("127.0.0.1", port))
            sock.sendall(PART % port)
            held.append(sock)
        except OSError:
            sock.close()
    print(len(held), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
