#!/usr/bin/python3
"""asyncio, measured as co.c measures our runtime: same names, same work, same units.

    co_asyncio.py MEASURE...
"""
import asyncio
import os
import sys
import time

N_YIELDS = 200000
N_SPAWNS = 20000
N_GATHER = 10000
N_HOPS = 50000
N_TIMERS = 200000
N_THREADS = 2000
N_SLEEPS = 300
N_PARKED = 100000


def show(name, begun, n):
    print(name, '%.2f' % ((time.perf_counter_ns() - begun) / n), flush=True)


async def nothing():
    pass


async def yielder(n):
    for _ in range(n):
        await asyncio.sleep(0)


async def measure_yield(name, n):
    each = N_YIELDS // n + 1
    tasks = [asyncio.create_task(yielder(each)) for _ in range(n)]
    await asyncio.sleep(0)
    begun = time.perf_counter_ns()
    await asyncio.gather(*tasks)
    show(name, begun, (each - 1) * n)


async def measure_spawn(name):
    begun = time.perf_counter_ns()
    for _ in range(N_SPAWNS):
        await asyncio.create_task(nothing())
    show(name, begun, N_SPAWNS)


async def measure_eager(name):
    if sys.version_info < (3, 12):
        return
    loop = asyncio.get_running_loop()
    begun = time.perf_counter_ns()
    for _ in range(N_SPAWNS):
        await asyncio.Task(nothing(), loop=loop, eager_start=True)
    show(name, begun, N_SPAWNS)


async def measure_gather(name):
    for _ in range(2):  # the second time counts, as in co.c
        begun = time.perf_counter_ns()
        await asyncio.gather(*(nothing() for _ in range(N_GATHER)))
    show(name, begun, N_GATHER)


async def producer(queue):
    for _ in range(N_HOPS):
        await queue.put(queue)


async def measure_hop(name):
    queue = asyncio.Queue(1)
    task = asyncio.create_task(producer(queue))
    begun = time.perf_counter_ns()
    for _ in range(N_HOPS):
        await queue.get()
    show(name, begun, N_HOPS)
    await task


async def measure_thread(name):
    await asyncio.to_thread(int)
    begun = time.perf_counter_ns()
    for _ in range(N_THREADS):
        await asyncio.to_thread(int)
    show(name, begun, N_THREADS)


async def measure_late(name):
    seconds = 100e-6
    begun = time.perf_counter_ns()
    for _ in range(N_SLEEPS):
        await asyncio.sleep(seconds)
    show(name, begun + int(N_SLEEPS * seconds * 1e9), N_SLEEPS)


def far_seconds(i):
    """Somewhere in the second hour from now."""
    return 3600 + i * 2654435761 % 3600000 / 1000


def resident_bytes():
    with open('/proc/self/statm') as f:
        return int(f.read().split()[1]) * os.sysconf('SC_PAGESIZE')


async def measure_parked(name):
    before, begun = resident_bytes(), time.perf_counter_ns()
    tasks = [asyncio.create_task(asyncio.sleep(far_seconds(i))) for i in range(N_PARKED)]
    await asyncio.sleep(0)
    show('park', begun, N_PARKED)
    print(name, (resident_bytes() - before) // N_PARKED)
    loop = asyncio.get_running_loop()
    begun = time.perf_counter_ns()
    for i in range(N_TIMERS):
        loop.call_later(far_seconds(i), int).cancel()
        if i % 1000 == 999:
            await asyncio.sleep(0)  # the loop collects what was cancelled
    show('timer', begun, N_TIMERS)
    begun = time.perf_counter_ns()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    show('cancel', begun, N_PARKED)


MEASURES = {
    'parked': measure_parked,
    'yield': lambda name: measure_yield(name, 2),
    'yield-10k': lambda name: measure_yield(name, 10000),
    'yield-100k': lambda name: measure_yield(name, 100000),
    'spawn': measure_spawn,
    'eager': measure_eager,
    'gather': measure_gather,
    'hop': measure_hop,
    'late': measure_late,
    'thread': measure_thread,
}


async def main():
    for name, measure in MEASURES.items():
        if name in sys.argv[1:]:
            await measure(name)


asyncio.run(main())
