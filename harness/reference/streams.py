"""One client's stream of events: check, send, wait and repeat until the client disconnects."""

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

JITTER = 0.02  # share of the interval; clients that connected together do not stay in step
Events = AsyncIterator[ServerSentEvent]
Respond = Callable[[Events, float], ASGIApp]
"""(events, keep-alive interval in seconds) → the response."""


class Streams:
    """Only counts the streams; cannot end them."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters

    def opened(self) -> int:
        """Register a stream; returns its number."""
        self.counters.add("streams.opened")
        return self.counters["streams.opened"]

    def closed(self, number: int) -> None:
        """Called when a stream has ended."""
        self.counters.add("streams.closed")

    async def pause(self, number: int, seconds: float) -> bool:
        """Wait until the next tick; False when the stream is to end instead."""
        await asyncio.sleep(seconds)
        return True

    def end_all(self) -> None:
        """Called at shutdown. Without a registry the service cannot end any stream."""


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
    """The default: sse-starlette writes each event at once and notices when the client disconnects."""
    return EventSourceResponse(
        content, ping=keep_alive, ping_message_factory=lambda: ServerSentEvent(comment="keep-alive")
    )


def last_event_id(request: Request) -> int:
    """Where a client that reconnects left off; 0 without a valid Last-Event-ID."""
    value = request.headers.get("last-event-id", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else 0
