"""A small SSE service for ASGI servers (uvicorn, also with workers). ``/clean`` releases everything, ``/object``
retains one object per connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

KEPT: list[object] = []


class Kept:
    __slots__ = ("held",)


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/object":
        KEPT.append(Kept())  # planted object
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"data: hello\n\n", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass
