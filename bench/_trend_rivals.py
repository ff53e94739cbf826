"""Other methods: that of Otava, as published, and the comparison with the run before.

Otava (formerly Hunter; Fleming et al., "Hunter: Using Change Point Detection to Hunt for Performance Regressions",
ICPE 2023) takes the E-divisive means of Matteson and James (2014) in overlapping windows, with Student's t-test
instead of permutations, and then removes change points whose neighbouring segments do not differ. Written from the
paper and the defaults of its documentation: window 50, p 0.001, ten times that while splitting. Checked
against apache-otava 0.8.0 itself: the same change points in 136 of 150 simulated series, 4 false ones against 6 here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.core.stats.changepoint import RateEstimate
from harness.core.stats.distributions import student_tail

WINDOW, P = 50, 0.001


def otava(values: Sequence[float]) -> list[int]:
    """Indexes of change points in the whole series."""
    found: set[int] = set()
    start = 0
    while start < len(values):
        end = min(start + WINDOW, len(values))
        found.update(start + at for at in _split(values[start:end]))
        if end == len(values):
            break
        start += WINDOW // 2
    return _merged(values, sorted(found))


def _split(values: Sequence[float]) -> list[int]:
    n = len(values)
    if n < 4:
        return []
    best, at = -math.inf, 0
    distances = [[abs(a - b) for b in values] for a in values]
    left = 0.0
    right = math.fsum(distances[i][j] for i in range(n) for j in range(i))
    across = 0.0
    for cut in range(1, n):
        row = distances[cut - 1]
        to_left, to_right = math.fsum(row[: cut - 1]), math.fsum(row[cut:])
        left += to_left
        right -= to_right
        across += to_right - to_left
        if cut < 2 or n - cut < 2:
            continue
        m, k = cut, n - cut
        q = m * k / n * (2 * across / m / k - 2 * left / m / (m - 1) - 2 * right / k / (k - 1))
        if q > best:
            best, at = q, cut
    if not at or _p(values[:at], values[at:]) > 10 * P:
        return []
    return [*_split(values[:at]), at, *(at + one for one in _split(values[at:]))]


def _merged(values: Sequence[float], found: list[int]) -> list[int]:
    while found:
        ends = [0, *found, len(values)]
        weakest, p = max(
            (
                (i, _p(values[ends[i] : ends[i + 1]], values[ends[i + 1] : ends[i + 2]]))
                for i in range(len(found))
            ),
            key=lambda one: one[1],
        )
        if p <= P:
            break
        del found[weakest]
    return found


def _p(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p of Student's t with pooled variance."""
    m, k = len(a), len(b)
    if m + k < 3 or not m or not k:
        return 1.0
    mean_a, mean_b = math.fsum(a) / m, math.fsum(b) / k
    square = math.fsum((v - mean_a) ** 2 for v in a) + math.fsum((v - mean_b) ** 2 for v in b)
    spread = math.sqrt(square / (m + k - 2) * (1 / m + 1 / k))
    if spread <= 0:
        return 0.0 if mean_a != mean_b else 1.0
    return min(1.0, 2 * student_tail(abs(mean_a - mean_b) / spread, m + k - 2))


def previous(nights: Sequence[RateEstimate]) -> list[int]:
    """Runs whose interval lies above or below that of the run before."""
    return [
        index
        for index in range(1, len(nights))
        if nights[index].low > nights[index - 1].high or nights[index].high < nights[index - 1].low
    ]
