"""An SSE service on asyncio: ``asyncio_orders.py PORT LEAK`` keeps one thing for each stream."""

from __future__ import annotations

import asyncio
import collections
import functools
import sys


class Subscriber:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[str] = asyncio.Queue()


class Hub:
    """What each leak keeps, and where."""

    def __init__(self) -> None:
        self.subscribers: list[Subscriber] = []
        self.tasks: set[asyncio.Task[object]] = set()
        self.names: dict[int, str] = {}
        self.history: collections.deque[bytearray] = collections.deque()
        self.stopped = asyncio.Event()
        self.callbacks: dict[str, list[object]] = {"closed": []}

    def subscriber(self) -> None:
        self.subscribers.append(Subscriber())  # planted subscriber

    async def heartbeat(self) -> None:
        await self.stopped.wait()  # planted task

    def task(self) -> None:
        self.tasks.add(asyncio.ensure_future(self.heartbeat()))

    def library_task(self) -> None:
        self.tasks.add(asyncio.ensure_future(asyncio.Queue().get()))  # planted library_task

    def name(self) -> None:
        self.names[len(self.names)] = f"stream {len(self.names)} of this service"  # planted name

    def event(self) -> None:
        self.history.append(bytearray(2048))  # planted event

    def callback(self) -> None:
        self.callbacks["closed"].append(functools.partial(print, object()))  # planted callback

    def sleeper(self) -> None:
        self.tasks.add(asyncio.ensure_future(asyncio.sleep(1e6)))  # planted sleeper


async def main() -> None:
    hub = Hub()
    leak = getattr(hub, sys.argv[2])

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            leak()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            writer.write(b"data: hello\n\n")
            await writer.drain()
            await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", int(sys.argv[1]), backlog=128)
    await server.serve_forever()


asyncio.run(main())
