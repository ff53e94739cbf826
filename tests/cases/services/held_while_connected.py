"""Keeps 10 kB per event as long as the stream lives, and frees it when it ends. usage: held_while_connected.py PORT"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route


async def events(_: Request) -> StreamingResponse:
    async def stream() -> AsyncIterator[str]:
        history: list[str] = []
        n = 0
        while True:
            n += 1
            history.append("x" * 10_000)
            yield f"id: {n}\ndata: {n}\n\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(stream(), media_type="text/event-stream")


async def healthy(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


if __name__ == "__main__":
    app = Starlette(routes=[Route("/events", events), Route("/healthz", healthy)])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
