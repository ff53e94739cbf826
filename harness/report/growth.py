"""How much of what stayed behind per connection: from the verdict where it says, else from the levels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.core.cycle import Observation
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.segments import last_process

NEGLIGIBLE = 0.005  # per connection or check: below this a count rounds to nothing worth a word
MEMORY = Key("memory", "anonymous")


@dataclass(frozen=True, slots=True)
class Growth:
    """Growth of one metric per connection. ``total`` is None when it could not be measured.

    kinds: kind → growth per ``unit`` (``check`` where a connection causes several checks), largest
    first. low, high: the 95 % interval of ``total``, where there is one.
    """

    total: float | None
    kinds: tuple[tuple[str, float], ...] = ()
    unit: str = "connection"
    low: float | None = None
    high: float | None = None


def growth(trial: Trial, metric: str) -> Growth:
    """What one metric gained per connection over the trial's settled cycles."""
    rates = _rates(trial, metric)
    total = _total(trial, metric, rates)
    kinds = {key.kind: rate for key, rate in rates.items() if key.kind}
    shown = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    interval = _interval(trial, metric)
    return Growth(
        total=total,
        kinds=tuple((kind, rate) for kind, rate in shown if rate >= NEGLIGIBLE),
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
    )


def _found(trial: Trial, metric: str) -> dict[Key, float]:
    verdict = trial.verdict
    found = verdict.findings if verdict else ()
    return {
        Key(f.metric, f.kind): f.rate.value
        for f in found
        if f.metric == metric and f.rate and f.driver in (None, "connection")
    }


def _interval(trial: Trial, metric: str) -> tuple[float, float] | None:
    """The verdict's interval, where one finding speaks for the whole metric."""
    found = [f for f in (trial.verdict.findings if trial.verdict else ()) if f.metric == metric and f.rate]
    if len(found) == 1 and found[0].rate:
        return found[0].rate.low, found[0].rate.high
    return None


def _rates(trial: Trial, metric: str) -> dict[Key, float]:
    return _found(trial, metric) or _by_levels(trial, metric)


def _total(trial: Trial, metric: str, rates: dict[Key, float]) -> float | None:
    if metric == "memory":
        return rates.get(MEMORY, _by_levels(trial, metric).get(MEMORY))
    if Key(metric) in rates:
        return rates[Key(metric)]
    kinds = [rate for key, rate in rates.items() if key.kind]
    return sum(kinds) if kinds else None


def measured_pair(trial: Trial) -> tuple[Observation, Observation, int] | None:
    """The first and last cycle with levels, and the connections opened after the first; None when
    there are no two. A cycle of clients before the first is its warm-up."""
    levels = [o for o in last_process(trial).observations if o.levels]
    if len(levels) < 2:
        return None
    connections = sum(o.ledger.opened for o in levels[1:])
    return (levels[0], levels[-1], connections) if connections else None


def _by_levels(trial: Trial, metric: str) -> dict[Key, float]:
    pair = measured_pair(trial)
    if pair is None:
        return {}
    first, last, connections = pair
    return {
        key: (last.levels.get(key, 0.0) - first.levels.get(key, 0.0)) / connections
        for key in _keys((first, last), metric)
    }


def _keys(observations: Iterable[Observation], metric: str) -> list[Key]:
    return sorted({key for o in observations for key in o.levels if key.metric == metric})
