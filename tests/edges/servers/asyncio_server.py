"""A small SSE server on asyncio. ``/clean`` releases everything; ``/object``, ``/bytes`` and ``/task`` retain one of
each per connection. Prints its port."""

from __future__ import annotations

import asyncio
import sys

KEPT: list[object] = []


class Kept:
    __slots__ = ("held",)


async def forgotten(never: asyncio.Event) -> None:
    await never.wait()  # planted task


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        request = await reader.readuntil(b"\r\n\r\n")
        path = request.split()[1].decode()
        if path == "/object":
            KEPT.append(Kept())  # planted object
        elif path == "/bytes":
            KEPT.append(bytearray(2048))  # planted bytes
        elif path == "/task":
            KEPT.append(asyncio.ensure_future(forgotten(asyncio.Event())))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        writer.write(b"data: hello\n\n")
        await writer.drain()
        await reader.read()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=128)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if "--uvloop" in sys.argv:
    import uvloop

    uvloop.install()
asyncio.run(main())
