"""The rate of a leak with its 95 % interval. It does not influence the verdict, which is decided before."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.core.judge.moments import Series
from harness.core.stats.distributions import poisson_interval, ratio_interval, student95
from harness.core.stats.linear import Weighted, weighted
from harness.core.stats.varying import varying_interval

NORMAL_95 = 1.96
MAX_SPREAD = 0.02  # relative spread up to which even a few spans count as exactly proportional
# Units per span from which on the spread between spans is a better measure than Poisson's.
MIN_UNITS_FOR_SPREAD = 20.0
# Dispersion up to which growth is steadier than counts are: by chance once in 25 in four spans.
MAX_DISPERSION_EXACT = 0.1
# Intervals of growth in batches are this many times as wide: a run that stops when it is certain stops after an early
# batch.
BATCH_WIDENING = 1.25
# Iterations in which the rate determines its noise: after two it changes by less than a thousandth.
ITERATIONS = 3
TIE_SHARE = 0.02  # share of the growth by which two factors may differ and still explain it equally well


def interval(grown: Sequence[float], column: Sequence[float]) -> tuple[float, float, float]:
    """Rate of an exact count per unit of ``column``, low and high.

    If all spans agree, the interval is based on the spread between them (Student's t on the ratio), so exactly
    proportional growth gets a narrow interval, at most as wide as that of counts. Otherwise the counts are Poisson, in
    the batches by which they grow; where the spans differ by more than chance, with that dispersion (quasi-Poisson).
    The rate may also be another in every span, which a few spans cannot show: the interval includes that of
    ``harness.core.stats.varying``.
    """
    pairs = [(value, amount) for value, amount in zip(grown, column, strict=True) if amount > 0]
    total = math.fsum(value for value, _ in pairs)
    exposure = math.fsum(amount for _, amount in pairs)
    if exposure <= 0:
        return 0.0, 0.0, 0.0
    exact = len(pairs) >= 2 and all(
        abs(value - total / exposure * amount) <= max(1.0, MAX_SPREAD * value) for value, amount in pairs
    )
    # A few large spans of counts that come one by one agree within two per cent by chance.
    steady = exact and total > 0 and _dispersion(pairs, total / exposure) <= MAX_DISPERSION_EXACT
    if steady and total >= MIN_UNITS_FOR_SPREAD:
        # Student's t over two or three spans says almost nothing about their spread, and spans that agree this well
        # scatter no more than counts do.
        rate, low, high = ratio_interval(pairs)
        _, least, most = poisson_interval(total, exposure)
        return rate, max(low, least), min(high, most)
    # A single increment shows no batch, because it is its own divisor.
    size = batch_size([value for value, _ in pairs]) if sum(1 for value, _ in pairs if value) > 1 else 1.0
    rate, low, high = _counted(total, exposure, size, BATCH_WIDENING if size > 1 else 1.0)
    free = len(pairs) - 1
    if free < 2 or total <= 0:
        return rate, low, high
    chi = _dispersion(pairs, rate)
    if chi / size > 1 + 2 * math.sqrt(2 / free):
        _, low, high = _counted(total, exposure, chi, student95(free) / NORMAL_95)
    least, most = varying_interval([(value / size, amount / size) for value, amount in pairs])
    return rate, min(low, least), max(high, most)


def _dispersion(pairs: Sequence[tuple[float, float]], rate: float) -> float:
    """Pearson's chi-squared per degree of freedom: 1 for counts that come one by one, 0 for a clockwork."""
    square = math.fsum((value - rate * amount) ** 2 / amount for value, amount in pairs)
    return square / rate / (len(pairs) - 1)


def _counted(total: float, exposure: float, size: float, wider: float = 1.0) -> tuple[float, float, float]:
    """Poisson's interval for growth that comes ``size`` units at a time. wider: factor of its half widths."""
    rate, low, high = poisson_interval(max(0.0, total) / size, exposure / size)
    return rate, max(0.0, rate - wider * (rate - low)), rate + wider * (high - rate)


def batch_size(grown: Sequence[float]) -> float:
    """The size in which a count grows: the greatest common divisor of its increments. A pool that takes ten at once
    is one piece of evidence, not ten."""
    whole = [abs(round(value)) for value in grown]
    return (
        float(max(1, math.gcd(*whole))) if all(abs(value - round(value)) < 1e-9 for value in grown) else 1.0
    )


def beside_readings(series: Series, factor: str, noise: float) -> tuple[float, float, float] | None:
    """The same for a runtime counter, each of whose readings has noise of its own and adds something.

    An increment is rate × factor + what the reading added. Its variance is Poisson's, rate × factor, and
    twice the square of ``noise`` (a level's standard deviation), which the next increment gives back: their
    covariance is −noise². What a reading adds is not known either, so it is fitted too, and its uncertainty
    goes into the interval: a single control without clients tells it only to ±1.4 noise, which over ten
    readings is as much as fifty leaked objects scatter by themselves. It is known beforehand to be about
    ``noise``, give or take twice that, which decides where the cycles do not (all alike, none without
    clients). None where too little was read.
    """
    column, grown = series.column(factor), series.increments
    size, white = len(grown), max(noise * noise, 1 / 12)  # an integer was rounded
    total = math.fsum(column)
    if total <= 0:
        return None
    rate = max(0.0, math.fsum(grown)) / total
    found: Weighted | None = None
    for _ in range(ITERATIONS):
        table = [[0.0] * (size + 1) for _ in range(size + 1)]
        for index, amount in enumerate(column):
            table[index][index] = rate * amount + 2 * white
            if index:
                table[index][index - 1] = table[index - 1][index] = -white
        table[size][size] = 4 * white
        found = weighted([*grown, noise], [[*column, 0.0], [*series.column("reading"), 1.0]], table)
        if found is None:
            return None
        rate = max(0.0, found.coefficients[0])
    if found is None:
        return None
    rate = found.coefficients[0]
    chance = 1 + 2 * math.sqrt(2 / found.free)  # what χ² per degree of freedom exceeds by chance once in 20
    # With many units a span, or more scatter than chance explains, the spread between spans is the better measure.
    if rate * total >= MIN_UNITS_FOR_SPREAD * size or found.dispersion > chance:
        half = student95(found.free) * math.sqrt(found.dispersion) * found.errors[0]
    else:
        half = NORMAL_95 * found.errors[0]
    return rate, rate - half, rate + half


def roughness(rate: float) -> float:
    """The distance of a rate from a whole number of units, or of the streams for one, as a share of it, in steps of
    TIE_SHARE."""
    each = max(rate, 1 / max(rate, 1e-9))
    return round(abs(each - round(each)) / each / TIE_SHARE)


def rate_of_streams(rest: Series) -> tuple[str, tuple[float, float, float]]:
    """``answered`` or ``connection``, and the rate with its interval, of growth with too few spans to tell which.

    One descriptor for each request is more likely than 1.13 for each answer. The interval is that of either."""
    each = {
        name: interval(rest.increments, rest.column(name))
        for name in ("answered", "connection")
        if any(rest.column(name))
    }
    plain = min(
        each, key=lambda name: roughness((rest.levels[-1] - rest.levels[0]) / math.fsum(rest.column(name)))
    )
    low, high = min(low for _, low, _ in each.values()), max(high for *_, high in each.values())
    return plain, (each[plain][0], low, high)
