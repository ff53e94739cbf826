"""Which driver: what the clients did that makes a count grow, told apart by cycles that differ by design."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.moments import DRIVERS, NAMES, WORDS, Series
from harness.core.poisson import Fit, fit

SAME = 2.0  # log-likelihood by which two drivers are told apart
PLAINER = 4.0  # by which another driver must beat the plainest one before it is named (docs/detector.md)


def driver(grown: Sequence[float], series: Series, offset: Sequence[float]) -> tuple[str, tuple[str, ...]]:
    """The ledger sum that alone explains the growth best, and those that do so as well (not told apart).

    Of those not told apart the first of DRIVERS is chosen: a connection is the plainest cause.
    """
    fits: dict[str, Fit] = {}
    for _, factor, _ in DRIVERS:
        column = series.column(factor)
        if any(column):
            fits[factor] = fit(grown, [column], offset)
    best = max(one.likelihood for one in fits.values())
    spread = min(max(1.0, one.dispersion) for one in fits.values())
    tied = [factor for factor, one in fits.items() if one.likelihood >= best - SAME * spread]
    plain = next(
        (factor for factor, one in fits.items() if one.likelihood >= best - PLAINER * spread), tied[0]
    )
    return plain, tuple(factor for factor in tied if factor != plain)


def published(factor: str) -> str:
    """The driver's name in the JSON: ``rst-early`` is an ``abort``."""
    return NAMES[factor]


def per(factor: str) -> str:
    """Words for one unit: ``request reset before its answer``."""
    return WORDS[factor]


def distinct(factor: str, rivals: Sequence[str]) -> list[str]:
    """Published names of other drivers that the cycles did not tell apart from this one."""
    return sorted({NAMES[rival] for rival in rivals} - {NAMES[factor]})


def open_question(factor: str, rivals: Sequence[str]) -> set[str]:
    """The factors between which more cycles should tell: other drivers, and other ways of leaving, whose
    rates differ although their published name is the same. A second of a stream is an event by another name."""
    names = {factor, *rivals} - {"stream-second"}
    return names if len(names) > 1 else set()
