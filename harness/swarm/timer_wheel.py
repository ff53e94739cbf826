"""One timer for all streams: due items in slots of a few milliseconds.

A timer object per stream would be restarted with every event, although a stall or a dwell may well end 20 ms late.
Putting and dropping is O(1). A finished stream is dropped at once: with 3,500 streams a second and a dwell of a minute,
entries of finished streams alone would be 200,000.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import gevent

GRAIN = 0.02  # seconds per slot


class TimerItem(Protocol):
    """An item with a time at which its ``expired`` is called. slot: its place in the wheel, or -1."""

    slot: int

    def expired(self, moment: float) -> None:
        """Called when the item is due; it may put itself in again."""


class TimerWheel:
    """Runs its timer only while it has items. on_tick(moment, late): every tick, with the seconds
    by which the loop was late: how busy the generator is."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_tick: Callable[[float, float], None] | None = None,
    ) -> None:
        self.clock = clock
        self.on_tick = on_tick
        self._slots: dict[int, set[TimerItem]] = {}
        self._timer: Any = None
        self._next = 0  # the first slot that is not processed yet
        self._expected = 0.0
        self._held = 0

    def put(self, item: TimerItem, at: float) -> None:
        """Schedule the item at a time of the clock; an item is in one slot only."""
        if item.slot >= 0:
            self.drop(item)
        if self._timer is None:
            self._start()
        # Rounded up, so that no item expires early; a time in the past is due at the next tick.
        slot = max(int(at / GRAIN) + 1, self._next)
        found = self._slots.get(slot)
        if found is None:
            found = self._slots[slot] = set()
        found.add(item)
        item.slot = slot

    def drop(self, item: TimerItem) -> None:
        """Remove an item; it is no error if it is not in the wheel."""
        if item.slot < 0:
            return
        slot = self._slots.get(item.slot)
        if slot is not None:
            slot.discard(item)
            if not slot:
                del self._slots[item.slot]
        item.slot = -1

    def items(self) -> list[TimerItem]:
        """All items."""
        return [item for slot in self._slots.values() for item in slot]

    def hold(self) -> None:
        """Keep ticking even without items, until ``release`` has been called once for each ``hold``."""
        self._held += 1
        if self._timer is None:
            self._start()

    def release(self) -> None:
        """Undo one ``hold``."""
        self._held -= 1

    def _start(self) -> None:
        moment = self.clock()
        self._next = int(moment / GRAIN)
        self._expected = moment + GRAIN
        self._timer = gevent.get_hub().loop.timer(GRAIN, GRAIN)
        self._timer.start(self._tick)

    def _tick(self) -> None:
        moment = self.clock()
        late = max(0.0, moment - self._expected)
        # Relative to this tick: a late tick must not make all that follow it look late.
        self._expected = moment + GRAIN
        now = int(moment / GRAIN)
        while self._next <= now:
            slot, self._next = self._slots.pop(self._next, None), self._next + 1
            if slot is not None:
                # All are marked as removed first: an item that expires may put itself in again, or drop another.
                for item in slot:
                    item.slot = -1
                for item in slot:
                    item.expired(moment)
        if self.on_tick is not None:
            self.on_tick(moment, late)
        if not self._slots and not self._held:
            self._timer.stop()
            # A timer of gevent that is not closed stays registered with the loop.
            self._timer.close()
            self._timer = None
