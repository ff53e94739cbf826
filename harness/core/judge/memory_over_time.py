"""Anonymous memory that grows over time, with or without clients, where no counter of the runtime shows it.

Blocks of connections (``harness.core.judge.memory``) do not show such growth. Readings of the idle service do: without
clients nothing warms up, so a reading of a healthy service rises or stands still with equal chance. There is one
exception: garbage of timers that waits for its next collection. A collector lets a heap outgrow its live part by a
known factor at most (Go: two), so only growth beyond that factor is a leak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from harness.core.judge.counts import LONG_ENOUGH, allowed, retention_of
from harness.core.judge.growth import MIN_IDLE_SHARE, Allowed, Assessed
from harness.core.judge.memory import (
    ARENAS,
    CERTAIN_SIGNS,
    GRANULE,
    MEMORY,
    TOLERANCE,
    assess_memory,
    gives_back,
    sign_evidence,
    slows,
)
from harness.core.judge.moments import Moment, Series, moments, series
from harness.core.judge.restarted import merged
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.segments import segments
from harness.core.stats.distributions import mean_interval
from harness.core.units import counted

GARBAGE = {"go": 2.0, "jvm": math.inf}  # times its level after the warm-up, of which all may be garbage
OF_OTHERS = 4.0  # the same for a runtime whose collector, if it has one, is not known
CLEARER = 0.25  # share of the residual of connections that time leaves where it explains the growth better
LEAST_SPANS = 6
IDLE_LOOKS = 2  # idle readings after which their own growth tells whether to go on with them


def memory_of(trial: Trial, found: Sequence[Moment]) -> Assessed | None:
    """Anonymous memory of a whole trial. Each process of a resumed one warms up, and is judged, by itself."""
    parts = segments(trial)
    if len(parts) == 1:
        return _assessed(trial, found, MEMORY)
    each = [one for part in parts if (one := _assessed(part, moments(part), MEMORY))]
    return merged(each, sensitivity=trial.sensitivity, certified=False) if each else None


def _assessed(trial: Trial, found: Sequence[Moment], key: Key) -> Assessed | None:
    granted = allowed(trial.budget, key)
    by_stream, one = assess_memory(found, key, granted), series(found, key)
    if by_stream is None or one is None or by_stream.status == "leaking":
        return by_stream
    seconds = LONG_ENOUGH * retention_of(trial, key)
    garbage = GARBAGE.get(trial.target.runtime, OF_OTHERS)
    return over_time(one, by_stream, granted, seconds=seconds, garbage=garbage)


def over_time(
    one: Series, otherwise: Assessed, granted: Allowed, *, seconds: float, garbage: float
) -> Assessed:
    """Growth over time, or ``otherwise`` where there is none.

    seconds: for which it must have gone on. garbage: times the first level below which all of it may be garbage.
    """
    grown = [value - granted.of(dict(span)) for value, span in zip(one.increments, one.spans, strict=True)]
    times, clients = one.column("time"), one.column("connection")
    idle = [
        (value, time)
        for value, time, many in zip(grown, times, clients, strict=True)
        if not many and time > 0
    ]
    total, whole = math.fsum(grown), math.fsum(times)
    alone, seen = math.fsum(value for value, _ in idle), math.fsum(time for _, time in idle)
    if total < GRANULE or len(grown) < LEAST_SPANS or not idle:
        return otherwise
    share = alone / seen * whole / total  # of the growth, if it went on like this all the time
    if len(idle) > IDLE_LOOKS and (share < MIN_IDLE_SHARE or not _goes_on(idle)):
        return otherwise
    if len(idle) <= IDLE_LOOKS and not _better_by_time(grown, times, clients):
        return otherwise
    why = f"rose by {total / 1e6:.3g} MB in {whole:.0f} s, as much without clients as with them"
    rates = [value / time for value, time in idle]
    signs = [value > TOLERANCE for value, _ in idle]
    certain = sign_evidence(signs) >= CERTAIN_SIGNS and alone >= ARENAS * GRANULE
    if certain and whole >= seconds and one.levels[-1] >= garbage * one.levels[0] and not gives_back(rates):
        mean, low, high = mean_interval(rates)
        pages = TOLERANCE * len(idle) / seen  # a few pages come and go between two readings
        why = f"{why}, and in {sum(signs)} of {counted(len(signs), 'idle reading')}"
        return Assessed(
            "leaking",
            otherwise.at_most,
            why,
            total,
            otherwise.exposure,
            "time",
            (),
            mean,
            low - pages,
            high + pages,
        )
    if certain and one.levels[-1] < garbage * one.levels[0]:
        why = f"{why}; garbage that waits for a collection could be that much"
    return replace(otherwise, status="undecided", why=why, factor="time", rivals=(), growing=True)


def _goes_on(idle: Sequence[tuple[float, float]]) -> bool:
    """The later idle readings rise as the earlier ones did, and one of the last two still does."""
    rates = [value / time for value, time in idle]
    return not slows(rates) and max(value for value, _ in idle[-2:]) > TOLERANCE


def _better_by_time(grown: Sequence[float], times: Sequence[float], clients: Sequence[float]) -> bool:
    """A constant rate over time explains the cycles better than one per connection."""
    return _residual(grown, times) < CLEARER * _residual(grown, clients)


def _residual(grown: Sequence[float], column: Sequence[float]) -> float:
    """Sum of the squares that the best rate per unit of ``column`` leaves."""
    squares = math.fsum(amount * amount for amount in column)
    rate = (
        math.fsum(value * amount for value, amount in zip(grown, column, strict=True)) / squares
        if squares
        else 0.0
    )
    return math.fsum((value - rate * amount) ** 2 for value, amount in zip(grown, column, strict=True))
