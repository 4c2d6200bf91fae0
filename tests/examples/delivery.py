"""Deliveries: one after another, gathered, and gathered although each wait blocks.

    delivery.py [SECONDS]      how long one unit of waiting is; 1
"""
import asyncio
import sys
import time

UNIT = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
ORDERS = [("A", 9), ("B", 3), ("C", 6)]


async def delivery(name, wait):
    print(f"{name} delivered")
    await asyncio.sleep(wait * UNIT)
    print(f"{name} waited {wait}")
    print(f"{name} collected")


def wait_blocking(wait):
    time.sleep(wait * UNIT)


async def delivery_blocking(name, wait):
    print(f"{name} delivered")
    await asyncio.to_thread(wait_blocking, wait)
    print(f"{name} waited {wait}")
    print(f"{name} collected")


async def one_after_another():
    for name, wait in ORDERS:
        await delivery(name, wait)


async def gathered():
    await asyncio.gather(*(delivery(name, wait) for name, wait in ORDERS))


async def gathered_blocking():
    await asyncio.gather(*(delivery_blocking(name, wait) for name, wait in ORDERS))


async def timed(title, run):
    begun = time.monotonic()
    print(f"{title}:")
    await run()
    print(f"took {(time.monotonic() - begun) / UNIT:.1f}")


async def main():
    await timed("one after another", one_after_another)
    await timed("gathered", gathered)
    await timed("gathered, on threads", gathered_blocking)


asyncio.run(main())
