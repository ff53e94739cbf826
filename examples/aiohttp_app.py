"""A clock with a heartbeat, on aiohttp.

With LEAKY=1 the heartbeat of a disconnected client continues: one task per connection, for ever.
"""

from __future__ import annotations

import asyncio
import os
import time

from aiohttp import web

LEAKY = os.environ.get("LEAKY") == "1"
heartbeats: set[asyncio.Task[None]] = set()


async def heartbeat(response: web.StreamResponse) -> None:
    """A comment every 5 s keeps proxies from closing an idle stream."""
    while True:
        await asyncio.sleep(5)
        try:
            await response.write(b": alive\n\n")
        except ConnectionError:
            if not LEAKY:
                return


async def events(request: web.Request) -> web.StreamResponse:
    """The stream."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    task = asyncio.create_task(heartbeat(response))
    heartbeats.add(task)
    try:
        while True:
            await response.write(f"data: {time.time():.3f}\n\n".encode())
            await asyncio.sleep(0.05)
    except ConnectionError:
        pass
    finally:
        if not LEAKY:
            task.cancel()
            heartbeats.discard(task)
    return response


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/events", events)
    web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), print=None, handler_cancellation=True)
