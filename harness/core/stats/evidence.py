"""The evidence of increments for one driver against everything that is not a leak: an e-process.

Null hypothesis: the growth of every cycle is a Poisson count. Its mean is the sum of a rate per cycle with clients, a
rate per second and a rate per reading, each of any size. Alternative: a rate per unit of a driver is added. The
numerator is a mixture over the driver's rate, so it never looks ahead; the denominator is the largest likelihood that
the null reaches on all cycles (universal inference: Wasserman, Ramdas and Balakrishnan 2020, PNAS 117, 16880). By
Ville's inequality the ratio exceeds 1,000 with a probability of at most 1/1,000 under the null, however often the
harness looks and whenever it stops.

The theorem does not cover two steps: batches are recognised by their common divisor, and the logarithm is divided by
the dispersion around the alternative where the growth is more uneven than a Poisson count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from harness.core.stats.poisson import BACKGROUND, fit

# Gamma priors of shape 1/2 over the driver's rate, by their mean per unit of the driver; equal weights.
SCALES = (0.001, 0.01, 0.1, 1.0, 10.0)
SHAPE = 0.5


def evidence(
    counts: Sequence[float],
    column: Sequence[float],
    benign: Sequence[Sequence[float]],
    offset: Sequence[float],
) -> float:
    """Logarithm of the e-value at the last cycle.

    counts: increments, in batches. column: the driver's amount in each cycle. benign: amounts per cycle of what
    is not a leak. offset: growth that a budget grants. Falls count as no growth.
    """
    null = fit(counts, benign, offset)
    # The smaller of two dispersions: with few cycles the larger model does not always converge.
    alone = fit(counts, [column], offset).dispersion
    spread = max(1.0, min(alone, fit(counts, [*benign, column], offset).dispersion))
    return (_mixture(counts, column, offset) - null.likelihood) / spread


def excluded(
    counts: Sequence[float],
    column: Sequence[float],
    bursts: Sequence[float],
    benign: Sequence[Sequence[float]],
    offset: Sequence[float],
    rate: float,
) -> float:
    """Logarithm of the e-value against "the driver adds ``rate`` per unit or more", at the last cycle.

    The alternative is a pool: each burst of clients adds the same, whatever its length (``bursts``). Under the null the
    driver adds at least ``rate``, and bursts and ``benign`` add whatever explains the rest best.
    """
    least = [known + rate * amount for known, amount in zip(offset, column, strict=True)]
    null = fit(counts, [column, bursts, *benign], least)
    spread = max(1.0, fit(counts, [bursts], offset).dispersion)
    return (_mixture(counts, bursts, offset) - null.likelihood) / spread


def _mixture(counts: Sequence[float], column: Sequence[float], offset: Sequence[float]) -> float:
    """Log marginal likelihood of the driver alone, up to the constant that the null's likelihood leaves out."""
    return _marginal(tuple(counts), tuple(column), tuple(offset))


# A search for the smallest excluded rate asks for the same one at each of its steps.
@lru_cache(maxsize=8)
def _marginal(counts: tuple[float, ...], column: tuple[float, ...], offset: tuple[float, ...]) -> float:
    rest = [BACKGROUND + max(0.0, part) for part in offset]
    seen = [max(0.0, count) for count in counts]
    total = math.fsum(column)
    if total <= 0:
        return -math.inf
    parts = [_scale(seen, column, rest, total, mean) for mean in SCALES]
    top = max(parts)
    return top + math.log(math.fsum(math.exp(part - top) for part in parts) / len(parts))


def _scale(
    seen: Sequence[float], column: Sequence[float], rest: Sequence[float], total: float, mean: float
) -> float:
    """Log of the integral over the rate, by Laplace's method around its largest value."""
    prior = SHAPE / mean
    # Never zero, because its logarithm is taken below.
    rate = max(1e-12, (math.fsum(seen) + SHAPE) / (total + prior))
    for _ in range(60):  # expectation maximisation, as in ``poisson.fit``, with the prior beside
        share = math.fsum(
            count * rate * x / (rate * x + base) for count, x, base in zip(seen, column, rest, strict=True)
        )
        new = max(1e-12, (share + SHAPE) / (total + prior))
        if abs(new - rate) <= 1e-9 * rate:
            break
        rate = new
    # In u = log(rate) the posterior is close to normal even for few counts.
    value = (
        math.fsum(
            count * math.log(rate * x + base) - rate * x - base if count > 0 else -rate * x - base
            for count, x, base in zip(seen, column, rest, strict=True)
        )
        + SHAPE * math.log(prior)
        - math.lgamma(SHAPE)
        + SHAPE * math.log(rate)
        - prior * rate
    )
    curve = rate * (total + prior) - math.fsum(
        count * (rate * x) * base / (rate * x + base) ** 2
        for count, x, base in zip(seen, column, rest, strict=True)
    )
    return value + 0.5 * math.log(2 * math.pi / max(curve, SHAPE / 4))
