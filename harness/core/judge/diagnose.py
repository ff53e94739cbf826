"""Finds the driver of a growth: what the clients did, distinguished by cycles that differ by design."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.core.judge.moments import DRIVERS, NAMES, WORDS, Series
from harness.core.metric import Key
from harness.core.stats.distributions import median
from harness.core.stats.poisson import Fit, fit
from harness.core.units import bytes_text

EXACT = 0.01  # share of the growth that a driver without a residual may miss: rounding, a stray object
RESIDUAL = 3.0  # times that share which the plainest driver must leave before an exact one is named instead
REFUSED = 0.02  # share of refused connections from which they are left out of the driver
MEDIAN_CHI = 0.455  # the median of chi-squared with one degree of freedom
# Dispersion below which growth is exact rather than random, and times that another driver must leave for it to matter.
MAX_EXACT_DISPERSION = 0.25
MIN_DISPERSION_RATIO = 4.0
MAX_TIE = 2.0  # log-likelihood difference below which two drivers cannot be distinguished
# By which another driver must beat the plainest one before it is named (docs/detector.md).
MIN_ADVANTAGE = 4.0


def driver(grown: Sequence[float], series: Series, offset: Sequence[float]) -> tuple[str, tuple[str, ...]]:
    """The ledger sum that alone explains the growth best, and those that explain it about as well (its rivals).

    Among rivals the first of DRIVERS is chosen, because a connection is the simplest cause. A driver that leaves no
    residual in any cycle is named if the simplest one leaves some. The dispersion that scales the
    likelihoods is that of the median cycle, so that one odd cycle does not make every driver look the same.
    """
    fits: dict[str, Fit] = {}
    for _, factor, _ in DRIVERS:
        column = series.column(factor)
        if any(column):
            fits[factor] = fit(grown, [column], offset)
    if not fits:
        return "connection", ()
    best = max(one.likelihood for one in fits.values())
    spread = min(_spread(grown, series.column(factor), offset) for factor in fits)
    tied = [factor for factor, one in fits.items() if one.likelihood >= best - MAX_TIE * spread]
    plain = next(
        (factor for factor, one in fits.items() if one.likelihood >= best - MIN_ADVANTAGE * spread), tied[0]
    )
    also = "answered" in fits and fits["answered"].likelihood >= best - MIN_ADVANTAGE * spread
    if plain == "connection" and also and _refused(series) and not _only_connections(fits):
        plain = "answered"  # refused connections use nothing, so only answered ones can be the driver
    exact = _without_residual(grown, series, offset, plain, list(fits))
    if exact != plain:
        return exact, ()
    return plain, tuple(factor for factor in tied if factor != plain)


def _only_connections(fits: Mapping[str, Fit]) -> bool:
    """Whether the growth follows the connections much more exactly than the answered ones: each that was refused may
    have left something too."""
    every, answered = fits["connection"].dispersion, fits["answered"].dispersion
    return every < MAX_EXACT_DISPERSION and MIN_DISPERSION_RATIO * every < answered


def _refused(series: Series) -> bool:
    """Whether more connections were refused than a stray one."""
    return math.fsum(series.column("refused")) > REFUSED * math.fsum(series.column("connection"))


def _spread(grown: Sequence[float], column: Sequence[float], offset: Sequence[float]) -> float:
    """Dispersion of the median cycle around the driver's own pace, at least 1 (Poisson)."""
    pairs = [
        (value - known, amount) for value, known, amount in zip(grown, offset, column, strict=True) if amount
    ]
    rate = _middle(pairs)
    if rate <= 0:
        return max(1.0, fit(grown, [column], offset).dispersion)
    chi = [(value - rate * amount) ** 2 / (rate * amount) for value, amount in pairs]
    idle = [value * value for value, amount in zip(grown, column, strict=True) if not amount and value > 0]
    return max(1.0, median([*chi, *idle]) / MEDIAN_CHI)


def _middle(pairs: Sequence[tuple[float, float]]) -> float:
    """The rate that half of the exposure exceeds: one odd cycle does not move it (weighted median)."""
    ordered = sorted((value / amount, amount) for value, amount in pairs)
    half = math.fsum(amount for _, amount in ordered) / 2
    passed = 0.0
    for rate, amount in ordered:
        passed += amount
        if passed >= half:
            return rate
    return 0.0


def _without_residual(
    grown: Sequence[float], series: Series, offset: Sequence[float], plain: str, factors: Sequence[str]
) -> str:
    """The first driver that explains every cycle to within rounding, where the plainest one does not."""
    missed = {factor: _unexplained_share(grown, series.column(factor), offset) for factor in factors}
    if missed[plain] <= RESIDUAL * EXACT:
        return plain
    return next((factor for factor in factors if missed[factor] <= EXACT), plain)


def _unexplained_share(grown: Sequence[float], column: Sequence[float], offset: Sequence[float]) -> float:
    """Share of the growth that the driver's own pace leaves unexplained; a unit in each cycle is rounding."""
    pairs = [(value - known, amount) for value, known, amount in zip(grown, offset, column, strict=True)]
    acted = [(value, amount) for value, amount in pairs if amount]
    rate = _middle(acted)
    if rate <= 0 or len(acted) < 3:
        return math.inf
    left = math.fsum(max(0.0, abs(value - rate * amount) - 1.0) for value, amount in pairs)
    return left / max(1.0, math.fsum(max(0.0, value) for value, _ in pairs))


def published(factor: str) -> str:
    """The driver's name in the JSON: ``rst-early`` is an ``abort``."""
    return NAMES[factor]


def per(factor: str) -> str:
    """Words for one unit: ``request reset before its answer``."""
    return WORDS[factor]


def growth_text(value: float, key: Key) -> str:
    """Growth in the unit of its metric: ``+1.00 fds/eventfd``, ``+2.93 kB of memory/anonymous``."""
    if key.unit == "B":
        return f"+{bytes_text(value)} of {key}"
    few = f"+{value:.2f}" if 0.005 <= abs(value) < 100 else f"+{value:.3g}"
    return f"{few if value < 100 else f'+{value:.0f}'} {key}"


def distinct(factor: str, rivals: Sequence[str]) -> list[str]:
    """Published names of other drivers that the cycles did not distinguish from this one."""
    return sorted({NAMES[rival] for rival in rivals} - {NAMES[factor]})


def open_question(factor: str, rivals: Sequence[str]) -> set[str]:
    """The factors that more cycles should distinguish: other drivers, and other ways to disconnect, whose rates
    differ although their published name is the same. Seconds of a stream count as events, which occur at a constant
    rate."""
    names = {factor, *rivals} - {"stream-second"}
    return names if len(names) > 1 else set()
