"""Decides when a service has settled: by a condition, never by a fixed sleep.

The tracker is fed counts as they are read. The service is quiescent once none of them has changed for the settle
window. The level is the minimum in that window: what exceeds it only briefly (the descriptor of a log file, the
connection of a health check) is not retained.

A service that continues to work without clients (a poller, a leaked handler that still ticks) never stops changing. It
still has a level: the minimum of each window. It has settled when the minima of four windows in a row are equal, or
rise evenly, and the result names the counts that changed. Falling minima mean that the service is still releasing, so
there is no level yet. With ``accept_falling`` four windows of falling minima are a level too: the caller then judges
the late release.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

DEFAULT_WINDOW = 2.0  # seconds; the longest close lag seen on healthy servers was below 1 s
WINDOWS_COMPARED = 4  # windows in a row whose minima are compared
# The minima of two windows count as equal if they differ by at most the larger of these: units, a share of the level.
SAME = 1.0
SAME_SHARE = 0.02
EVEN = 0.5  # share by which an even slope may differ from window to window
DEFAULT_TIMEOUT = 60.0  # seconds after which "not settled" is the result


@dataclass(frozen=True, slots=True)
class Settling:
    """Still moving; ``since`` is when a count last moved."""

    since: float
    moving: str


@dataclass(frozen=True, slots=True)
class Quiescent:
    """Settled. level: the minimum of each count over the window. lag: seconds until the last change, without the
    window itself. fluctuating: the counts that still changed, or ""."""

    level: Mapping[str, float]
    lag: float
    fluctuating: str = ""


@dataclass(frozen=True, slots=True)
class NeverSettled:
    """The timeout is over; ``moving`` names the counts that still changed."""

    moving: str
    level: Mapping[str, float]


@dataclass(slots=True)
class Tracker:
    """Decides whether a service has settled from readings in order of time. A count of None is a gap: it restarts the
    window, because nothing is known of that moment. floor_window: length of the windows whose minima are compared, if
    not ``window``. accept_falling: four windows of falling minima are a level too; the caller judges the late
    release."""

    started: float
    window: float = DEFAULT_WINDOW
    timeout: float = DEFAULT_TIMEOUT
    floor_window: float | None = None
    accept_falling: bool = False
    # Readings of the last WINDOWS_COMPARED windows: when, and the counts.
    _recent: deque[tuple[float, dict[str, float]]] = field(default_factory=deque)
    _same_since: float | None = None  # the first reading of those that are all equal to the last
    _moved: float | None = None  # when any count last changed, or could not be read
    _last: dict[str, float] | None = None  # None before the first reading and after a gap
    _changed_at: dict[str, float] = field(default_factory=dict)  # count → when it last changed

    def feed(self, at: float, counts: Mapping[str, float | None]) -> Settling | Quiescent | NeverSettled:
        """Add one reading and return the state after it."""
        gaps = [name for name, value in counts.items() if value is None]
        if gaps:
            self._recent.clear()
            self._last = None
            self._moved = at
            for name in gaps:
                self._changed_at[name] = at
            return self._unsettled(at)
        values = {name: float(value) for name, value in counts.items() if value is not None}
        if self._last is None:
            # Before the first reading nothing is known to have moved; after a gap anything may have.
            self._moved = self.started if self._moved is None else at
            self._same_since = at
        elif values != self._last:
            for name, value in values.items():
                if self._last.get(name) != value:
                    self._changed_at[name] = at
            self._moved = self._same_since = at
        self._last = values
        assert self._moved is not None
        assert self._same_since is not None
        if at - max(self._moved, self._same_since) >= self.window:
            return Quiescent(dict(values), max(0.0, self._moved - self.started))
        return self._settled_on_minima(at, values) or self._unsettled(at)

    def _settled_on_minima(self, at: float, values: Mapping[str, float]) -> Quiescent | None:
        """Settled on the minima of four windows, which are equal, rise evenly or (if accepted) fall."""
        window = self.floor_window or self.window
        span = WINDOWS_COMPARED * window
        self._recent.append((at, dict(values)))
        # One reading older than the span is kept, so that the four windows are covered completely.
        while len(self._recent) > 1 and at - self._recent[1][0] >= span:
            self._recent.popleft()
        begun = self._recent[0][0]
        if at - begun < span:
            return None
        windows: list[list[dict[str, float]]] = [[] for _ in range(WINDOWS_COMPARED)]
        for when, reading in self._recent:
            index = int((when - begun) / (at - begun) * WINDOWS_COMPARED)
            windows[min(WINDOWS_COMPARED - 1, index)].append(reading)
        # A window without a reading has no minimum; the machine was too busy to read.
        if not all(windows):
            return None
        minima = {
            name: [min(reading.get(name, value) for reading in readings) for readings in windows]
            for name, value in values.items()
        }
        if not all(
            _stays(floor) or _climbs(floor) or (self.accept_falling and _declines(floor))
            for floor in minima.values()
        ):
            return None
        moved = [name for name in minima if self._changed_at.get(name, -1.0) >= begun]
        return Quiescent(
            {name: floor[-1] for name, floor in minima.items()},
            max(0.0, begun - self.started),
            ", ".join(sorted(moved)),
        )

    def _unsettled(self, at: float) -> Settling | NeverSettled:
        recent = [name for name, when in self._changed_at.items() if at - when <= 2 * self.window]
        moving = ", ".join(sorted(recent)) or "nothing yet"
        if at - self.started >= self.timeout:
            return NeverSettled(moving, dict(self._last or {}))
        return Settling(self._moved if self._moved is not None else at, moving)


def _stays(floor: Sequence[float]) -> bool:
    """Whether both halves have the same minimum. One window alone may miss it. A minimum that falls in every window is
    not the same, however little it falls."""
    half = len(floor) // 2
    if all(after < before for before, after in pairwise(floor)):
        return False
    before, after = min(floor[:half]), min(floor[half:])
    return abs(after - before) <= max(SAME, SAME_SHARE * before)


def _declines(floor: Sequence[float]) -> bool:
    """Whether each minimum is below the one before, as while things are released one by one."""
    return all(after < before for before, after in pairwise(floor))


def _climbs(floor: Sequence[float]) -> bool:
    """Whether each minimum is above the one before, by about the same amount."""
    steps = [after - before for before, after in pairwise(floor)]
    return min(steps) > 0 and max(steps) - min(steps) <= max(SAME, EVEN * max(steps))
