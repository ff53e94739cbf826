"""A stream of events at a Unix socket or an IPv6 address: python sse_at.py PATH|HOST%ZONE PORT [AUTHORIZATION].

With AUTHORIZATION it answers 401 to any other.
"""

from __future__ import annotations

import asyncio
import sys

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
WANTED = sys.argv[3].encode() if len(sys.argv) > 3 else b""


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        if WANTED and b"authorization: " + WANTED.lower() not in head.lower():
            writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(HEAD)
        number = 0
        while not reader.at_eof():
            number += 1
            writer.write(b"id: %d\ndata: x\n\n" % number)
            await writer.drain()
            await asyncio.sleep(0.02)
    except (OSError, EOFError):
        pass
    finally:
        writer.close()


async def main() -> None:
    place, port = sys.argv[1], int(sys.argv[2])
    if "/" in place:
        server = await asyncio.start_unix_server(answer, place)
    else:
        server = await asyncio.start_server(answer, place, port)
    await server.serve_forever()


asyncio.run(main())
