"""Which of these ports of 127.0.0.1 are open? At most 100 are tried at once.

    portscan.py SECONDS PORT...      how long each may take
"""
import asyncio
import sys

TIMEOUT = float(sys.argv[1])
PORTS = [int(port) for port in sys.argv[2:]]
gate = asyncio.Semaphore(100)


async def scan(port):
    async with gate:
        try:
            async with asyncio.timeout(TIMEOUT):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
        except TimeoutError:
            return "silent"
        except OSError:
            return "closed"
        writer.close()
        return "open"


async def main():
    found = await asyncio.gather(*(scan(port) for port in PORTS))
    for port, state in zip(PORTS, found):
        print(port, state)


asyncio.run(main())
