"""Measures the slope that noise alone reaches, in units of its standard error: the figures of ``trend.critical``.

python -m bench.detector --calibrate

The judge's straight line is fitted to series of autocorrelated noise (AR(1), correlation 0.7), over cycles that grow as
those of a plan do. The judge requires about the slope that one of 3,000 such series reaches. At most one in 1,000 may
pass.
"""

from __future__ import annotations

import math
import random
from itertools import accumulate

from harness.core.judge.trend import ROUNDING_DEVIATION, critical
from harness.core.stats.linear import line

RHO = 0.7
SERIES = 30_000  # of each length
ONCE = 3000
MAX_FALSE_ALARMS = 0.001  # false alarms on counts
LENGTHS = (6, 8, 9, 12, 16, 20, 24, 25, 32)
LARGEST = 4000.0


def noise(rng: random.Random, size: int) -> list[float]:
    """One series of levels, of standard deviation 2, rounded."""
    state, levels = rng.gauss(0, 2), []
    for _ in range(size):
        state = RHO * state + rng.gauss(0, 2 * math.sqrt(1 - RHO * RHO))
        levels.append(float(round(state)))
    return levels


def reached(size: int, series: int = SERIES) -> list[float]:
    """The t of each series, in ascending order. size: levels of a series. series: how many are simulated."""
    rng = random.Random(size)
    column = [0.0, *accumulate(min(LARGEST, 300.0 * 2 ** (i // 2)) for i in range(size - 1))]
    found = []
    for _ in range(series):
        one = line(noise(rng, size), [column], ROUNDING_DEVIATION)
        found.append(one.slopes[0] / one.errors[0] if one else 0.0)
    return sorted(found)


def calibrate() -> bool:
    """Print the t that noise reached and the t that the judge requires; True if at most MAX_FALSE_ALARMS of the series
    pass."""
    holds = True
    print("| levels | noise reaches once in 3,000 | asked | pass, in 1,000 |\n|---|---|---|---|")
    for size in LENGTHS:
        found = reached(size)
        passed = sum(1 for t in found if t >= critical(size)) / len(found)
        holds = holds and passed <= MAX_FALSE_ALARMS
        print(
            f"| {size} | {found[-len(found) // ONCE]:.1f} | {critical(size):g} | {1000 * passed:.2f} |",
            flush=True,
        )
    return holds
