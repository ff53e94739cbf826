"""A small HTTP/1.1 server that keeps connections alive. usage: plain_http.py PORT [healthy|leak]"""

from __future__ import annotations

import asyncio
import os
import sys

KEPT: list[int] = []


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request of one connection; ``leak``: one eventfd for each connection."""
    try:
        first = True
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if first and sys.argv[2:] == ["leak"]:
                KEPT.append(os.eventfd(0))
            first = False
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
            if b"connection: close" in head.lower():
                return
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main() -> None:
    """Listen for ever."""
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await server.serve_forever()


asyncio.run(main())
