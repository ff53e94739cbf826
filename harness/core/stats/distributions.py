"""The few statistics the judge needs, in pure Python: short series, exact distributions."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

NO_GROWTH = 3.0  # the rule of three: no growth over M streams bounds the rate at 3 / M (95 %)


def median(values: Sequence[float]) -> float:
    """The middle value; raises ValueError for an empty sequence."""
    if not values:
        raise ValueError("median of an empty sequence")
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


# Two-sided 95 % quantiles of Student's t by degrees of freedom (any table); beyond 30 the normal one serves.
_T95 = (
    12.706,
    4.303,
    3.182,
    2.776,
    2.571,
    2.447,
    2.365,
    2.306,
    2.262,
    2.228,
    2.201,
    2.179,
    2.160,
    2.145,
    2.131,
    2.120,
    2.110,
    2.101,
    2.093,
    2.086,
    2.080,
    2.074,
    2.069,
    2.064,
    2.060,
    2.056,
    2.052,
    2.048,
    2.045,
    2.042,
)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean with its 95 % interval (Student's t); a single value has no width."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, mean, mean
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    t = _T95[n - 2] if n - 2 < len(_T95) else 1.96
    return mean, mean - t * spread, mean + t * spread


def poisson_interval(count: float, exposure: float) -> tuple[float, float, float]:
    """A rate count/exposure with its 95 % interval (Byar's approximation of the exact one)."""
    low = 0.0 if count <= 0 else count * max(0.0, 1 - 1 / (9 * count) - 1.96 / (3 * math.sqrt(count))) ** 3
    above = count + 1
    high = above * (1 - 1 / (9 * above) + 1.96 / (3 * math.sqrt(above))) ** 3
    return count / exposure, low / exposure, high / exposure


def student95(free: int) -> float:
    """Two-sided 95 % quantile of Student's t with ``free`` degrees of freedom."""
    return _T95[free - 1] if 1 <= free <= len(_T95) else (1.96 + 2.4 / free if free > 0 else math.inf)


def ratio_interval(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Σy/Σx with its 95 % interval, for (y, x) pairs whose scatter grows with x (Cochran 1977, ratio
    estimator with variance proportional to x; Student's t)."""
    total = math.fsum(x for _, x in pairs)
    rate = math.fsum(y for y, _ in pairs) / total
    free = len(pairs) - 1
    square = math.fsum((y - rate * x) ** 2 / x for y, x in pairs) / free / total
    half = student95(free) * math.sqrt(square)
    return rate, rate - half, rate + half


def student_tail(t: float, free: int) -> float:
    """One-sided p of Student's t with ``free`` degrees of freedom (Wallace 1959; within 8 % of the
    tables down to p = 0.001 for 3 degrees or more)."""
    if free < 1 or t <= 0:
        return 1.0
    z = math.sqrt(free * math.log1p(t * t / free)) * (8 * free + 1) / (8 * free + 3)
    return 0.5 * math.erfc(z / math.sqrt(2))


def correlated(x: Sequence[float], y: Sequence[float]) -> float:
    """One-sided p of a positive correlation of pairs, had they been put together at random: Pearson's r by
    Student's t, which is the permutation test's own limit (Pitman 1937). 1.0 for fewer than four pairs."""
    n = len(x)
    if n < 4:
        return 1.0
    a, b = math.fsum(x) / n, math.fsum(y) / n
    xx = math.fsum((v - a) ** 2 for v in x)
    yy = math.fsum((v - b) ** 2 for v in y)
    if xx <= 0 or yy <= 0:
        return 1.0
    r = math.fsum((v - a) * (w - b) for v, w in zip(x, y, strict=True)) / math.sqrt(xx * yy)
    return student_tail(r * math.sqrt((n - 2) / max(1e-12, 1 - r * r)), n - 2) if r > 0 else 1.0


def ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 0 on; equal values share the mean of theirs."""
    order = sorted(values)
    return [(bisect_left(order, value) + bisect_right(order, value) - 1) / 2 for value in values]


def isotonic(values: Sequence[float], weights: Sequence[float] | None = None) -> list[float]:
    """The rising sequence nearest to ``values`` in least squares, each with its one of ``weights`` or with 1 (pool
    adjacent violators, Ayer 1955)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights or [1.0] * len(values), strict=True):
        total, amount, size = value * weight, weight, 1
        while pools and pools[-1][0] / pools[-1][1] > total / amount:
            earlier, before, many = pools.pop()
            total, amount, size = total + earlier, amount + before, size + many
        pools.append((total, amount, size))
    return [total / amount for total, amount, size in pools for _ in range(size)]


def drawdown(values: Sequence[float]) -> float:
    """The largest fall from any value to a later one; 0.0 for a sequence that never falls."""
    highest, fall = -math.inf, 0.0
    for value in values:
        highest = max(highest, value)
        fall = max(fall, highest - value)
    return fall
