"""Anonymous memory that grows over time, with or without clients, where no counter of the runtime shows it.

Blocks of connections (``harness.core.judge.memory``) do not show such growth. Readings of the idle service do: without
clients nothing warms up, so a reading of a healthy service rises or stays with equal probability. There is one
exception: garbage of timers that waits for its next collection. A collector lets a heap grow to at most a known
multiple of its live part (Go: two), so only growth beyond that multiple is a leak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from harness.core.judge.assessed import Allowed, Assessed
from harness.core.judge.certain_growth import MIN_IDLE_SHARE
from harness.core.judge.memory import (
    ARENA,
    MEMORY,
    MIN_ARENAS,
    MIN_LATE_SHARE,
    TOLERANCE,
    assess_memory,
    counted_inside,
)
from harness.core.judge.memory_retained import outlived_seconds
from harness.core.judge.moment import Moment
from harness.core.judge.moments import Series, moments, series
from harness.core.judge.one_count import allowed
from harness.core.judge.restarted import merged
from harness.core.judge.retained import OUTLIVED_FACTOR, retention_of
from harness.core.judge.retention import MARGIN, IdleEvidence
from harness.core.judge.trend import critical
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.segments import segments
from harness.core.stats.distributions import mean_interval
from harness.core.stats.linear import line

# Times its level after the warm-up up to which memory may be garbage.
GARBAGE = {"go": 2.0, "jvm": math.inf}
UNKNOWN_GARBAGE = 4.0  # the same for a runtime whose collector, if it has one, is not known
IDLE_SECONDS = 30.0  # seconds without clients from which on growth during them decides
MAX_FREE_SHARE = 0.5  # share of a level that may be free after a load
STILL_BYTES = 65_536.0  # bytes by which memory that does not grow varies between two readings
MAX_FEW_SHARE = 0.1  # share of the run's connections per second, below which a cycle has few
MIN_LEVELS = 7
# Readings without clients of which nearly all must have risen, where the growth is less than four arenas: by chance
# that happens once in 3,000 such runs.
MIN_STEADY = 16
MIN_STEADY_SHARE = 0.9


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
    if by_stream is None or one is None:
        return by_stream
    if by_stream.status == "leaking":
        return _if_retained(trial, found, key, by_stream)
    seconds = OUTLIVED_FACTOR * retention_of(trial, key)
    garbage = GARBAGE.get(trial.target.runtime, UNKNOWN_GARBAGE)
    return over_time(one, by_stream, granted, seconds=seconds, garbage=garbage)


def _if_retained(trial: Trial, found: Sequence[Moment], key: Key, one: Assessed) -> Assessed:
    """A leak only if it outlived the retention time. Where a runtime counts its memory, its counters show that."""
    retention = retention_of(trial, key)
    if retention <= 0 or counted_inside(found):
        return one
    lasted = found[-1].at - next((moment.began for moment in found if moment.peak), found[-1].at)
    # Another driver may explain the growth as well; streams that expire are counted as connections.
    each = found[-1].done.get(one.factor, 0.0) / max(1.0, found[-1].done.get("connection", 0.0))
    age = outlived_seconds(found, one.low * each, one.high * each, max(lasted, retention + MARGIN))
    evidence = IdleEvidence(age, 0.0, 0.0, 0.0)
    if age >= retention + MARGIN:
        return replace(one, idle_evidence=evidence)
    return replace(one, status="suspected", growing=True, idle_evidence=evidence)


def over_time(
    one: Series, otherwise: Assessed, granted: Allowed, *, seconds: float, garbage: float
) -> Assessed:
    """Growth over time, or ``otherwise`` where there is none.

    seconds: for which it must have gone on. garbage: times the first level below which all of it may be garbage.
    """
    every = [
        (value - granted.of(dict(span)), span.get("time", 0.0), span.get("connection", 0.0))
        for value, span in zip(one.increments, one.spans, strict=True)
    ]
    kept = _without_filling(every, one.levels)
    grown, times, clients = ([span[index] for span in kept] for index in range(3))
    idle = [(value, time) for value, time, many in kept if not many and time > 0]
    total, whole = math.fsum(grown), math.fsum(times)
    alone, seen = math.fsum(value for value, _ in idle), math.fsum(time for _, time in idle)
    if total < MIN_ARENAS * ARENA or len(kept) < MIN_LEVELS - 1:
        return otherwise
    # The loads show the course of the growth, and the time without clients its rate over time.
    used = [span for span in kept if span[2]]
    levels, elapsed, opened = ([0.0, *accumulate(column)] for column in zip(*used, strict=True))
    by_time, by_client = line(levels, [elapsed], TOLERANCE), line(levels, [opened], TOLERANCE)
    if by_time is None or by_time.slopes[0] < critical(len(levels)) * by_time.errors[0]:
        return otherwise
    why = f"rose by {total / 1e6:.3g} MB in {whole:.0f} s, {by_time.slopes[0] / by_time.errors[0]:.0f} times its noise"
    if seen < IDLE_SECONDS:
        if by_client is not None and by_client.sigma <= by_time.sigma:
            return otherwise
        if not _grows_with_few(grown, times, clients):
            return otherwise
        why = f"{why}, and better explained by time than by connections"
        return replace(otherwise, status="undecided", why=why, factor="time", rivals=(), growing=True)
    if alone / seen < MIN_IDLE_SHARE * total / whole or not _continues(idle, seen):
        return otherwise
    pace = alone / seen
    why = f"{why}, and by {alone / 1e6:.3g} MB of that in {seen:.0f} s without clients"
    left_uncollected = one.levels[-1] < garbage * one.levels[0]
    enough = alone >= MIN_ARENAS * ARENA or _steady([(value, many) for value, _, many in every])
    if enough and math.fsum(one.column("time")) >= seconds and not left_uncollected:
        _, low, high = mean_interval([value / time for value, time in idle])
        # Memory grows by whole arenas, so the level at either end is known only to half of one.
        ends = ARENA / seen
        low, high = min(low, pace) - ends, max(high, pace) + ends
        return Assessed(
            "leaking", otherwise.at_most, why, total, otherwise.exposure, "time", (), pace, low, high
        )
    if left_uncollected:
        why = f"{why}; garbage that waits for a collection could be that much"
    return replace(otherwise, status="undecided", why=why, factor="time", rivals=(), growing=True)


def _without_filling(
    every: Sequence[tuple[float, float, float]], levels: Sequence[float]
) -> list[tuple[float, float, float]]:
    """Growth, seconds and connections of each span, without the spans after a load in which memory did not grow.

    Growth first fills the pages that a load has left free: a heap of Go stayed constant for 18 s after a load. That
    ends with an arena of growth, and at the latest once MAX_FREE_SHARE of the level would be filled at the pace so far.
    """
    kept: list[tuple[float, float, float]] = []
    # Spans with growth since memory last stayed constant.
    waiting: list[tuple[float, float, float]] = []
    grown = seconds = passed = risen = room = 0.0
    for level, span in zip(levels, every, strict=False):
        value, time, many = span
        if many:
            kept.extend((*waiting, span))
            waiting, grown, seconds = [], grown + value, seconds + time
            passed = risen = 0.0
            room = MAX_FREE_SHARE * (level + value) * seconds / grown if grown > 0 else 0.0
            continue
        passed, risen = passed + time, risen + value
        if passed <= room and risen <= ARENA:
            waiting = [*waiting, span] if value > STILL_BYTES else []
        else:
            kept.extend((*waiting, span))
            waiting = []
    return [*kept, *waiting]


def _grows_with_few(grown: Sequence[float], times: Sequence[float], clients: Sequence[float]) -> bool:
    """Whether the cycles with few connections for their time grew at MIN_LATE_SHARE of the whole run's pace or more.
    In the other cycles a warm-up that slows down with the connections looks like growth over time."""
    pace = math.fsum(clients) / math.fsum(times)
    few = [
        (value, time)
        for value, time, many in zip(grown, times, clients, strict=True)
        if many <= MAX_FEW_SHARE * pace * time
    ]
    seconds = math.fsum(time for _, time in few)
    share = math.fsum(value for value, _ in few) * math.fsum(times)
    return seconds > 0 and share >= MIN_LATE_SHARE * math.fsum(grown) * seconds


def _steady(spans: Sequence[tuple[float, float]]) -> bool:
    """Whether nearly every reading without clients was higher than the one before, as no allocator's steps are: a
    reading of a healthy service rises or stays with equal probability. spans: growth and connections."""
    idle = [value for value, many in spans if not many]
    rises = sum(1 for value in idle if value > TOLERANCE)
    return len(idle) >= MIN_STEADY and rises >= MIN_STEADY_SHARE * len(idle)


def _continues(idle: Sequence[tuple[float, float]], seen: float) -> bool:
    """Whether MIN_LATE_SHARE of the growth without clients came in the second half of the time without them."""
    passed = late = 0.0
    for value, time in idle:
        late += value * min(1.0, max(0.0, (passed + time - seen / 2) / time))
        passed += time
    return late > 0 and late >= MIN_LATE_SHARE * math.fsum(value for value, _ in idle)
