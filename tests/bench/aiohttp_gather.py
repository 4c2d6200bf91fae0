#!/usr/bin/python3
"""aiohttp as a fetcher: every fetch a task, one gather, 100 connections.

aiohttp_gather.py REQUESTS URL..."""
import asyncio
import json
import sys
import time

import aiohttp

CONNECTIONS = 100


async def fetch(session, url):
    async with session.get(url) as response:
        return response.status, len(await response.read())


async def main(requests, urls):
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        startup_cpu = time.process_time()
        begun = time.monotonic()
        answers = await asyncio.gather(
            *(fetch(session, urls[i % len(urls)]) for i in range(requests)), return_exceptions=True)
        seconds = time.monotonic() - begun
    good = [a for a in answers if not isinstance(a, BaseException) and a[0] == 200]
    print(json.dumps({'requests': requests, 'failed': requests - len(good),
                      'bytes': sum(size for _, size in good),
                      'seconds': seconds, 'startup_cpu': startup_cpu}))


asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
