"""The time that a service takes to close the sockets of departed clients, learned from the closes themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from harness.core.judge.unnoticed import MIN_SHARE, MIN_SOCKETS
from harness.core.sample import Sample

MAX_WINDOW = 2.0  # seconds without change that suffice where nothing above the last level is retained
# Seconds: longer closes are awaited only while sockets of departed clients are retained.
MAX_LONG_WINDOW = 10.0


@dataclass(slots=True)
class CloseTimes:
    """The close times that one trial has shown so far. settle: seconds without change that the user asked for.

    slowest: seconds from the end of a load to the latest close. moved: seconds until no count moved any more.
    base: descriptors at the last level. unnoticed: sockets of departed clients at the last level.
    """

    settle: float
    slowest: float = 0.0
    moved: float = 0.0
    base: float = 0.0
    unnoticed: float = 0.0
    # The lowest level so far: its descriptors, and its sockets of departed clients.
    _lowest: tuple[float, float] = (math.inf, 0.0)
    _disconnected_at: float | None = None

    @property
    def window(self) -> float:
        """Seconds without change before a level can be read."""
        return min(self.settle, MAX_WINDOW)

    @property
    def long_window(self) -> float:
        """Seconds without change before counts above the last level become a level. Only where sockets show that the
        service has not noticed departures yet, the harness waits for ``slowest`` without this limit."""
        # Twice the slowest, because one cycle shows only some of the close times that are possible.
        return max(self.settle, min(2 * max(self.slowest, self.moved), MAX_LONG_WINDOW))

    def is_released(self, fds: float | None) -> bool:
        """Whether the descriptors are back at the last level."""
        return fds is not None and fds <= self.base

    def clients_disconnected(self, moment: float) -> None:
        """Record when the last client of a load disconnected."""
        self._disconnected_at = moment

    def update_from(self, samples: Iterable[Sample], until: float) -> float:
        """Find the closes between the last disconnect and ``until``; return the seconds to the latest one, or 0."""
        if self._disconnected_at is None:
            return 0.0
        since = self._disconnected_at
        seen = [sample for sample in samples if since <= sample.at <= until]
        readings: tuple[Callable[[Sample], int | None], ...] = (lambda s: s.fds, lambda s: s.threads)
        last = max(
            _last_fall([(s.at, count) for s in seen if (count := of(s)) is not None]) for of in readings
        )
        # A count that never fell has 0, a time before the disconnect.
        lag = max(0.0, last - since)
        if lag > self.slowest:
            self.slowest = lag
            # Earlier levels were read with a shorter window, so they may include what would still have been closed.
            self.base, self.unnoticed = min((self.base, self.unnoticed), self._lowest)
        return lag

    def add_level(self, fds: float | None, unnoticed: float, *, stable: bool) -> None:
        """Record a level. stable: nothing changed for ``long_window`` seconds, so these descriptors are retained."""
        if fds is not None:
            if stable or fds < self.base:
                self.base, self.unnoticed = fds, unnoticed
            self._lowest = min(self._lowest, (fds, unnoticed))


def _last_fall(seen: list[tuple[float, int]]) -> float:
    """The time at which a count last fell to a new minimum, by more than a straggler; 0 if it did not.

    Only new minima count: descriptors that open and close all the time reach their minimum at once."""
    if not seen:
        return 0.0
    counts = [count for _, count in seen]
    # A single descriptor that closes late must not make every later window longer.
    step = max(MIN_SOCKETS, MIN_SHARE * (counts[0] - min(counts)))
    lowest, last = counts[0], 0.0
    for at, count in seen:
        if count <= lowest - step:
            lowest, last = count, at
    return last
