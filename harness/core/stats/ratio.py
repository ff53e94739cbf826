"""The factor by which one set of measurements exceeds another, with an interval that assumes no distribution.

The estimate is the median of all pairwise ratios (Hodges and Lehmann 1963, on logarithms). Its interval ends at the
ratios between which the exact Mann-Whitney distribution puts at least 95 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import comb

from harness.core.stats.distributions import median

MISSED = 0.05  # probability that the interval does not contain the factor, both sides together
MIN_RUNS = 5  # runs on each side: below four no rank leaves so little outside


def factor(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float] | None:
    """The factor by which ``first`` exceeds ``second``, with its 95 % interval; all values above 0. None with fewer
    than ``MIN_RUNS`` values on either side."""
    if min(len(first), len(second)) < MIN_RUNS:
        return None
    ratios = sorted(a / b for a in first for b in second)
    # The distribution is symmetric, so the same number of ratios may be left out at both ends.
    outside = 0  # ratios that may be left out at each end
    while 2 * _at_most(outside, len(first), len(second)) <= MISSED:
        outside += 1
    return median(ratios), ratios[outside - 1], ratios[-outside]


def _at_most(value: int, first: int, second: int) -> float:
    """Probability of a Mann-Whitney statistic of at most ``value`` where both sides are alike."""
    return sum(_orders(at, first, second) for at in range(value + 1)) / comb(first + second, first)


@cache
def _orders(value: int, first: int, second: int) -> int:
    """Orders of two samples in which ``value`` pairs are the wrong way round (Mann and Whitney 1947)."""
    if value < 0:
        return 0
    if first == 0 or second == 0:
        return int(value == 0)
    # The largest of all values is either of the first sample, and then exceeds all of the second, or it is of the
    # second and adds no pair.
    return _orders(value - second, first - 1, second) + _orders(value, first, second - 1)
