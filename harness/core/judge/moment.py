"""One settled moment of a trial: the levels, and what the clients had done by then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.core.cycle import Phase
from harness.core.metric import Key


@dataclass(frozen=True, slots=True)
class Moment:
    """The end of one settled cycle. done: what the clients had done since the trial's start, by ledger sum: those of
    DRIVERS, ``cycle`` (cycles with clients) and ``reading`` (moments). peak: streams open at once. began, left:
    seconds since the run's start at which the first client of the cycle connected and the last one disconnected;
    equal without clients. idle_counts: as in ``Observation``. searches: cycles so far in which allocations were
    traced. asked: requests during a wait; unsure: by how
    much levels may be higher because of them (``harness.core.judge.expiry``)."""

    phase: Phase
    levels: Mapping[Key, float]
    done: Mapping[str, float]
    peak: int
    began: float = 0.0
    left: float = 0.0
    idle_counts: tuple[tuple[float, float, float], ...] = ()
    searches: int = 0
    asked: bool = False
    unsure: Mapping[Key, float] = field(default_factory=dict)

    @property
    def at(self) -> float:
        """Seconds since the run's start at which the levels were read."""
        return self.done.get("time", 0.0)

    def answered_since(self, before: Moment) -> float:
        """Streams that were answered after an earlier moment."""
        return max(0.0, self.done.get("answered", 0.0) - before.done.get("answered", 0.0))
