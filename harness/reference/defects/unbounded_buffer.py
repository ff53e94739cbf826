"""Events are queued without waiting for the reader, and a queue is kept until it is empty.

Events are padded and the kernel's send buffer is small here, so that a reader that stalls for a second
is enough to see it.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import deque

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harness.reference.blueprint import Blueprint

SUMMARY = "writes without waiting for the reader, into a queue per client without a limit"
SEEN = "memory per stalled reader: a queue that never empties is never dropped"

PADDING = 64 << 10  # bytes added to each event
SEND_BUFFER = 16 << 10  # bytes of SO_SNDBUF; the kernel doubles it


class UnboundedBuffer:
    """A queue per client and a task that empties it. The client is forgotten when its queue is empty."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.queues: dict[int, deque[Message]] = {}
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One client's stream."""
        number = next(self._numbers)
        waiting = self.queues.setdefault(number, deque())
        filled = asyncio.Event()

        async def enqueue(message: Message) -> None:
            waiting.append(message)
            filled.set()

        async def drain() -> None:
            while True:
                while waiting:
                    await send(waiting[0])
                    waiting.popleft()
                filled.clear()
                await filled.wait()

        async def receive_and_cancel() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                # The client has disconnected: nothing of its queue can be written, so the queue never becomes empty.
                drainer.cancel()
            return message

        drainer = asyncio.create_task(drain())
        try:
            await self.app(scope, receive_and_cancel, enqueue)
        finally:
            drainer.cancel()
            if not waiting:
                del self.queues[number]


def install(blueprint: Blueprint) -> None:
    """Wrap the responses of the streams."""
    blueprint.middleware["unbounded-buffer"] = UnboundedBuffer
    blueprint.payload_padding = max(blueprint.payload_padding, PADDING)
    blueprint.listen.append((socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER))
