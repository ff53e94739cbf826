"""The rules of other tools, applied to levels of equal cycles. Each returns whether it would raise an alarm.

The rules follow the sources of these tools: psleak 0.1 (``_check_counters``, ``_check_mem``), CPython's ``regrtest -R
3:3`` (``check_rc_deltas``, ``check_fd_deltas``), LeakCanary's ``RepeatingScenarioObjectGrowthDetector`` (5 dumps, 2
loops a dump). The others are textbook tests. All rules skip three warm-up cycles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

WARMUP = 3
CYCLES = 26  # of 300 connections, as in the measurement of healthy servers
RETRIES = 10  # psleak's; its runs grow from one cycle to ten
MAX_READINGS = WARMUP + 1 + RETRIES * (RETRIES + 1) // 2


def after_before(levels: Sequence[float], exact: bool) -> bool:
    """The last level is above the first."""
    return levels[CYCLES - 1] > levels[WARMUP]


def psleak(levels: Sequence[float], exact: bool) -> bool:
    """A count that rose over one call; memory that rose in ten runs, each longer than the last, and by more
    than in the run before."""
    rest = levels[WARMUP:]
    if exact:
        return rest[1] > rest[0]
    previous = 0.0
    at = 0
    for run in range(1, RETRIES + 1):
        end = at + run
        grown = rest[end] - rest[at]
        if grown <= 0 or grown <= previous:
            return False
        previous, at = grown, end
    return True


def regrtest(levels: Sequence[float], exact: bool) -> bool:
    """Descriptors: any of three deltas differs from 0. Blocks: all three are at least 1."""
    deltas = [b - a for a, b in pairwise(levels[WARMUP - 1 : WARMUP + 3])]
    return any(deltas) if exact else all(delta >= 1 for delta in deltas)


def leakcanary(levels: Sequence[float], exact: bool) -> bool:
    """Each of five dumps has at least two more than the one before."""
    return all(b - a >= 2 for a, b in pairwise(levels[WARMUP : WARMUP + 5]))


@cache
def _kendall_counts(n: int) -> tuple[int, ...]:
    """Number of permutations of n with each number of inversions (Mahonian numbers)."""
    counts = [1]
    for size in range(2, n + 1):
        grown = [0] * (len(counts) + size - 1)
        for shift in range(size):
            for index, count in enumerate(counts):
                grown[index + shift] += count
        counts = grown
    return tuple(counts)


def mann_kendall(values: Sequence[float]) -> float:
    """One-sided p of an upward trend: exact without ties up to 12 values, else the normal
    approximation with tie correction (Mann 1945, Kendall 1975)."""
    n = len(values)
    if n < 3:
        return 1.0
    s = sum((values[j] > values[i]) - (values[j] < values[i]) for i in range(n) for j in range(i + 1, n))
    if len(set(values)) == n and n <= 12:
        counts = _kendall_counts(n)
        discordant = (n * (n - 1) // 2 - s) // 2
        return sum(counts[: discordant + 1]) / math.factorial(n)
    ties = [values.count(value) for value in set(values)]
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    if variance <= 0:
        return 1.0
    return 0.5 * math.erfc((s - 1) / math.sqrt(2 * variance))


def plain_mann_kendall(levels: Sequence[float], exact: bool) -> bool:
    """One-sided p below 0.05 over all levels."""
    return mann_kendall(list(levels[WARMUP:CYCLES])) < 0.05


def regression(levels: Sequence[float], exact: bool) -> bool:
    """A slope above zero with p below 0.05 (two-sided, Student's t)."""
    rest = levels[WARMUP:CYCLES]
    n = len(rest)
    middle = (n - 1) / 2
    mean = math.fsum(rest) / n
    square = math.fsum((i - middle) ** 2 for i in range(n))
    slope = math.fsum((i - middle) * (y - mean) for i, y in enumerate(rest)) / square
    left = math.fsum((y - mean - slope * (i - middle)) ** 2 for i, y in enumerate(rest))
    error = math.sqrt(left / (n - 2) / square)
    return slope > 0 and (error == 0 or slope / error > 2.08)  # t of 0.975 with 21 degrees of freedom


RIVALS: dict[str, Callable[[Sequence[float], bool], bool]] = {
    "after > before": after_before,
    "psleak": psleak,
    "regrtest -R": regrtest,
    "LeakCanary": leakcanary,
    "Mann–Kendall": plain_mann_kendall,
    "regression": regression,
}
