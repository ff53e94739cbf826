"""Counts: did a number that should return to the same integer grow with the load?

The sequential test looks at the levels after each settled load cycle. Three facts keep it honest:

- What grows without clients is not their doing: growth per second of the idle control cycles is taken off.
- A pool fills and stops. Growth is a leak only when it goes on: at least a quarter of it in the second half,
  and the last increments no smaller than half the typical one; and it must exceed what a pool of the size of
  the peak concurrency could hold, unless Mann-Kendall is significant as well.
- No growth over M connections bounds the rate at 3/M (the rule of three, 95 %).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.stats import mann_kendall, mean_interval, median, poisson_interval, sprt

LAMBDA = math.log(1000)  # 6.9: one false alarm and one miss in 1,000 (Wald 1945)
MIN_CYCLES = 3
MIN_GROWTH = 3.0
MK_P = 0.001


@dataclass(frozen=True, slots=True)
class CountSeries:
    """levels: [before the first load cycle, after it, …]; units: the driver's count in each cycle;
    seconds: length of each; idle_per_second: growth of the idle cycles; peak: concurrency."""

    levels: tuple[float, ...]
    units: tuple[float, ...]
    seconds: tuple[float, ...]
    idle_per_second: float = 0.0
    peak: int = 1
    tolerance: float = 0.0  # growth per cycle that a reading's own noise may show


@dataclass(frozen=True, slots=True)
class CountResult:
    """status: leaking | bounded | undecided. rate, low, high: units per driver unit. at_most: the
    95 % upper bound on a leak. total: net growth over ``exposure`` driver units."""

    status: str
    rate: float
    low: float
    high: float
    at_most: float
    total: float
    exposure: float
    why: str


def assess(series: CountSeries, *, sensitivity: float, allowed: float = 0.0) -> CountResult:
    """Judge one count. sensitivity: smallest rate that must not be missed; allowed: budgeted rate."""
    increments = [
        after - before - series.idle_per_second * seconds - allowed * units
        for before, after, seconds, units in zip(
            series.levels, series.levels[1:], series.seconds, series.units, strict=False
        )
    ]
    exposure = math.fsum(series.units[: len(increments)])
    if not increments or exposure <= 0:
        return CountResult("undecided", 0.0, 0.0, 0.0, math.inf, 0.0, exposure, "no load cycle was completed")
    total = math.fsum(increments)
    rate, low, high = _interval(increments, series.units, total, exposure)
    growing = _leaks(series, increments, total, exposure)
    if growing:
        return CountResult("leaking", rate, low, high, high, total, exposure, growing)
    quiet_from = _last_growth(increments, series.tolerance)
    quiet = math.fsum(series.units[quiet_from : len(increments)])
    at_most = 3.0 / quiet if quiet else high
    if at_most <= sensitivity:
        why = f"no growth over the last {quiet:g} of {exposure:g}"
        return CountResult("bounded", rate, low, high, at_most, total, exposure, why)
    return CountResult(
        "undecided",
        rate,
        low,
        high,
        max(at_most, high if total > 0 else 0.0),
        total,
        exposure,
        f"no growth over {quiet:g} allows at most {at_most:.2g}, asked for {sensitivity:.2g}",
    )


def _interval(
    increments: Sequence[float], units: Sequence[float], total: float, exposure: float
) -> tuple[float, float, float]:
    """Rate with its interval: from the spread between cycles, and never narrower than counting
    statistics allow for fewer than three cycles."""
    rates = [increment / unit for increment, unit in zip(increments, units, strict=False) if unit > 0]
    if len(rates) >= MIN_CYCLES:
        _, low, high = mean_interval(rates)
        return total / exposure, low, high
    return poisson_interval(max(total, 0.0), exposure)


def _last_growth(increments: Sequence[float], tolerance: float) -> int:
    """Index after the last cycle that set a new highest level: what follows showed no growth."""
    level = highest = 0.0
    after = 0
    for index, increment in enumerate(increments):
        level += increment
        if level > highest + tolerance:
            highest = level
            after = index + 1
    return after


def _leaks(series: CountSeries, increments: Sequence[float], total: float, exposure: float) -> str:
    """Why this is a leak, or an empty string."""
    count = len(increments)
    if count < MIN_CYCLES or total < max(MIN_GROWTH, series.tolerance * count):
        return ""
    if sprt(total, exposure) < LAMBDA:
        return ""
    if math.fsum(increments[count // 2 :]) < total / 4:
        return ""
    typical = median(increments)
    steady = min(increments) > 0 and median(increments[-2:]) >= typical / 2
    if steady and total > 2 * series.peak:
        return f"grew in each of {count} cycles, by more than a pool of the peak concurrency could hold"
    levels = list(series.levels[: count + 1])
    head, tail = levels[: max(1, min(3, count // 2))], levels[-max(1, min(3, count // 2)) :]
    p = mann_kendall(levels)
    if p <= MK_P and median(tail) - median(head) >= MIN_GROWTH and median(increments[-3:]) > 0:
        return f"grew over {count} cycles (Mann-Kendall p = {p:.1e}) and goes on growing"
    return ""
