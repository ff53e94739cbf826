"""One client's stream of events: ask, send, wait, again, until the client leaves."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.types import ASGIApp

from harness.reference.counters import Counters
from harness.reference.health import HealthService

JITTER = 0.02  # share of the interval; clients that came together drift apart
Events = AsyncIterator[ServerSentEvent]
Respond = Callable[[Events, float], ASGIApp]
"""(events, keep-alive interval in seconds) → the response."""


class Streams:
    """Counts the streams; knows nothing else about them, and can end none."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters

    def opened(self) -> int:
        """A stream begins; its number."""
        self.counters.add("streams.opened")
        return self.counters["streams.opened"]

    def closed(self, number: int) -> None:
        """A stream is over."""
        self.counters.add("streams.closed")

    async def pause(self, number: int, seconds: float) -> bool:
        """Wait until the next tick; False when the stream is to end instead."""
        await asyncio.sleep(seconds)
        return True

    def end_all(self) -> None:
        """The service ends; without a registry there is nobody to tell."""


async def events(
    kind: str,
    health: HealthService,
    streams: Streams,
    *,
    interval: float,
    rng: random.Random,
    last_id: int = 0,
    padding: int = 0,
) -> Events:
    """The events of one stream. kind: ``dashboard`` or ``status``. Ids count up from ``last_id``.
    padding: bytes added to each payload."""
    number = streams.opened()
    try:
        while True:
            await health.ask_all(kind)
            payload: dict[str, Any] = health.dashboard() if kind == "dashboard" else health.status()
            if padding:
                payload["padding"] = "x" * padding
            last_id += 1
            yield ServerSentEvent(
                json.dumps(payload, separators=(",", ":")), event=f"{kind}-update", id=str(last_id)
            )
            health.counters.add("events.sent")
            if not await streams.pause(number, interval * rng.uniform(1 - JITTER, 1 + JITTER)):
                return
    finally:
        streams.closed(number)


def respond(content: Events, keep_alive: float) -> ASGIApp:
    """The plain way: sse-starlette writes each event at once and watches for the client's leave."""
    return EventSourceResponse(
        content, ping=keep_alive, ping_message_factory=lambda: ServerSentEvent(comment="keep-alive")
    )


def last_event_id(request: Request) -> int:
    """Where a client that reconnects left off; 0 for one that does not say, or says nonsense."""
    value = request.headers.get("last-event-id", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else 0
