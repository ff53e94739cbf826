"""Progress to every subscriber, on FastAPI and uvicorn.

With LEAKY=1 a disconnected subscriber stays on the list: one queue per connection, for ever.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

LEAKY = os.environ.get("LEAKY") == "1"
subscribers: set[asyncio.Queue[str]] = set()


async def publish() -> None:
    """Ten items a second; a subscriber who is too slow misses some."""
    number = 0
    while True:
        await asyncio.sleep(0.1)
        number += 1
        for queue in subscribers:
            if not queue.full():
                queue.put_nowait(f"item {number}")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """The publisher lives as long as the app."""
    task = asyncio.create_task(publish())
    yield
    task.cancel()


app = FastAPI(lifespan=lifespan)


async def stream() -> AsyncIterator[str]:
    """One subscriber's events."""
    queue: asyncio.Queue[str] = asyncio.Queue(maxsize=10)
    subscribers.add(queue)
    try:
        yield "data: hello\n\n"
        while True:
            yield f"data: {await queue.get()}\n\n"
    finally:
        if not LEAKY:
            subscribers.discard(queue)


@app.get("/events")
async def events() -> StreamingResponse:
    """The stream."""
    return StreamingResponse(stream(), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
