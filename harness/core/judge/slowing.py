"""Whether growth slows, as that of a pool does that fills up, or of state for each of many users.

A leak adds as much per unit of its driver in the last cycle as in the first."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.core.stats.falling import falling

# Share of its rate before that growth has in the last large cycle, unless it fills something up.
MIN_LAST_SHARE = 0.8
MIN_UNEVEN_SHARE = 0.5  # the same however unevenly it grows
MAX_CHANCE = 3.0  # standard deviations of two counts up to which they differ by chance
SLOWING = 4.5  # log-likelihood ratio from which on growth certainly slows: three standard deviations
LARGE_CYCLE = 4.0  # times less of the driver than in the longest cycle, from which on a cycle is large


def fills_up(active: Sequence[tuple[float, float]], dispersion: float = 1.0) -> bool:
    """Whether the last large cycle added less per unit of the driver than the others, as a pool does that fills up, or
    state for each of many tenants: less by 20 % and by three standard deviations of a count with this dispersion, or
    by half and by three of a Poisson count."""
    last = _last_large(active)
    others = [pair for index, pair in enumerate(active) if index != last]
    if not others:
        return False
    rate = math.fsum(value for value, _ in others) / math.fsum(amount for _, amount in others)
    value, amount = active[last]
    mean = max(0.0, rate * amount)
    falls = any(
        value < share * mean - 3 * math.sqrt(spread * mean)
        for share, spread in ((MIN_LAST_SHARE, dispersion), (MIN_UNEVEN_SHARE, 1.0))
    )
    return falls or slows(active)


def _last_large(active: Sequence[tuple[float, float]]) -> int:
    """The index of the last large cycle."""
    longest = max(amount for _, amount in active)
    return max(index for index, (_, amount) in enumerate(active) if amount >= longest / LARGE_CYCLE)


def slows(active: Sequence[tuple[float, float]]) -> bool:
    """Whether the rate of growth fell, and fell further in the last large cycle. Both are needed: growth at a constant
    rate beside a pool that filled up at first fell too, and a rate that varies is lower now and then. Scatter is
    measured about rates that fall, because about one rate the fall itself would be scatter."""
    *before, (value, amount) = active[: _last_large(active) + 1]
    longest = max(amount for _, amount in active)
    larges = [pair for pair in before if pair[1] >= longest / LARGE_CYCLE]
    if not larges:
        return False
    fall = falling([value for value, _ in before], [amount for _, amount in before])
    if fall.surplus < SLOWING * max(1.0, fall.dispersion):
        return False
    exposure = math.fsum(amount for _, amount in larges)
    mean = math.fsum(value for value, _ in larges) * amount / exposure
    # The rate before is estimated too, so the difference has the variance of both.
    return value < MIN_LAST_SHARE * mean and mean - value > 3 * math.sqrt(mean * (1 + amount / exposure))


def first_and_last_rate(active: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Units per unit of the driver up to the first large cycle, and in the last one."""
    longest = max(amount for _, amount in active)
    first = next(index for index, (_, amount) in enumerate(active) if amount >= longest / LARGE_CYCLE)
    before = active[: first + 1]
    value, amount = active[_last_large(active)]
    return (
        math.fsum(value for value, _ in before) / math.fsum(amount for _, amount in before),
        max(0.0, value) / amount,
    )


def slower_in_second_half(levels: Sequence[float], amounts: Sequence[float]) -> bool:
    """Whether the second half of the driver added less per unit than the first, by more than chance. amounts: how much
    of the driver there had been at each level.

    The buffers of a JVM fill over thousands of streams and are collected now and then, so no single cycle shows that
    they fill up: in simulation 9 of 300 such services were called leaking."""
    first, second = halves(levels, amounts)
    return second < MIN_LAST_SHARE * first and first - second > MAX_CHANCE * math.sqrt(
        max(0.0, first + second)
    )


def halves(levels: Sequence[float], amounts: Sequence[float]) -> tuple[float, float]:
    """The growth during the first and the second half of the driver. The cycle that contains the middle is divided: it
    may be the largest by far, and followed by controls only."""
    half = (amounts[0] + amounts[-1]) / 2
    after = next(index for index, amount in enumerate(amounts) if amount >= half)
    if after == 0:
        return 0.0, levels[-1] - levels[0]
    share = (half - amounts[after - 1]) / (amounts[after] - amounts[after - 1])
    middle = levels[after - 1] + share * (levels[after] - levels[after - 1])
    return middle - levels[0], levels[-1] - middle
