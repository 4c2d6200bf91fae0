#!/usr/bin/python3 -B
"""A web server with latency: three origins on 127.0.0.1 to 127.0.0.3, every page takes its time.

    /page/N        page N, after 100 ms
    /after/MS/N    page N, after MS milliseconds

Prints its port when it listens; ends on SIGTERM.
"""
import asyncio
import re
import signal

ADDRESSES = ('127.0.0.1', '127.0.0.2', '127.0.0.3')
LATENCY_MS = 100
PATH = re.compile(r'^/(?:page|after/([0-9]{1,5}))/([0-9]{1,6})$')


def page(number):
    """The whole page, as bytes: another one for each number."""
    lines = ''.join(f'<p>{number} times {n} is {number * n}</p>\n' for n in range(1, 33))
    return f'<!doctype html>\n<title>Page {number}</title>\n{lines}'.encode()


async def answer(path):
    match = PATH.match(path)
    if not match:
        return '404 Not Found', b'There are /page/N and /after/MS/N.\n'
    await asyncio.sleep(int(match[1] or LATENCY_MS) / 1000)
    return '200 OK', page(int(match[2]))


async def serve_request(reader, writer):
    """One request and its answer; whether the connection stays open."""
    request, *headers = (await reader.readuntil(b'\r\n\r\n')).decode('latin-1').split('\r\n')
    fields = dict(h.lower().split(':', 1) for h in headers if ':' in h)
    await reader.readexactly(int(fields.get('content-length', 0)))
    method, path, _ = request.split(' ')
    status, body = await answer(path)
    writer.write(f'HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n'
                 f'Content-Length: {len(body)}\r\n\r\n'.encode())
    if method != 'HEAD':
        writer.write(body)
    await writer.drain()
    return fields.get('connection', '').strip() != 'close'


async def serve(reader, writer):
    try:
        while await serve_request(reader, writer):
            pass
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        pass  # the client went away, or spoke no HTTP
    finally:
        writer.close()


async def main():
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    first = await asyncio.start_server(serve, ADDRESSES[0], 0)
    port = first.sockets[0].getsockname()[1]
    for address in ADDRESSES[1:]:
        await asyncio.start_server(serve, address, port)
    print(port, flush=True)
    await stop.wait()


if __name__ == '__main__':
    asyncio.run(main())
