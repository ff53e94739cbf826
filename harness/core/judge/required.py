"""Bounds that a budget requires of a pass, such as "at most 1 KiB of memory per stream": which were not reached, and
how long it would take to reach them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.core import design
from harness.core.cycle import Phase
from harness.core.judge.bounds import SECONDS_PER_HOUR, seconds_seen
from harness.core.judge.caveat import SETTLING, Caveat, time_option
from harness.core.judge.moment import Moment
from harness.core.judge.moments import answered
from harness.core.metric import Judged, Key
from harness.core.record import Trial
from harness.core.stats.distributions import NO_GROWTH
from harness.core.units import bytes_text, duration_text
from harness.core.verdict import Bound

STREAM, HOUR = "stream", "hour"
UNITS = {"answered-stream": STREAM, "hour": HOUR}
PACE_CYCLES = 3  # last load cycles from which the number of answered streams per second is taken
# Metrics whose classes are all read at once, so a missing class has zero members.
ZERO_CLASSES = frozenset({"fds"})


@dataclass(frozen=True, slots=True)
class Unmet:
    """A required bound that was not reached. per: ``stream`` or ``hour``. required, reached: units; reached is None
    where the run has no bound. seconds: that reaching it takes beyond the run if nothing grows meanwhile; None where
    time does not help, because the metric was not read."""

    key: Key
    per: str
    required: float
    reached: float | None
    seconds: float | None

    @property
    def text(self) -> str:
        """``memory/anonymous: the bound is 12.6 kB per stream, the budget requires 1.02 kB``."""
        required = _amount(self.required, self.key)
        if self.reached is None:
            missing = "was not read" if self.seconds is None else "has no bound yet"
            return f"{self.key} {missing}, and the budget requires a bound of {required} per {self.per}"
        reached = _amount(self.reached, self.key)
        return f"{self.key}: the bound is {reached} per {self.per}, the budget requires {required}"


def unmet(trial: Trial, found: Sequence[Moment], bounds: Iterable[Bound]) -> list[Unmet]:
    """Every required bound that ``bounds`` do not reach, in the order of the budget."""
    reached: dict[str, dict[Key, float]] = {STREAM: {}, HOUR: {}}
    for bound in bounds:
        per = UNITS.get(bound.unit.rpartition("/")[2])
        if per and bound.scope == "after-disconnect":
            reached[per][Key(bound.metric, bound.kind)] = bound.at_most
    known = {key for moment in found for key in moment.levels}
    tables = ((STREAM, trial.budget.require_stream), (HOUR, trial.budget.require_hour))
    made = []
    for per, table in tables:
        for name, required in table.items():
            for key, at_most in _of(Key.parse(name), reached[per], known):
                if at_most is None or at_most > required:
                    seconds = _seconds(trial, found, key, per, at_most, required)
                    made.append(Unmet(key, per, required, at_most, seconds))
    return made


def shortfall(trial: Trial, missed: Sequence[Unmet]) -> Caveat | None:
    """The required bound that takes longest, and the time that reaches all of them."""
    if not missed:
        return None
    worst = max(missed, key=lambda one: math.inf if one.seconds is None else one.seconds)
    if worst.seconds is None:
        return Caveat(worst.text, f"make it readable (docs/runtime.md), or remove {worst.key} from require")
    needed = duration_text(design.spent_seconds(trial) + worst.seconds + SETTLING)
    return Caveat(
        worst.text,
        f"allow more time: {time_option(trial)} {needed}, if nothing grows meanwhile; or require less",
    )


def _of(key: Key, reached: Mapping[Key, float], known: set[Key]) -> list[tuple[Key, float | None]]:
    """The keys that one line of the budget is about, with their bounds: the metric's total, or each of its kinds where
    it has no total."""
    if key in reached:
        return [(key, reached[key])]
    if key.kind:
        # A class of descriptors that never occurred stayed at zero: it cannot have grown more than all of them.
        never = key.metric in ZERO_CLASSES and key not in known
        return [(key, reached.get(Key(key.metric)) if never else None)]
    kinds = [
        (one, most) for one, most in reached.items() if one.metric == key.metric and one.unit == key.unit
    ]
    return list(kinds) or [(key, None)]


def _seconds(
    trial: Trial, found: Sequence[Moment], key: Key, per: str, at_most: float | None, required: float
) -> float | None:
    """Seconds beyond the run after which the bound is as strong as required: bounds shrink in proportion to what was
    seen."""
    if at_most is None:
        read = any(one.metric == key.metric for moment in found for one in moment.levels)
        return design.spent_seconds(trial) if read else None
    counts = key.judged is Judged.EXACT and key.unit != "B"
    if per == HOUR:
        seen = max(seconds_seen(found), SECONDS_PER_HOUR * NO_GROWTH / at_most if counts else 0.0)
        return seen * (at_most / required - 1)
    streams = math.fsum(answered(o.ledger) for o in trial.observations if o.spec.phase is not Phase.WARMUP)
    quiet = min(streams, NO_GROWTH / at_most) if counts else streams
    pace = _pace(trial)
    return quiet * (at_most / required - 1) / pace if pace > 0 else design.spent_seconds(trial)


def _pace(trial: Trial) -> float:
    """Answered streams per second of the last load cycles, the time in which they settle included."""
    loads = [o for o in trial.observations if o.spec.phase is Phase.LOAD and o.ledger.opened][-PACE_CYCLES:]
    seconds = math.fsum(o.ended - o.started for o in loads)
    return math.fsum(answered(o.ledger) for o in loads) / seconds if seconds > 0 else 0.0


def _amount(value: float, key: Key) -> str:
    return bytes_text(value) if key.unit == "B" else f"{value:.3g}"
