"""Growth as rare events: rates per unit of several factors at once, never negative, and how likely they are.

An increment is modelled as a Poisson count whose mean is the sum of rate × factor (identity link). The
non-negative rates of greatest likelihood are found by expectation maximisation (Richardson 1972, Lucy 1974):
each step shares every increment out among the factors in proportion to what they explain of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from operator import add, mul, truediv

BACKGROUND = 0.01  # stray growth per reading in every model: one descriptor in 100 readings
MAX_STEPS = 400  # steps of the search, which ends sooner once they gain nothing
ENOUGH = 1e-7  # relative gain of a step below which the search ends


@dataclass(frozen=True, slots=True)
class Fit:
    """rates: one per column. likelihood: log, up to a constant of the data. dispersion: Pearson's
    chi-squared per degree of freedom, 1 for a Poisson process, 0 for a clockwork."""

    rates: tuple[float, ...]
    likelihood: float
    dispersion: float


def _likelihood(counts: Sequence[float], means: Sequence[float]) -> float:
    return math.fsum(
        [
            count * math.log(mean) - mean if count > 0 else -mean
            for count, mean in zip(counts, means, strict=True)
        ]
    )


def fit(counts: Sequence[float], columns: Sequence[Sequence[float]], offset: Sequence[float]) -> Fit:
    """Rates of ``columns`` that explain ``counts`` best, beside a known ``offset`` of each.

    counts: increments (negative ones count as 0). columns: per factor its amount in each span.
    """
    return _fit(tuple(counts), tuple(map(tuple, columns)), tuple(offset))


# The judge asks for two of three fits again: each rule compares the same drivers by itself, and the verdict after the
# plan.
@lru_cache(maxsize=256)
def _fit(counts: tuple[float, ...], columns: tuple[tuple[float, ...], ...], offset: tuple[float, ...]) -> Fit:
    seen = [max(0.0, count) for count in counts]
    sums = [math.fsum(column) for column in columns]
    total = math.fsum(seen)
    rates = [total / len(columns) / amount if amount > 0 else 0.0 for amount in sums]
    known = [BACKGROUND + max(0.0, part) for part in offset]
    rows = list(zip(*columns, strict=True)) if columns else [()] * len(seen)

    def means() -> list[float]:
        # The judge spends most of its time here, so map and operators avoid interpreted loops.
        if len(columns) == 1:  # nine of ten fits: without a sum, it takes half as long
            return list(map(add, known, map(mul, repeat(rates[0]), columns[0])))
        return [base + math.fsum(map(mul, rates, row)) for base, row in zip(known, rows, strict=True)]

    now = means()
    best = _likelihood(seen, now)
    for _ in range(MAX_STEPS if total and len(columns) else 0):
        shares = list(map(truediv, seen, now))
        for k, column in enumerate(columns):
            if sums[k] > 0:
                rates[k] *= math.fsum(map(mul, shares, column)) / sums[k]
        now = means()
        better = _likelihood(seen, now)
        gain, best = better - best, better
        if gain < ENOUGH * (1 + abs(best)):
            break
    chi = math.fsum((count - mean) ** 2 / mean for count, mean in zip(seen, now, strict=True))
    free = max(1, len(seen) - sum(1 for rate in rates if rate > 0))
    return Fit(tuple(rates), best, chi / free)
