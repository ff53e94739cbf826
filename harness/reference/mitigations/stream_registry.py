"""Streams have unique ids and are closed at shutdown."""

from __future__ import annotations

import asyncio

from harness.reference.blueprint import Blueprint
from harness.reference.counters import Counters
from harness.reference.streams import Streams

SUMMARY = "a registry of streams with unique ids, which are closed at shutdown"


class StreamRegistry(Streams):
    """Knows every active stream and can tell it to end."""

    def __init__(self, counters: Counters) -> None:
        super().__init__(counters)
        self.active: dict[int, asyncio.Event] = {}

    def opened(self) -> int:
        """Register."""
        number = super().opened()
        self.active[number] = asyncio.Event()
        return number

    def closed(self, number: int) -> None:
        """Forget."""
        del self.active[number]
        super().closed(number)

    async def pause(self, number: int, seconds: float) -> bool:
        """Wait for the next tick or the end, whichever is first."""
        try:
            await asyncio.wait_for(self.active[number].wait(), seconds)
        except TimeoutError:
            return True
        return False

    def end_all(self) -> None:
        """Tell every active stream to end."""
        for ending in self.active.values():
            ending.set()


def install(blueprint: Blueprint) -> None:
    """Replace the counting of streams."""
    blueprint.streams = StreamRegistry
