"""Tests levels with noise of their own: jitter, live objects between collections, CPU use of an idle service.

The test fits a straight line through the levels, over the amount of a driver by each level, and divides its slope by
its standard error (t). The error is widened for autocorrelated noise (AR(1)). Noise of correlation 0.7 alone reaches
t = 14 once in 3,000 series of 6 levels, 11 in series of 8, 9 to 10 up to 24 levels and 8 beyond (measured:
``python -m bench.detector --calibrate``). ``critical`` requires about as much of a leak. As with exact counts, growth
per cycle and growth per second must not explain it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from harness.core.judge import growth
from harness.core.judge.assessed import Allowed, Assessed
from harness.core.judge.diagnose import MAX_TIE, MIN_ADVANTAGE
from harness.core.judge.moments import DRIVERS, Series
from harness.core.judge.rates import NORMAL_95, beside_readings
from harness.core.judge.slowing import halves
from harness.core.judge.tested_series import MIN_GROWTH, SLOW_POOL
from harness.core.stats.distributions import drawdown, isotonic, median, student95
from harness.core.stats.linear import Line, line
from harness.core.units import bytes_text, counted

MIN_LEVELS = 6
ROUNDING_DEVIATION = 0.3  # residual deviation of an integer that was rounded
NUISANCE_T = 3.0
BOUND_MARGIN = 0.5  # a trend passes only when its rate is at most half of the sensitivity
END_LEVELS = 3  # levels at each end, whose medians give the rise of the whole series
MIN_RISE_PER_FALL = 2.0  # times the largest fall that the whole rise must be
MIN_DRIVER_SPANS = 3  # spans in which a driver must have occurred to be named
IDLE_CPU = 0.05  # cores that an idle service uses, beyond any pool of idle workers
MANY_LEVELS = 16  # levels from which on so much idle CPU is a leak, whatever the cycles were
MIN_LINE_GROWTH = 12.0  # units that a count with jitter must have grown along a straight line
MIN_SAWTOOTH = 16.0  # units that fall at once: more than jitter
MIN_TIMED = 9  # levels before growth over time alone keeps a run from passing
# Where time is the cause, a line over time leaves at most this share of the noise that a line over connections leaves.
MAX_TIME_NOISE = 0.5
MIN_LATE_SHARE = 0.5  # of its share of the growth that the second half of the driver must have


def critical(levels: int) -> float:
    """The t that noise of correlation 0.7 exceeds about once in 3,000 series of this number of levels."""
    return 8.0 if levels > 24 else 11.0 if levels > 8 else 14.0


def assess(
    series: Series,
    *,
    sensitivity: float,
    allowed: Allowed | None = None,
    floor: float = ROUNDING_DEVIATION,
    least: float = MIN_GROWTH,
    readings_add: bool = False,
    may_leak: bool = True,
) -> Assessed:
    """Judge one noisy series.

    may_leak: False: only bound it, because another test decides whether it leaks.

    floor: noise that any reading has. least: growth below which nothing is called a leak.
    readings_add: each reading may itself add a constant (a counter's own objects), which is subtracted.
    """
    granted = allowed or Allowed()
    spent = [0.0, *accumulate(granted.of(dict(span)) for span in series.spans)]
    levels = [level - used for level, used in zip(series.levels, spent, strict=True)]
    clients = series.column("connection")
    exposure = math.fsum(clients)
    total = levels[-1] - levels[0]
    if exposure <= 0:
        return Assessed("undecided", math.inf, "no load cycle was completed")
    since, undetected = _since_last_move(levels, clients, floor)
    extra = ("reading",) if readings_add else ()
    factor, rivals = _driver(levels, series, floor, extra)
    main = _line(levels, series, (factor, *extra), floor)
    if main is None or len(levels) < MIN_LEVELS:
        bound = undetected
        status = "bounded" if bound <= sensitivity else "undecided"
        why = (
            f"{len(levels)} levels with noise are too few"
            if status == "undecided"
            else _no_growth_text(since, exposure)
        )
        return Assessed(status, bound, why, total, exposure, growing=total >= least)
    half = student95(main.free) * main.errors[0]
    rate = main.slopes[0]
    low, high = rate - half, rate + half
    column = _cumulative(series, factor)
    grown = rate * column[-1]
    certain = (
        may_leak and rate / main.errors[0] >= critical(len(levels)) and grown >= max(least, granted.pool)
    )
    continues = _continues(levels, column, rate)
    certain = certain and sum(1 for amount in series.column(factor) if amount > 0) >= MIN_DRIVER_SPANS
    if certain and continues and _no_other_cause(levels, series, factor, floor, grown, extra):
        why = f"rose over {counted(len(series.spans), 'cycle')}, {rate / main.errors[0]:.0f} times its noise"
        factor, rivals = _driver_by_likelihood(levels, series, floor, extra)
        rate, low, high = _rate_of_leak(series, levels, spent, factor, floor, extra, main)
        return Assessed("leaking", high, why, total, exposure, factor, rivals, rate, low, high)
    per_connection = _line(levels, series, ("connection", *extra), floor) or main
    upper = _largest_hidden_rate(series, per_connection, exposure)
    bound = min(upper, undetected)
    growing = rate > 3 * main.errors[0] and grown >= least and continues
    if bound <= sensitivity and not (growing and bound > BOUND_MARGIN * sensitivity):
        why = (
            _no_growth_text(since, exposure)
            if bound < upper
            else f"no trend over {counted(exposure, 'connection', ',.0f')}"
        )
        return Assessed("bounded", bound, why, total, exposure)
    noise, least_leak, asked = (_in_unit(series, value) for value in (main.sigma, bound, sensitivity))
    why = f"noise of ±{noise}; smallest detectable leak {least_leak} per connection, where {asked} was asked for"
    return Assessed("undecided", bound, why, total, exposure, factor, rivals, growing=growing)


def _rate_of_leak(
    series: Series,
    levels: Sequence[float],
    spent: Sequence[float],
    factor: str,
    floor: float,
    extra: tuple[str, ...],
    main: Line,
) -> tuple[float, float, float]:
    """Rate per unit of the named driver, with its 95 % interval. spent: growth that is granted. main: the line over the
    driver that the verdict is based on, for a named one that fits no line."""
    read = series.for_rate(factor)
    kept = [level - used for level, used in zip(read.levels, spent, strict=True)]
    named = _line(kept, read, (factor, *extra), floor) or main
    half = student95(named.free) * named.errors[0]
    if series.key.unit not in ("B", "cores"):
        # Growth by counts is a random walk: the line's residuals do not show how far it may have gone by chance.
        amount = max(1.0, _cumulative(series, factor)[-1])
        half = math.hypot(half, NORMAL_95 * math.sqrt(max(0.0, named.slopes[0] * amount)) / amount)
        half += _sawtooth(levels, _cumulative(series, factor), named.slopes[0]) / amount
    return named.slopes[0], named.slopes[0] - half, named.slopes[0] + half


def _largest_hidden_rate(series: Series, line: Line, exposure: float) -> float:
    """The largest rate per connection that the noise around the line over connections could hide."""
    upper = max(0.0, line.slopes[0]) + 0.84 * student95(line.free) * line.errors[0]
    if series.key.unit in ("B", "cores"):
        return upper
    # What leaks is itself a Poisson count: below three units expected none may have come (the rule of three). The noise
    # hides a few that did come: as many as the line has risen by, and its error.
    hidden = exposure * (max(0.0, line.slopes[0]) + line.errors[0])
    return max(upper, (3.0 + hidden) / exposure)


def assess_moving(
    series: Series,
    *,
    sensitivity: float,
    allowed: Allowed | None = None,
    tolerance: float = 0.0,
    floor: float = ROUNDING_DEVIATION,
    least: float = MIN_GROWTH,
    readings_add: bool = False,
) -> Assessed:
    """Judge a count that also falls: by jitter, by late closes, or when a collector frees objects.

    The rising sequence nearest to its levels is judged like an exact count. The whole rise must also be large compared
    with the largest fall, because growth that is freed is not a leak.

    readings_add: what each reading adds is subtracted.
    """
    passed = assess(
        series, sensitivity=sensitivity, allowed=allowed, floor=max(floor, tolerance), least=least,
        readings_add=readings_add,
        may_leak=False,
    )  # fmt: skip
    levels = _without_readings(series, floor) if readings_add else series.levels
    rising = replace(series, levels=tuple(isotonic(levels)))
    found = growth.assess(rising, sensitivity=sensitivity, allowed=allowed, tolerance=tolerance)
    fall = drawdown(levels)
    rise = median(levels[-END_LEVELS:]) - median(levels[:END_LEVELS])
    # A series that hardly falls has no noise, so it needs no further levels to average the noise out.
    exact = fall <= 2 * floor
    clear = (exact or len(levels) >= MIN_LEVELS) and rise >= MIN_RISE_PER_FALL * fall + least
    if found.factor == "time":
        # Growth over time must also exceed the noise in the spans without clients.
        spans = zip(rising.increments, series.column("connection"), strict=True)
        alone = math.fsum(value for value, clients in spans if clients == 0)
        clear = clear and alone >= MIN_RISE_PER_FALL * fall + least
    if found.status == "leaking" and clear:
        if readings_add and (free := beside_readings(series.for_rate(found.factor), found.factor, floor)):
            rate, low, high = free
            return replace(found, rate=rate, low=max(0.0, low), high=high, at_most=high)
        amount = math.fsum(series.column(found.factor))
        # The level at either end is known only to within half of the largest fall.
        wide = (fall + 2 * floor) / amount if amount else 0.0
        return replace(found, low=max(0.0, found.low - wide), high=found.high + wide)
    if clear and not exact and not readings_add:
        lined = assess(
            _without_repeats(series),
            sensitivity=sensitivity,
            allowed=allowed,
            floor=max(floor, tolerance),
            least=max(least, MIN_LINE_GROWTH),
        )
        if lined.status == "leaking" and lined.factor != "time":
            return lined
    seen = found.status == "leaking" or found.growing
    if seen and rise >= max(least, fall) and passed.at_most > BOUND_MARGIN * sensitivity:
        noisy = f"rose by {round(rise, 1):g} and fell by up to {round(fall, 1):g}, which noise could explain so far"
        why = found.why if found.growing and clear else noisy
        return replace(
            passed, status="undecided", why=why, factor=found.factor, rivals=found.rivals, growing=True,
            few=found.few,
        )  # fmt: skip
    if readings_add and passed.status == "bounded" and _rises_with_time(levels, series, floor, least):
        why = f"rose by {round(rise, 1):g}, in proportion to the time rather than to the load"
        return replace(passed, status="undecided", why=why, factor="time", rivals=(), growing=True)
    return passed


def _rises_with_time(levels: Sequence[float], series: Series, floor: float, least: float) -> bool:
    """Whether a count rises steadily over time. Bounds per stream do not exclude that, because enough streams make each
    of them small: without this check a leak of eight blocks a second passed after half a minute."""
    timed = _line(levels, series, ("time",), floor)
    loaded = _line(levels, series, ("connection",), floor)
    if timed is None or loaded is None or len(levels) < MIN_TIMED:
        return False
    slope, column = timed.slopes[0], _cumulative(series, "time")
    return (
        slope >= critical(len(levels)) * timed.errors[0]
        and slope * column[-1] >= max(least, 2.0 * SLOW_POOL)
        and timed.sigma <= MAX_TIME_NOISE * loaded.sigma
        and _continues(levels, column, slope)
    )


def _without_readings(series: Series, floor: float) -> tuple[float, ...]:
    """The levels without what the readings themselves have added, which spans without clients show. A reading adds at
    most twice the counter's own noise."""
    spans = zip(series.increments, series.column("connection"), strict=True)
    alone = [value for value, clients in spans if clients == 0]
    each = min(2 * floor, max(0.0, median(alone))) if alone else 0.0
    return tuple(
        level - each * read for level, read in zip(series.levels, _cumulative(series, "reading"), strict=True)
    )


def _sawtooth(levels: Sequence[float], column: Sequence[float], rate: float) -> float:
    """Units between the largest residuals above and below the line, where a cleanup frees many units at once; else 0.
    The cleanup depends on the streams that drive the growth, so more levels do not average it out."""
    rest = [level - rate * amount for level, amount in zip(levels, column, strict=True)]
    wide = max(rest) - min(rest)
    return wide if drawdown(levels) >= MIN_SAWTOOTH else 0.0


def _in_unit(series: Series, value: float) -> str:
    """A number with two significant digits, or with the unit of bytes: ``0.033``, ``180 kB``."""
    return bytes_text(value) if series.key.unit == "B" else f"{value:.2g}"


def _no_growth_text(since: float, exposure: float) -> str:
    return f"no growth over the last {since:,.0f} of {counted(exposure, 'connection', ',.0f')}"


def _cumulative(series: Series, factor: str) -> list[float]:
    return [0.0, *accumulate(series.column(factor))]


def _line(levels: Sequence[float], series: Series, factors: Sequence[str], floor: float) -> Line | None:
    return line(levels, [_cumulative(series, factor) for factor in factors], floor)


def _unexplained(
    levels: Sequence[float], series: Series, floor: float, extra: tuple[str, ...]
) -> dict[str, float]:
    """The noise that each driver leaves unexplained, of the drivers with which the level rises."""
    noise = {}
    for _, factor, _ in DRIVERS:
        found = _line(levels, series, (factor, *extra), floor)
        if found and found.slopes[0] > 0:
            noise[factor] = found.sigma
    return noise


def _driver(
    levels: Sequence[float], series: Series, floor: float, extra: tuple[str, ...]
) -> tuple[str, tuple[str, ...]]:
    """The factor that leaves the least noise; factors within a tenth of it are not distinguished."""
    noise = _unexplained(levels, series, floor, extra)
    if not noise:
        return "connection", ()
    best = min(noise.values())
    tied = [factor for factor, sigma in noise.items() if sigma <= 1.1 * best]
    return tied[0], tuple(tied[1:])


def _driver_by_likelihood(
    levels: Sequence[float], series: Series, floor: float, extra: tuple[str, ...]
) -> tuple[str, tuple[str, ...]]:
    """The driver of a leak, and the factors that explain it as well: by the likelihood of normal noise, n·ln σ, with
    the thresholds of exact counts. In nine levels, a tenth less noise makes a driver only twice as likely."""
    noise = _unexplained(levels, series, floor, extra)
    best = min(noise.values())
    behind = {factor: len(levels) * math.log(sigma / best) for factor, sigma in noise.items()}
    plain = next(factor for factor, by in behind.items() if by <= MIN_ADVANTAGE)
    return plain, tuple(factor for factor, by in behind.items() if by <= MAX_TIE and factor != plain)


def _since_last_move(levels: Sequence[float], clients: Sequence[float], floor: float) -> tuple[float, float]:
    """Connections since the level last moved by more than the noise of a reading, and the largest rate that could have
    remained undetected since: three units (the rule of three), and the units that noise or small steps can have
    hidden."""
    since, first = 0.0, len(clients)
    while first > 0 and abs(levels[first] - levels[first - 1]) <= floor:
        first -= 1
        since += clients[first]
    # A noise of less than one unit hides none: the count is known exactly.
    hidden = max(levels[-1] - levels[first], floor if floor >= 1 else 0.0)
    return since, (3.0 + hidden) / since if since else math.inf


def _continues(levels: Sequence[float], column: Sequence[float], rate: float) -> bool:
    """Whether the second half of the driver has at least half of its share of the growth."""
    half = column[-1] / 2
    if half <= 0:
        return False
    _, late = halves(levels, column)
    return late >= MIN_LATE_SHARE * rate * half


def _no_other_cause(
    levels: Sequence[float],
    series: Series,
    factor: str,
    floor: float,
    grown: float,
    extra: tuple[str, ...],
) -> bool:
    """Whether neither growth per cycle nor growth per second explains the growth as well as the driver does."""
    for other in ("cycle", "time"):
        if other == factor:
            continue
        both = _line(levels, series, (factor, other, *extra), floor)
        work = series.key.metric == "idle-cpu" and grown >= IDLE_CPU and len(levels) >= MANY_LEVELS
        if both is None and work:
            # The cycles were all alike, but no healthy service uses ever more CPU time while idle.
            continue
        if both is None:
            # Cycles of equal size cannot distinguish a pool from a leak: only growth beyond any pool is one.
            if grown <= max(SLOW_POOL, 2.0 * series.peak):
                return False
        elif other == "cycle" and work:
            # No pool of idle workers uses so much CPU, in whichever cycles it was filled.
            continue
        elif both.slopes[0] < NUISANCE_T * both.errors[0]:
            return False
    return True


def _without_repeats(series: Series) -> Series:
    """The same count without readings that repeat the level before, with no client in between. Where a count has no
    noise of its own, such readings do not show the scatter from load to load, but make a line look exact. With them a
    cleanup after 2,500 requests was judged a leak after a minute of waiting."""
    levels, spans = [series.levels[0]], list[dict[str, float]]()
    waiting: dict[str, float] = {}
    for level, span in zip(series.levels[1:], series.spans, strict=True):
        waiting = {name: waiting.get(name, 0.0) + amount for name, amount in span.items()}
        if level != levels[-1] or waiting.get("connection", 0.0) > 0:
            levels.append(level)
            spans.append(waiting)
            waiting = {}
    return replace(series, levels=tuple(levels), spans=tuple(spans))
