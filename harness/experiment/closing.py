"""How long the service takes to close what departed clients leave behind, learnt from the closes themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from harness.core.judge.unnoticed import LEAST, LEAST_SHARE
from harness.core.sample import Sample

SHORT = 2.0  # seconds without change that suffice where nothing above the last level is held
LATE = 10.0  # seconds: longer closes are waited for only while sockets of departed clients are held


@dataclass(slots=True)
class Closes:
    """What one trial has shown so far. settle: seconds without change that the user wants.

    slowest: seconds from the end of a load to the latest close. moved: seconds until no count moved any more.
    base: descriptors at the last level. unnoticed: sockets of departed clients at the last level.
    """

    settle: float
    slowest: float = 0.0
    moved: float = 0.0
    base: float = 0.0
    unnoticed: float = 0.0
    _lowest: tuple[float, float] = (math.inf, 0.0)
    _left: float | None = None

    @property
    def window(self) -> float:
        """Seconds without change before anything is looked at."""
        return min(self.settle, SHORT)

    @property
    def hold(self) -> float:
        """Seconds without change that make a level of counts above the last one. Only where sockets show that the
        service has not noticed departures yet, ``slowest`` is waited for without a limit."""
        return max(self.settle, min(2 * max(self.slowest, self.moved), LATE))

    def back(self, fds: float | None) -> bool:
        """Nothing is held that was not held at the last level."""
        return fds is not None and fds <= self.base

    def left(self, moment: float) -> None:
        """The last client of a load has left."""
        self._left = moment

    def watch(self, samples: Iterable[Sample], until: float) -> float:
        """Look for closes since the last client left, and until a moment; the seconds to the latest, else 0."""
        if self._left is None:
            return 0.0
        since = self._left
        seen = [sample for sample in samples if since <= sample.at <= until]
        readings: tuple[Callable[[Sample], int | None], ...] = (lambda s: s.fds, lambda s: s.threads)
        last = max(
            _last_fall([(s.at, count) for s in seen if (count := of(s)) is not None]) for of in readings
        )
        lag = max(0.0, last - since)
        if lag > self.slowest:
            self.slowest = lag
            # Levels read with a shorter window may have counted what was only late.
            self.base, self.unnoticed = min((self.base, self.unnoticed), self._lowest)
        return lag

    def level(self, fds: float | None, unnoticed: float, *, held: bool) -> None:
        """A level was read. held: nothing changed for ``hold`` seconds, so what is there is retained."""
        if fds is not None:
            if held or fds < self.base:
                self.base, self.unnoticed = fds, unnoticed
            self._lowest = min(self._lowest, (fds, unnoticed))


def _last_fall(seen: list[tuple[float, int]]) -> float:
    """When a count last fell to a new minimum, by more than a straggler; 0 if it did not. What comes and goes
    reaches its minimum at once, so it does not count."""
    if not seen:
        return 0.0
    counts = [count for _, count in seen]
    step = max(LEAST, LEAST_SHARE * (counts[0] - min(counts)))
    lowest, last = counts[0], 0.0
    for at, count in seen:
        if count <= lowest - step:
            lowest, last = count, at
    return last
