#!/usr/bin/python3
"""requests as a fetcher: one Session, one fetch after another.

requests_session.py REQUESTS URL..."""
import json
import sys
import time

import requests


def main(count, urls):
    failed = 0
    size = 0
    with requests.Session() as session:
        startup_cpu = time.process_time()
        begun = time.monotonic()
        for i in range(count):
            response = session.get(urls[i % len(urls)])
            failed += response.status_code != 200
            size += len(response.content)
        seconds = time.monotonic() - begun
    print(json.dumps({'requests': count, 'failed': failed, 'bytes': size,
                      'seconds': seconds, 'startup_cpu': startup_cpu}))


main(int(sys.argv[1]), sys.argv[2:])
