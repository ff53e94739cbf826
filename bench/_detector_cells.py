"""The rows of the detector's table, and the results of the runs of each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench import _kinds, _kinds_held_back, _kinds_outside
from bench._services import Kind

GROUPS: dict[str, Sequence[Kind]] = {
    "healthy counts": (
        *_kinds.HEALTHY_COUNTS,
        *_kinds_outside.HEALTHY_OUTSIDE,
        *_kinds_held_back.HEALTHY_COUNTS,
    ),
    "leaking counts": (
        *_kinds.LEAKING_COUNTS,
        *_kinds_outside.LEAKING_OUTSIDE,
        *_kinds_held_back.LEAKING_COUNTS,
    ),
    "healthy memory": (*_kinds.HEALTHY_MEMORY, *_kinds_held_back.HEALTHY_MEMORY),
    "leaking memory": (*_kinds.LEAKING_MEMORY, *_kinds_held_back.LEAKING_MEMORY),
}


@dataclass(slots=True)
class Cell:
    """The results of one kind of service, named by its group and its index: a kind itself cannot be sent between
    processes."""

    group: str
    index: int
    runs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    longer: Counter[str] = field(default_factory=Counter)
    drivers: Counter[str] = field(default_factory=Counter)
    covered: int = 0
    rated: int = 0
    below: int = 0
    rivals: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        """The service."""
        return GROUPS[self.group][self.index]

    @property
    def found(self) -> float:
        """Share of the runs called leaking; of a healthy one: wrongly."""
        return (self.outcomes["leaking"] - self.drivers[self.kind.true or "none"]) / self.runs

    @property
    def decided(self) -> float | None:
        """Share of the longer runs with the right outcome; None where there were none."""
        right = "leaking" if self.kind.leaks else "bounded"
        return self.longer[right] / self.longer.total() if self.longer else None

    @property
    def right(self) -> float:
        """Share of the leaks found whose driver is the true one."""
        return self.drivers[self.kind.leaks or ""] / max(1, self.outcomes["leaking"])

    def add(self, other: Cell) -> None:
        """Merge what another process saw of the same kind."""
        self.runs += other.runs
        self.outcomes += other.outcomes
        self.longer += other.longer
        self.drivers += other.drivers
        self.covered += other.covered
        self.rated += other.rated
        self.below += other.below
        self.rivals += other.rivals
        self.seconds += other.seconds


Results = dict[str, list[Cell]]
"""Group of rows → cells."""
