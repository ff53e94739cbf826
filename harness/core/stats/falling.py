"""Growth whose rate only falls: the rates of greatest likelihood among those that never rise, beside one constant rate.

Antitonic regression (Barlow, Bartholomew, Bremner and Brunk 1972, "Statistical inference under order restrictions"): of
Poisson counts, least squares weighted by exposure gives the rates of greatest likelihood. It supposes no law of the
fall: users that connect again, whatever their distribution, and a cache that fills up, both fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.stats.distributions import isotonic


@dataclass(frozen=True, slots=True)
class Falling:
    """surplus: log-likelihood ratio of falling rates against one rate. dispersion: Pearson's chi-squared per degree of
    freedom about the falling rates, 1 for a Poisson process; 1 where every cycle has a rate of its own."""

    surplus: float
    dispersion: float


def falling(counts: Sequence[float], amounts: Sequence[float]) -> Falling:
    """How well rates that never rise explain ``counts`` (negative ones count as 0), each added with its one of
    ``amounts`` of the driver, all above 0."""
    seen = [max(0.0, count) for count in counts]
    constant = math.fsum(seen) / math.fsum(amounts)
    rising = isotonic([-count / amount for count, amount in zip(seen, amounts, strict=True)], amounts)
    means = [max(1e-9, -rate * amount) for rate, amount in zip(rising, amounts, strict=True)]
    surplus = math.fsum(
        count * math.log(mean / (constant * amount))
        for count, mean, amount in zip(seen, means, amounts, strict=True)
        if count > 0
    )
    chi = math.fsum((count - mean) ** 2 / mean for count, mean in zip(seen, means, strict=True))
    free = len(seen) - len(set(rising))
    return Falling(surplus, chi / free if free else 1.0)
