"""Write each event to the connection as it comes, without buffering."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from sse_starlette import ServerSentEvent
from starlette.types import ASGIApp, Receive, Scope, Send

from harness.reference.blueprint import Blueprint
from harness.reference.streams import Events

SUMMARY = "plain writes in place of the stream writer: each event is sent at once"
ORDER = 1

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
KEEP_ALIVE = ServerSentEvent(comment="keep-alive").encode()


class PlainStream:
    """Headers at once, then one write per event, each waited for; a comment when nothing came for the
    keep-alive interval. Ends with its events, or when the client disconnects."""

    def __init__(self, content: Events, keep_alive: float) -> None:
        self.content = content
        self.keep_alive = keep_alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One client's stream."""
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        tasks = {asyncio.create_task(self._write(send)), asyncio.create_task(self._until_left(receive))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.content.aclose()  # type: ignore[attr-defined]

    async def _write(self, send: Send) -> None:
        coming: asyncio.Task[ServerSentEvent] | None = None
        try:
            while True:
                coming = coming or asyncio.create_task(self.content.__anext__())  # type: ignore[arg-type]
                await asyncio.wait({coming}, timeout=self.keep_alive)
                body = KEEP_ALIVE
                if coming.done():
                    try:
                        body = coming.result().encode()
                    except StopAsyncIteration:
                        break
                    coming = None
                await send({"type": "http.response.body", "body": body, "more_body": True})
        finally:
            if coming is not None:
                coming.cancel()
                with suppress(asyncio.CancelledError, StopAsyncIteration):
                    await coming
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    @staticmethod
    async def _until_left(receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


def plain(content: Events, keep_alive: float) -> ASGIApp:
    """See ``Respond``."""
    return PlainStream(content, keep_alive)


def install(blueprint: Blueprint) -> None:
    """Replace the response, and remove the middleware that held its bytes back."""
    blueprint.respond = plain
    blueprint.middleware.pop("no-flush", None)
