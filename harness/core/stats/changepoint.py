"""Finds change points in a rate that is measured once a run: when did it change for good?

Each run the detector compares two explanations of the runs so far: one lasting step at some recent run, or
none. Both leave level, noise and autocorrelation unknown, and the second may have a slow trend. The ratio of their
marginal likelihoods (Liang et al. 2008, the closed form for a g-prior; right-Haar priors for level and noise) has
mean one while nothing changes. Summed over the runs at which the step may have happened it is a Shiryaev-Roberts
statistic; Shin, Ramdas and Rinaldo (2023) call it an e-detector. It reaches a threshold A by chance once in A runs
at most, whatever level and noise are. Autocorrelation and trend are weighed by prior and data, so the rate of false
alarms there is measured, not proved: ``python -m bench.trend`` writes docs/trend.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from harness.core.stats.distributions import mean_interval, median

THRESHOLD = 400.0  # of the evidence; docs/trend.md has the measured rate of false alarms
BASE = 6  # runs of a level before a change from it can be detected
WINDOW = 80  # runs that are compared: older ones say little about the current level
MIN_RUNS = 2  # runs that a step must last: one odd run is not a change
SHORT, FAR, NEAR = 3, 1.0, 0.4  # up to 3 runs, half must be one standard deviation off; later 0.4
PAIR = 12.0  # the same for a run beside another one beyond, on the same side
CLIP = 4.0  # times the usual scatter; a run beyond counts as this much
RECENT = 30  # runs that the usual scatter is taken from
UP = 0.9  # share of false alarms spent on a rate that rises
MAD = 1.4826  # median absolute deviation → standard deviation of a normal distribution
NORMAL = 1.96  # two-sided 95 % quantile of the normal distribution
# Autocorrelation from run to run, and its prior weight.
PHI = ((0.0, 0.75), (0.3, 0.12), (0.6, 0.12), (0.85, 0.01))
TREND = 0.5  # prior weight of a slow trend
SIZES = (1.0, 3.0)  # of a step, in standard deviations of the noise
# The ages of a step in runs that are tried; each stands for its neighbours too.
AGES = (2, 3, 4, 5, 6, 8, 10, 12)
REFINED = 10  # runs after the alarm that may still correct the position of the step


@dataclass(frozen=True, slots=True)
class RateEstimate:
    """One run's rate with its 95 % interval."""

    rate: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """The standard error, computed from the interval."""
        return max(0.0, self.high - self.low) / 2 / NORMAL


@dataclass(frozen=True, slots=True)
class Change:
    """One lasting change. index: the first run after it. found: the run that made it certain. earliest, latest:
    95 % range of index. before, after: mean rate with its 95 % interval. evidence: the e-detector's value; by chance it
    becomes N or more at most once in N stable runs."""

    index: int
    found: int
    earliest: int
    latest: int
    before: tuple[float, float, float]
    after: tuple[float, float, float]
    evidence: float

    @property
    def rose(self) -> bool:
        """True when the rate became larger."""
        return self.after[0] > self.before[0]

    @property
    def confidence(self) -> float:
        """1 minus the chance of such an alarm in one stable run."""
        return 1.0 - 1.0 / max(1.0, self.evidence)


def changes(estimates: Sequence[RateEstimate], threshold: float = THRESHOLD) -> list[Change]:
    """Every change, oldest first. An alarm is never withdrawn; the ten runs after it may still correct its
    position."""
    alarms: list[tuple[int, int, int, int, float]] = []
    start, last = 0, len(estimates)
    now = start + BASE + MIN_RUNS
    while now <= last:
        evidence, shares = weigh(estimates[max(start, now - WINDOW) : now])
        if evidence >= threshold:
            index, earliest, latest = _where(estimates, start, now, shares)
            alarms.append((index, now - 1, earliest, latest, evidence))
            # The search continues from the change, because the runs before it belong to the old level.
            start, now = index, max(now + 1, index + BASE + MIN_RUNS)
        else:
            now += 1
    return [_described(estimates, alarms, number) for number in range(len(alarms))]


def weigh(estimates: Sequence[RateEstimate]) -> tuple[float, dict[int, float]]:
    """The evidence for a step in the last of these runs, and its share by the step's age in runs."""
    values, error, scale = _clipped(estimates)
    ages = [age for age in AGES if age <= len(values) - BASE]
    if not ages:
        return 0.0, {}
    steps = dict.fromkeys(ages, 0.0)
    total = 0.0
    fits = [_Fit(values, error, phi, weight) for phi, weight in PHI]
    highest = max(max(fit.flat, fit.sloped) for fit in fits)
    for fit in fits:
        for trend, null in ((False, fit.flat), (True, fit.sloped)):
            share = math.exp(null - highest)
            total += share
            # A fit that explains the runs so much worse than the best one adds nothing to the sum.
            if share > 1e-9:
                for age in ages:
                    steps[age] += share * fit.step(age, trend=trend)
    found = {age: width * steps[age] / total for age, width in zip(ages, _widths(ages), strict=True)}
    if not _lasts(values, scale, max(found, key=lambda age: found[age])):
        return 0.0, found
    return math.fsum(found.values()), found


def _lasts(values: Sequence[float], scale: float, age: int) -> bool:
    """Whether half of the runs since the step are beyond the level before it: one outlier is not a step."""
    before, after = values[:-age], values[-age:]
    level = median(before)
    up = math.fsum(after) / age > level
    away = sorted((value - level if up else level - value) for value in after)
    # The value at this rank is the median (the lower of two): half of the runs are at least as far from the old level.
    return away[(age - 1) // 2] > (FAR if age <= SHORT else NEAR) * scale


def _clipped(estimates: Sequence[RateEstimate]) -> tuple[list[float], float, float]:
    """Values in which no single run outweighs the others, the standard error of one run, the usual scatter.

    A run that was measured less well than usual counts for less: its distance from the median shrinks.
    """
    recent = estimates[-RECENT:]
    error = median([estimate.error for estimate in recent])
    centre = median([estimate.rate for estimate in recent])
    scale = max(MAD * median([abs(estimate.rate - centre) for estimate in recent]), error)
    if scale <= 0:  # all values are equal and exact: any other value is a difference
        others = [abs(one.rate - centre) for one in estimates if one.rate != centre]
        scale = median(others or [0.0]) / CLIP
    values = []
    for estimate in estimates:
        away = estimate.rate - centre
        if estimate.error > 2 * error > 0:
            away *= 2 * error / estimate.error
        values.append(away)
    limit = CLIP * scale
    side = [0, *((value > limit) - (value < -limit) for value in values), 0]
    # Two outliers in a row are not an accident, so then their size counts.
    limits = [
        PAIR * scale if one and one in (left, right) else limit
        for left, one, right in zip(side, side[1:], side[2:], strict=False)
    ]
    values = [max(-most, min(most, value)) for value, most in zip(values, limits, strict=True)]
    # Exact values still have rounding errors; without this a difference would divide by zero.
    return values, max(error, 1e-3 * scale), scale


class _Fit:
    """The runs after removing the autocorrelation of order one (``phi``)."""

    def __init__(self, values: Sequence[float], error: float, phi: float, weight: float) -> None:
        self.phi = phi
        # Whitening: successive runs correlate by phi, these differences do not. The first run only serves the second
        # one.
        z = [after - phi * before for before, after in pairwise(values)]
        k = self.k = len(z)
        self.z = z
        self.sums = [0.0, *accumulate(z)]
        self.total = self.sums[-1]
        raw = math.fsum(value * value for value in z) - self.total**2 / k
        # The noise is at least that of the measured intervals.
        self.syy = max(raw, k * error * error * (1 + phi * phi), 1e-300)
        self.middle = (k - 1) / 2
        self.stt = k * (k * k - 1) / 12
        self.sty = math.fsum((i - self.middle) * value for i, value in enumerate(z))
        # Log of the marginal likelihood of a constant level. Integrating out the noise leaves the power -(k - 1) / 2;
        # constants that every hypothesis shares are omitted.
        self.flat = math.log(weight * (1 - TREND)) - (k - 1) / 2 * math.log(self.syy)
        share = min(1.0, self.sty**2 / self.stt / self.syy) if self.stt else 0.0
        # The Bayes factor of a trend from its R² (Liang et al. 2008), for a prior that weighs as much as one
        # run (g = k).
        bayes = (k - 2) / 2 * math.log1p(k) - (k - 1) / 2 * math.log1p(k * (1 - share))
        self.sloped = math.log(weight * TREND) - (k - 1) / 2 * math.log(self.syy) + bayes

    def step(self, age: int, *, trend: bool) -> float:
        """The Bayes factor for a step ``age`` runs ago, with the sign's share of the false alarms."""
        k, rest = self.k, 1 - self.phi
        first = k - age
        after = self.total - self.sums[first + 1]
        # A whitened step is 1 in its first run and 1 - phi in each later one; sxx and sxy are its centred sums of
        # squares and of products with the runs.
        amount = 1 + rest * (age - 1)
        sxx = 1 + rest * rest * (age - 1) - amount * amount / k
        sxy = self.z[first] + rest * after - amount * self.total / k
        syy, free = self.syy, k
        if trend:
            # With a trend in both hypotheses, the part of the step and of the runs that the trend explains is
            # projected out first (Frisch and Waugh 1933).
            late = (first + k) / 2 - self.middle  # mean place of the runs after the first, from the middle
            stx = (first - self.middle) + rest * (age - 1) * late
            sxx -= stx * stx / self.stt
            sxy -= stx * self.sty / self.stt
            syy = max(syy - self.sty**2 / self.stt, 1e-300)
            free = k - 1
        # Such a step cannot be distinguished from the level or the trend, so it is no evidence for either hypothesis.
        if sxx <= 1e-9:
            return 1.0
        share = min(1.0 - 1e-12, sxy * sxy / (sxx * syy))
        found = 0.0
        for size in SIZES:
            # With this g the prior of the step has a standard deviation of ``size`` times that of the noise.
            g = size * size * sxx
            log = (free - 2) / 2 * math.log1p(g) - (free - 1) / 2 * math.log1p(g * (1 - share))
            found += math.exp(min(log, 300.0))
        # The factor above is for a prior with half of its weight on each sign; this gives the share UP to a rise
        # instead.
        return 2 * (UP if sxy > 0 else 1 - UP) * found / len(SIZES)


def _widths(ages: Sequence[int]) -> list[float]:
    """The number of ages that each age of the grid stands for."""
    ends = [ages[0] - 0.5, *((a + b) / 2 for a, b in pairwise(ages)), ages[-1] + 0.5]
    return [after - before for before, after in pairwise(ends)]


def _where(
    estimates: Sequence[RateEstimate], start: int, now: int, shares: dict[int, float]
) -> tuple[int, int, int]:
    """The likeliest first run, and its 95 % range: by least squares over the runs around the alarm."""
    # An age with less than a fiftieth of the best one's evidence is not where the step was.
    oldest = max(age for age, share in shares.items() if share >= 0.02 * max(shares.values()))
    end = min(len(estimates), now + REFINED)
    first = max(start + 2, now - oldest - 3)
    options = list(range(first, now)) or [now - MIN_RUNS]
    window = estimates[max(start, now - WINDOW) : end]
    offset = end - len(window)
    values, error, _ = _clipped(window)
    squares = {at: max(_split(values, at - offset), len(values) * error**2 * 1e-3) for at in options}
    best = min(squares, key=lambda at: squares[at])
    # Profile likelihood with the noise estimated for each position: the ratio of two is (S_best / S)^(n / 2).
    power = len(values) / 2
    odds = {
        at: math.exp(max(-700.0, power * math.log(squares[best] / square))) for at, square in squares.items()
    }
    likely = [at for at, odd in odds.items() if odd >= 0.147]  # half of the 95 % quantile of chi-square: 1.92
    return best, min(likely), max(likely)


def _split(values: Sequence[float], at: int) -> float:
    """Sum of squares around two means."""
    total = 0.0
    for part in (values[:at], values[at:]):
        if part:
            mean = math.fsum(part) / len(part)
            total += math.fsum((value - mean) ** 2 for value in part)
    return total


def _described(
    estimates: Sequence[RateEstimate], alarms: Sequence[tuple[int, int, int, int, float]], number: int
) -> Change:
    index, found, earliest, latest, evidence = alarms[number]
    start = alarms[number - 1][0] if number else 0
    end = alarms[number + 1][0] if number + 1 < len(alarms) else len(estimates)
    return Change(
        index, found, earliest, latest, _level(estimates[start:index]), _level(estimates[index:end]), evidence
    )


def _level(estimates: Sequence[RateEstimate]) -> tuple[float, float, float]:
    """Mean rate with its 95 % interval, never narrower than the runs' own intervals make it."""
    mean, low, high = mean_interval([estimate.rate for estimate in estimates])
    half = NORMAL * math.sqrt(math.fsum(estimate.error**2 for estimate in estimates)) / len(estimates)
    return mean, min(low, mean - half), max(high, mean + half)
