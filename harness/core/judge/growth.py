"""Tests counts that return to the same integer: does a count grow with an action of the clients, and does it continue?

Three benign patterns look like leaks: a pool or cache that fills and stops, a pool that takes a few more slots with
each burst of clients, and growth over time that has nothing to do with the streams. So growth is certainly a leak in
three cases only:

- At once: it follows one driver exactly, it exceeds any pool, and cycles of different size show that it is not the same
  in every burst.
- Slowly: cycles that differ by design show that the driver explains it, and that growth per cycle, per second or per
  reading does not. The evidence is an e-process that must reach 1,000 (``harness.core.stats.evidence``).
- Whatever drives it: it occurred in every cycle, and exceeds any pool by far.

In each case it must not have stopped. The exposure is the number of answered streams: no growth over M answered
streams bounds the rate at 3/M (the rule of three, 95 %). ``python -m bench.detector`` measures the error rates.
"""

from __future__ import annotations

import math
from dataclasses import replace

from harness.core.judge.assessed import Allowed, Assessed
from harness.core.judge.bounded_growth import bounded_or_undecided
from harness.core.judge.certain_growth import (
    mostly_constant_per_unit,
    why_beyond_any_pool,
    why_certain_at_once,
    why_certain_slowly,
)
from harness.core.judge.diagnose import driver
from harness.core.judge.moments import Series
from harness.core.judge.rates import interval
from harness.core.judge.tested_series import (
    MIN_GROWTH,
    TestedSeries,
    clients_known,
    concentrated_drivers,
    constant_per_unit,
)


def assess(
    series: Series, *, sensitivity: float, allowed: Allowed | None = None, tolerance: float = 0.0
) -> Assessed:
    """Judge one count whose level is exact. tolerance: growth per reading that is ignored."""
    granted = allowed or Allowed()
    # What a budget grants is an offset of the model, not a tolerance of the result, so that more than that still
    # shows.
    offset = [granted.of(dict(span)) for span in series.spans]
    grown = [value if abs(value) > tolerance else 0.0 for value in series.increments]
    total = math.fsum(grown) - math.fsum(offset)
    data = TestedSeries(grown, offset, series, tolerance, granted.pool, total)
    exposure = math.fsum(series.column("answered"))
    if exposure <= 0:
        return Assessed("undecided", math.inf, "the service answered no stream in a completed cycle")
    if total >= MIN_GROWTH:
        factor, rivals = driver(grown, series, offset)
        finite = clients_known(data, factor)
        why = (
            ""
            if finite
            else why_certain_at_once(data, factor)
            or why_certain_slowly(data, factor)
            or why_beyond_any_pool(data)
        )
        if why:
            rate, low, high = _rate(data, factor)
            return Assessed(
                "leaking", high, why, total, exposure, factor, rivals, rate, low, high,
                constant=constant_per_unit(data, factor),
            )  # fmt: skip
        for factor in [] if finite else concentrated_drivers(data, len(grown)):
            concentrated = _only_cycles_with(data, factor)
            # Beside other growth, only a constant amount per unit of the driver shows which part the driver causes.
            if mostly_constant_per_unit(concentrated, factor) and (
                why := why_certain_at_once(concentrated, factor)
            ):
                rate, low, high = interval(concentrated.grown, series.column(factor))
                return Assessed("leaking", high, why, total, exposure, factor, (), rate, low, high)
    return bounded_or_undecided(data, exposure, sensitivity)


def _rate(data: TestedSeries, factor: str) -> tuple[float, float, float]:
    """Rate per unit of a driver, low and high."""
    read = data.series.for_rate(factor)
    grown = [value if abs(value) > data.tolerance else 0.0 for value in read.increments]
    return interval(grown, read.column(factor))


def _only_cycles_with(data: TestedSeries, factor: str) -> TestedSeries:
    """The same series with the growth of the other cycles removed."""
    column = data.series.column(factor)
    grown = [
        value if amount > 0 else granted
        for value, granted, amount in zip(data.grown, data.offset, column, strict=True)
    ]
    return replace(data, grown=grown, total=math.fsum(grown) - math.fsum(data.offset))
