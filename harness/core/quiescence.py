"""When is a service at rest? A condition, never a fixed sleep.

Counts are fed as they are read. The service is quiescent once none of them has moved for the settle
window; the level is the minimum seen in that window, because what is briefly above it (a descriptor of
a log line, a connection of a health check) is not kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

DEFAULT_WINDOW = 2.0  # seconds; the longest close lag seen on healthy servers was below 1 s
DEFAULT_PATIENCE = 60.0  # seconds after which "not settled" is the result


@dataclass(frozen=True, slots=True)
class Settling:
    """Still moving; ``since`` is when a count last moved."""

    since: float
    moving: str


@dataclass(frozen=True, slots=True)
class Quiescent:
    """At rest. level: the minimum of each count over the window. lag: seconds it took to come to
    rest, the window itself not counted."""

    level: Mapping[str, float]
    lag: float


@dataclass(frozen=True, slots=True)
class NeverSettled:
    """Patience ran out; ``moving`` names the counts that would not rest, with their range."""

    moving: str
    level: Mapping[str, float]


@dataclass(slots=True)
class Tracker:
    """Feed it readings in order of time. A count of None is a gap: it restarts the window, because
    nothing is known of that moment."""

    started: float
    window: float = DEFAULT_WINDOW
    patience: float = DEFAULT_PATIENCE
    _kept: deque[tuple[float, dict[str, float]]] = field(default_factory=deque)
    _moved: float | None = None
    _last: dict[str, float] | None = None
    _movers: dict[str, float] = field(default_factory=dict)

    def feed(self, at: float, counts: Mapping[str, float | None]) -> Settling | Quiescent | NeverSettled:
        """One reading; the state after it."""
        gaps = [name for name, value in counts.items() if value is None]
        if gaps:
            self._kept.clear()
            self._last = None
            self._moved = at
            for name in gaps:
                self._movers[name] = at
            return self._unsettled(at)
        values = {name: float(value) for name, value in counts.items() if value is not None}
        if self._last is None:
            self._moved = self.started if self._moved is None else at
            self._kept.clear()
        elif values != self._last:
            for name, value in values.items():
                if self._last.get(name) != value:
                    self._movers[name] = at
            self._moved = at
            self._kept.clear()
        self._last = values
        self._kept.append((at, values))
        assert self._moved is not None
        if at - max(self._moved, self._kept[0][0]) >= self.window:
            return Quiescent(dict(values), max(0.0, self._moved - self.started))
        return self._unsettled(at)

    def _unsettled(self, at: float) -> Settling | NeverSettled:
        recent = [name for name, when in self._movers.items() if at - when <= 2 * self.window]
        moving = ", ".join(sorted(recent)) or "nothing yet"
        if at - self.started >= self.patience:
            return NeverSettled(moving, dict(self._last or {}))
        return Settling(self._moved if self._moved is not None else at, moving)
