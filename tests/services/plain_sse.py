"""A small SSE server of the standard library, healthy or with one leak per connection.

usage: plain_sse.py PORT [healthy|eventfd|thread|file|exit-0|mute|page|not-found|rare|deaf|failing|overwhelmed]

``rare`` sends a comment at once and its first event after 60 s. From its 400th connection on ``deaf`` does not listen
any more, ``failing`` answers 500, and ``overwhelmed`` answers no client until no client has come for 4 s.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
import time

KEPT: list[object] = []
SERVERS: list[asyncio.Server] = []
CAME: dict[str, float] = {"connections": 0, "last": 0.0, "overwhelmed": 0}
MOST, QUIET_SECONDS = 400, 4.0
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def leak(kind: str) -> None:
    if kind == "eventfd":
        KEPT.append(os.eventfd(0))
    elif kind == "thread":
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    elif kind == "file":
        KEPT.append(tempfile.TemporaryFile())  # noqa: SIM115 - never closed, that is the point
    elif kind == "exit-0":
        KEPT.append(None)
        if len(KEPT) > 50:
            os._exit(0)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: str) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        leak(kind)
        if kind == "page":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nlogin")
            return
        if kind == "not-found":
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        if kind == "mute":
            await reader.read()
            return
        quiet, CAME["last"] = time.monotonic() - CAME["last"], time.monotonic()
        CAME["connections"] += 1
        if CAME["connections"] == MOST:
            CAME["overwhelmed"] = 1
            if kind == "deaf":
                SERVERS[0].close()
        elif quiet >= QUIET_SECONDS:
            CAME["overwhelmed"] = 0
        if CAME["connections"] > MOST and kind == "failing":
            writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
            return
        if kind == "overwhelmed" and CAME["overwhelmed"]:
            await reader.read()
            return
        writer.write(STREAM)
        if kind == "rare":
            writer.write(b": waiting for news\n\n")
            # It notices the departure of its client.
            if not await asyncio.wait_for(reader.read(1), 60.0):
                return
        for number in range(1000):
            writer.write(b"id: %d\ndata: x\n\n" % number)
            await writer.drain()
            await asyncio.sleep(0.02)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main() -> None:
    kind = sys.argv[2] if len(sys.argv) > 2 else "healthy"
    server = await asyncio.start_server(
        lambda r, w: serve(r, w, kind), "127.0.0.1", int(sys.argv[1]), backlog=1024
    )
    SERVERS.append(server)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
