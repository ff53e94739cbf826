"""Growth of a count that is not certainly a leak: the largest rate that it may have, and whether that passes."""

from __future__ import annotations

import math

from harness.core.judge.assessed import Assessed
from harness.core.judge.diagnose import MAX_TIE, MIN_ADVANTAGE, driver, per
from harness.core.judge.moments import DRIVERS
from harness.core.judge.rates import batch_size
from harness.core.judge.slowing import first_and_last_rate, slows
from harness.core.judge.tested_series import (
    EXPECTED_IF_CONTINUING,
    MIN_GROWTH,
    MIN_REGULAR_SHARE,
    MIN_RISES,
    SLOW_POOL,
    TestedSeries,
    batch_units,
    benign_factors,
    clients_known,
    concentrated_drivers,
    continues,
    spans_with,
)
from harness.core.stats.distributions import poisson_interval
from harness.core.stats.evidence import excluded
from harness.core.stats.poisson import fit
from harness.core.units import counted

BOUND_MARGIN = 0.5  # measured growth passes only when its rate is at most half of the sensitivity
BOUND_EVIDENCE = math.log(20)  # an e-value of 20 against a larger rate: a bound at 95 %
NEARLY_ALL = 0.8  # share of the growth that makes one kind of cycle its likely cause
HALVINGS = 12  # bisection steps of the search for the bound: a precision of 1 in 4,096


def _same_in_bursts(data: TestedSeries) -> bool:
    """Whether nearly every burst of clients adds the same number, and the others nothing."""
    grown = [value for value, _ in spans_with(data, "cycle")]
    rises = [value for value in grown if value > 0]
    return bool(rises) and len(rises) >= MIN_REGULAR_SHARE * len(grown) and max(rises) - min(rises) <= 1.0


def bounded_or_undecided(data: TestedSeries, exposure: float, sensitivity: float) -> Assessed:
    """Bounded by the connections since the last growth, or undecided."""
    level = highest = 0.0
    streams = counted(exposure, "answered stream", ",.0f")
    clients = data.series.column("answered")
    after = 0
    for index, (value, granted) in enumerate(zip(data.grown, data.offset, strict=True)):
        level += value - granted
        if level > highest:
            highest, after = level, index + 1
    since = math.fsum(clients[after:])
    # The rule of three: without an event in n trials the rate is below 3 / n at 95 %, since e^-3 = 0.05.
    at_most = 3.0 / since if since else math.inf
    factor = "connection"
    rivals: tuple[str, ...] = ()
    untested = per_burst = False
    if data.total >= MIN_GROWTH:
        factor, rivals = driver(data.grown, data.series, data.offset)
        untested = since > 0 and _driver_rare_since(data, factor, after) and not clients_known(data, factor)
        untested = untested or (
            since > 0 and _mostly_in_long_streams(data) and _driver_rare_since(data, "long", after)
        )
        if (
            since > 0
            and not untested
            and not clients_known(data, factor)
            and (rare := _concentrated_driver_rare_since(data, after))
        ):
            factor, rivals, untested = rare, (), True
    if at_most <= sensitivity and not untested:
        why = f"no growth over the last {since:,.0f} of {counted(exposure, 'answered stream', ',.0f')}"
        return Assessed("bounded", at_most, why, data.total, exposure)
    _, _, high = poisson_interval(max(0.0, data.total), exposure)
    slow = high <= BOUND_MARGIN * sensitivity and factor != "time"
    if data.total > 0 and slow and (not untested or _slow_per_unit(data, factor, BOUND_MARGIN * sensitivity)):
        over = counted(exposure, "answered stream", ",.0f")
        why = f"grew by {data.total:g} over {over}, at largest {high:.2g} per stream"
        return Assessed("bounded", high, why, data.total, exposure)
    if (
        data.total >= MIN_GROWTH
        and not untested
        and (largest := _largest_rate_beside_bursts(data)) <= sensitivity
    ):
        each = data.total / max(1.0, math.fsum(data.series.column("cycle")))
        why = f"grew by about {each:.2g} with each burst of clients, whatever its length, as a pool does"
        return Assessed("bounded", largest, why, data.total, exposure, per_burst=True)
    undetected = max(at_most, high) if data.total > 0 else at_most
    growing = data.total >= 2 and (untested or continues(spans_with(data, "connection")))
    if data.total >= 2 and data.total < MIN_GROWTH:
        factor, rivals = driver(data.grown, data.series, data.offset)
    if data.total >= 2 and _follows_bursts(data, factor):
        # In long bursts the same growth is much less per stream, so growth per burst may continue while growth per
        # stream seems to stop.
        per_burst = growing or continues(spans_with(data, "cycle"))
        growing = growing or per_burst
    if growing:
        best = f"best explained per {'cycle, whatever its load' if per_burst else per(factor)}"
        why = f"grew by {round(data.total, 1):g} over {streams}, which a pool could explain so far"
        if not best.endswith("connection"):
            why += f" ({best})"
        if untested:
            why = (
                f"grew by {round(data.total, 1):g}, best explained per {per(factor)}, "
                "and too little of that came afterwards to show whether the growth has stopped"
            )
    else:
        factor, rivals = "connection", ()
        why = (
            f"no growth over {counted(since, 'answered stream', ',.0f')}; smallest detectable leak "
            f"{undetected:.2g} per stream, where {sensitivity:.2g} was asked for"
            if since
            else f"grew by {round(data.total, 1):g} over {streams}, up to the last cycle"
        )
    slowing = data.total >= MIN_GROWTH and slows(spans := spans_with(data, "answered"))
    if slowing:
        first, last = first_and_last_rate(spans)
        why += f"; its rate fell from {first:.2g} to {last:.2g} per stream"
    return Assessed(
        "undecided", undetected, why, data.total, exposure, factor, rivals, growing=growing, per_burst=per_burst,
        slowing=slowing,
        paused=growing and _paused(data, since, exposure),
        few=_rises(data) < MIN_RISES and data.total <= max(SLOW_POOL, data.pool),
        batch=batch_units(data, factor) if growing else 1.0,
    )  # fmt: skip


def _slow_per_unit(data: TestedSeries, factor: str, rate: float) -> bool:
    """Whether the growth is slow per unit of its driver too, although the driver has hardly occurred since."""
    _, _, high = poisson_interval(max(0.0, data.total), math.fsum(data.series.column(factor)))
    return high <= rate


def _rises(data: TestedSeries) -> int:
    """Cycles in which the count grew."""
    return sum(1 for value in data.grown if value > 0)


def _paused(data: TestedSeries, since: float, exposure: float) -> bool:
    """Whether growth occurred in too few cycles to follow a driver, or one more unit was to be expected since."""
    return since > 0 and (_rises(data) < MIN_GROWTH or since * data.total >= exposure)


def _mostly_in_long_streams(data: TestedSeries) -> bool:
    """Whether growth exceeds a pool, and nearly all of it is in cycles whose streams lasted for many events."""
    pairs = zip(data.grown, data.series.column("long"), strict=True)
    late = math.fsum(value for value, streams in pairs if streams > 0)
    return data.total > max(SLOW_POOL, data.pool, 2.0 * data.series.peak) and late >= NEARLY_ALL * data.total


def _follows_bursts(data: TestedSeries, factor: str) -> bool:
    """Whether growth follows the bursts of clients better than the driver, as in a slowly filling pool."""
    by_burst = fit(data.grown, [data.series.column("cycle")], data.offset)
    by_driver = fit(data.grown, [data.series.column(factor)], data.offset)
    return by_burst.likelihood > by_driver.likelihood + MAX_TIE


def _largest_rate_beside_bursts(data: TestedSeries) -> float:
    """The largest rate per answered stream in addition to growth that is the same in every burst (95 %); infinite if a
    driver explains the growth nearly as well as the bursts do."""
    bursts, column = data.series.column("cycle"), data.series.column("answered")
    alone = fit(data.grown, [bursts], data.offset).likelihood
    for _, factor, _ in DRIVERS:
        other = data.series.column(factor)
        if any(other) and fit(data.grown, [other], data.offset).likelihood > alone - MIN_ADVANTAGE:
            return math.inf
    # If nearly every burst adds the same number, that number is a step of the pool, and not a batch of a leak: of
    # batches that occur by chance, some bursts would have two and short ones none.
    size = 1.0 if _same_in_bursts(data) else batch_size(data.grown)
    counts = [value / size for value in data.grown]
    offset = [value / size for value in data.offset]
    benign = [data.series.column(name) for name in benign_factors(data, "answered") if name != "cycle"]

    def is_excluded(rate: float) -> bool:
        return excluded(counts, column, bursts, benign, offset, rate / size) >= BOUND_EVIDENCE

    low, high = 0.0, 3.0 * (1.0 + data.total) / math.fsum(column)
    if not is_excluded(high):
        return math.inf
    # The evidence against a rate grows with the rate, so bisection finds the smallest one that is excluded.
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_excluded(middle) else (middle, high)
    return high


def _driver_rare_since(data: TestedSeries, factor: str, after: int) -> bool:
    """Whether the driver has hardly occurred since the last growth: then the time without growth proves nothing."""
    column = data.series.column(factor)
    amount = math.fsum(column[:after])
    return amount > 0 and math.fsum(column[after:]) * data.total / amount < EXPECTED_IF_CONTINUING


def _concentrated_driver_rare_since(data: TestedSeries, after: int) -> str:
    """The driver in whose cycles most of the growth occurred, if it has hardly occurred since; else empty."""
    return next(
        (factor for factor in concentrated_drivers(data, after) if _driver_rare_since(data, factor, after)),
        "",
    )
