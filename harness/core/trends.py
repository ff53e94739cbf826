"""Series of comparable runs, and what changed in them: trends, regressions, and the comparison of two runs."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.core.history import Measured, RunEntry, TrialEntry
from harness.core.judge.memory import ASKED
from harness.core.stats.changepoint import Change, RateEstimate, changes
from harness.core.verdict import Outcome

# Conditions other than the commit that may explain a change.
CONDITIONS = ("machine_class", "kernel", "harness_version")
FAILED_OUTCOMES = frozenset(one.value for one in Outcome if one.exit_code == 1)


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one target under one load, run by run. target, profile, mode, load: as in TrialEntry."""

    target: str
    profile: str
    mode: str
    load: str
    metric: str
    kind: str
    unit: str
    points: tuple[tuple[RunEntry, TrialEntry, Measured], ...]

    @property
    def name(self) -> str:
        """``fds/eventfd``."""
        return self.points[-1][2].key

    @property
    def where(self) -> str:
        """Target, with its profile."""
        return f"{self.target} [{self.profile}]" if self.profile else self.target

    @property
    def estimates(self) -> list[RateEstimate]:
        """The rates for the change-point test."""
        return [RateEstimate(one.rate, one.low, one.high) for _, _, one in self.points]


@dataclass(frozen=True, slots=True)
class SeriesChange:
    """A change of one series. open: the rate is still higher than before a rise; such a change is a regression."""

    series: Series
    change: Change
    open: bool

    @property
    def before(self) -> RunEntry:
        """The last run before the change."""
        return self.series.points[self.change.index - 1][0]

    @property
    def after(self) -> RunEntry:
        """The first run after it."""
        return self.series.points[self.change.index][0]

    @property
    def ago(self) -> int:
        """Runs since the change, the first run after it included."""
        return len(self.series.points) - self.change.index

    def conditions(self) -> list[str]:
        """The other differences between the two runs, in words."""
        found = []
        for name in CONDITIONS:
            old, new = getattr(self.before, name), getattr(self.after, name)
            if old != new:
                found.append(f"{name.replace('_', ' ')}: {old or 'unknown'} → {new or 'unknown'}")
        old_trial = self.series.points[self.change.index - 1][1]
        new_trial = self.series.points[self.change.index][1]
        old, new = (f"{one.runtime} {one.runtime_version}".strip() for one in (old_trial, new_trial))
        return [*found, f"runtime: {old} → {new}"] if old != new else found


def all_series(entries: Iterable[RunEntry], metric: str | None = None) -> list[Series]:
    """Series of comparable runs in a fixed order. metric: only this one, such as ``fds`` or ``fds/eventfd``."""
    groups: dict[tuple[str, str, str, str], list[tuple[RunEntry, TrialEntry]]] = {}
    for entry in sorted(entries, key=lambda one: (one.started_at, one.run_id)):
        for trial in entry.trials:
            groups.setdefault((trial.target, trial.profile, trial.mode, trial.load), []).append(
                (entry, trial)
            )
    found = []
    for (target, profile, mode, load), trials in sorted(groups.items()):
        met = {(one.metric, one.kind, one.unit): one for _, trial in trials for one in trial.metrics}
        for (name, kind, unit), one in sorted(met.items()):
            if metric not in (None, name, one.key):
                continue
            points = [
                (entry, trial, seen)
                for entry, trial in trials
                if (seen := _measured_as(trial, one)) is not None
            ]
            if points:
                found.append(Series(target, profile, mode, load, name, kind, unit, tuple(points)))
    return found


def _measured_as(trial: TrialEntry, like: Measured) -> Measured | None:
    """The metric that ``like`` names, as this trial measured it. A class of descriptors that never occurred in a
    trial that counted all descriptors did not grow; None where nothing is known."""
    for one in trial.metrics:
        if (one.metric, one.kind, one.unit) == (like.metric, like.kind, like.unit):
            return one if math.isfinite(one.rate) else None
    total = next((one for one in trial.metrics if one.metric == like.metric and not one.kind), None)
    if total is None or not like.kind or not math.isfinite(total.rate):
        return None
    # As uncertain as the total, of which the class is a part.
    return Measured(like.metric, like.kind, "bounded", 0.0, 0.0, total.high - total.rate, like.unit)


def trend(series: Iterable[Series]) -> list[SeriesChange]:
    """Every change of every series; regressions first, then the newest first."""
    found = []
    for one in series:
        seen = changes(one.estimates)
        for number, change in enumerate(seen):
            last = seen[-1].after
            # Open while the mean of every level since is above the interval before the rise, and the interval of the
            # last level above the mean before it. Once the rate has fallen back, a new rise is a change of its own.
            still = change.rose and all(later.after[0] > change.before[2] for later in seen[number:])
            found.append(SeriesChange(one, change, still and last[1] > change.before[0]))
    return sorted(found, key=lambda one: (not one.open, _newest_first(one.after.started_at), one.series.name))


def _newest_first(started_at: str) -> float:
    """A key that sorts later times first; an ISO 8601 text can only be sorted the other way."""
    return -datetime.datetime.fromisoformat(started_at).timestamp()


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric in two runs. low, high: simultaneous 99 % interval of new − old over all metrics compared.

    worse: significantly larger, by at least the sensitivity that was asked for. better: the same, smaller."""

    target: str
    key: str
    unit: str
    old: Measured
    new: Measured
    low: float
    high: float
    worse: bool
    better: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs. outcomes: (target, old, new) of each trial in both. conditions: what else differs. missing: what only
    one of them measured."""

    differences: tuple[Difference, ...]
    outcomes: tuple[tuple[str, str, str], ...]
    conditions: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def worse(self) -> bool:
        """True when a metric got significantly worse, or a trial that passed now fails."""
        failed = any(old not in FAILED_OUTCOMES and new in FAILED_OUTCOMES for _, old, new in self.outcomes)
        return failed or any(one.worse for one in self.differences)


def compare(old: RunEntry, new: RunEntry) -> Comparison:
    """The differences between two runs."""
    pairs = _pairs(old, new)
    both: list[tuple[TrialEntry, TrialEntry, Measured, Measured]] = []
    missing: list[str] = []
    for name, first, second in pairs:
        named = {one.key: one for one in (*second.metrics, *first.metrics)}
        for key, one in named.items():
            before, after = _measured_as(first, one), _measured_as(second, one)
            if before and after:
                both.append((first, second, before, after))
            elif before or after:
                missing.append(f"{name}: {key}: only in {(old if before else new).run_id}")
    z = _simultaneous(len(both))
    differences = [_difference(*one, z) for one in both]
    return Comparison(
        differences=tuple(
            sorted(differences, key=lambda one: (not one.worse, not one.better, one.target, one.key))
        ),
        outcomes=tuple((name, first.outcome, second.outcome) for name, first, second in pairs),
        conditions=tuple(_conditions(old, new, pairs)),
        missing=tuple(missing),
    )


def _pairs(old: RunEntry, new: RunEntry) -> list[tuple[str, TrialEntry, TrialEntry]]:
    """Trials of the same name in both runs; two runs of one trial each are compared whatever their names."""
    if len(old.trials) == len(new.trials) == 1:
        return [(new.trials[0].target, old.trials[0], new.trials[0])]
    named = {(one.target, one.profile, one.name): one for one in old.trials}
    return [
        (f"{one.target} [{one.name}]", named[key], one)
        for one in new.trials
        if (key := (one.target, one.profile, one.name)) in named
    ]


def _conditions(
    old: RunEntry, new: RunEntry, pairs: Sequence[tuple[str, TrialEntry, TrialEntry]]
) -> Iterable[str]:
    for name in ("commit", "branch", "dirty", *CONDITIONS):
        first, second = getattr(old, name), getattr(new, name)
        if first != second:
            yield f"{name.replace('_', ' ')}: {_shown(first)} → {_shown(second)}"
    for title, one, other in pairs:
        for name in ("target", "profile", "mode", "load", "sensitivity", "runtime", "runtime_version"):
            first, second = getattr(one, name), getattr(other, name)
            if first != second:
                yield f"{title}: {name.replace('_', ' ')}: {_shown(first)} → {_shown(second)}"


def _shown(value: object) -> str:
    return "unknown" if value in ("", None) else str(value)


def _difference(first: TrialEntry, second: TrialEntry, old: Measured, new: Measured, z: float) -> Difference:
    # Each side of an interval has its own width: the interval of a count near zero is asymmetric.
    # 1.96: the quantile of the 95 % intervals that a run stores, which are widened to that of z.
    change = new.rate - old.rate
    low = change - z / 1.96 * math.hypot(new.rate - new.low, old.high - old.rate)
    high = change + z / 1.96 * math.hypot(new.high - new.rate, old.rate - old.low)
    # In bytes, the default sensitivity of 1/1000 stands for ASKED bytes per connection.
    least = min(first.sensitivity, second.sensitivity) * (ASKED * 1e3 if new.unit.startswith("B/") else 1.0)
    turned = new.status in ("leaking", "over-ceiling") and old.status not in ("leaking", "over-ceiling")
    worse = (low > 0 and change >= least) or turned
    return Difference(
        second.target,
        new.key,
        new.unit,
        old,
        new,
        low,
        high,
        worse,
        high < 0 and -change >= least and not worse,
    )


def _simultaneous(count: int) -> float:
    """Two-sided normal quantile with which ``count`` intervals hold together 99 times in 100 (Bonferroni)."""
    tail = 0.01 / max(1, count) / 2
    # By bisection: math has no inverse of erfc. Above 40 the tail is smaller than any float.
    low, high = 0.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        if 0.5 * math.erfc(middle / math.sqrt(2)) > tail:
            low = middle
        else:
            high = middle
    return high
