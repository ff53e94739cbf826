"""An asyncio service of event streams with one behaviour, by its name. usage: service.py PORT BEHAVIOUR"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys

PORT, BEHAVIOUR = int(sys.argv[1]), sys.argv[2]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull"
KEPT: list[int] = []
TENANTS: dict[int, int] = {}
COUNT = itertools.count()
CAP = 700


async def ticks(writer: asyncio.StreamWriter) -> None:
    """One event every 0.1 s until the client is gone."""
    number = 0
    while not writer.is_closing():
        writer.write(b"id: %d\ndata: tick\n\n" % number)
        await writer.drain()
        number += 1
        await asyncio.sleep(0.1)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    read, write = os.pipe() if BEHAVIOUR in ("late-7", "reset", "cap-700") else (-1, -1)
    failed = False
    tenant = next(COUNT) % 90
    if BEHAVIOUR == "tenants-90" and tenant not in TENANTS:
        TENANTS[tenant] = os.open("/dev/null", os.O_RDONLY)
    try:
        await reader.readuntil(b"\r\n\r\n")
        if BEHAVIOUR == "cap-700" and len(KEPT) > CAP:
            writer.write(FULL)
            await writer.drain()
            return
        writer.write(HEAD)
        gone = asyncio.ensure_future(reader.read())
        sending = asyncio.ensure_future(ticks(writer))
        done, pending = await asyncio.wait((gone, sending), return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        failed = any(task.exception() for task in done)
    except (OSError, asyncio.IncompleteReadError):
        failed = True
    finally:
        writer.close()
        if BEHAVIOUR == "late-7":
            asyncio.get_running_loop().call_later(7.0, lambda: (os.close(read), os.close(write)))
        elif (BEHAVIOUR == "reset" and failed) or (BEHAVIOUR == "cap-700" and len(KEPT) <= CAP):
            os.close(read)
            KEPT.append(write)
        elif read >= 0:
            os.close(read)
            os.close(write)


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", PORT, backlog=512)
    async with server:
        await server.serve_forever()


asyncio.run(main())
