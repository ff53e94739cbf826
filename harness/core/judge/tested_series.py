"""One series of a count as its tests need it, and what certain growth and bounds both ask of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.core.judge.moments import DRIVERS, Series
from harness.core.judge.rates import MAX_SPREAD, batch_size
from harness.core.stats.poisson import fit

MIN_GROWTH = 3.0  # units, and cycles with growth, below which nothing is called a leak
# Twice the largest slowly filling pool that was found: ThreadPoolExecutor has at most 32 threads.
SLOW_POOL = 64.0
BURST_POOL = 256.0  # slots of the largest default pool, Tomcat's 200 threads, rounded up to a power of two
MIN_RISES = 6  # cycles in which a count must have grown while all of it could be a pool
BENIGN_FACTORS = ("cycle", "time", "reading")  # causes of growth that is not a leak of the streams
# Share of the growth that occurs in the cycles with a driver that the others do not have.
MIN_CONCENTRATED_SHARE = 0.5
MIN_CONCENTRATION = 3.0  # times as much growth in such a cycle as in another one
MIN_REGULAR_SHARE = 0.8  # share of the bursts, or cycles of a driver, that add the same number each
# Expected units that all fail to appear with a probability of 1 %: growth has stopped.
EXPECTED_IF_CONTINUING = 4.6


@dataclass(frozen=True, slots=True)
class TestedSeries:
    """One series as the test needs it.

    grown: growth per span, without what ``tolerance`` ignores. offset: growth per span that the budget grants. pool:
    units that the budget declares as a pool. total: growth beyond the offset.
    """

    grown: Sequence[float]
    offset: Sequence[float]
    series: Series
    tolerance: float
    pool: float
    total: float = field(default=0.0)


def clients_known(data: TestedSeries, factor: str) -> bool:
    """Whether growth followed distinct clients, all of which have connected: state per client, of a finite number."""
    new = [amount for amount, opened in zip(data.series.column("client"), data.series.column("connection"), strict=True)
           if opened > 0]  # fmt: skip
    return factor == "client" and bool(new) and new[-1] <= 0


def spans_with(data: TestedSeries, factor: str) -> list[tuple[float, float]]:
    """Growth beyond the offset and amount of the driver, for each span that has some of the driver."""
    column = data.series.column(factor)
    return [
        (value - granted, amount)
        for value, granted, amount in zip(data.grown, data.offset, column, strict=True)
        if amount > 0
    ]


def continues(active: Sequence[tuple[float, float]]) -> bool:
    """Whether growth continues: at least a quarter of it is in the second half of the driver, and there is no pause
    at the end that would be unlikely at this rate."""
    total = math.fsum(value for value, _ in active)
    exposure = math.fsum(amount for _, amount in active)
    # The driver, not the number of cycles, is halved: cycles differ in size, and one of them can contain the middle.
    late = passed = pause = 0.0
    for value, amount in active:
        before, passed = passed, passed + amount
        share = min(1.0, max(0.0, (passed - exposure / 2) / amount))
        late += value * share if before < exposure / 2 else value
        pause = 0.0 if value > 0 else pause + amount
    return total > 0 and late >= total / 4 and pause * total / exposure <= EXPECTED_IF_CONTINUING


def batch_units(data: TestedSeries, factor: str) -> float:
    """Units that come at once: the common divisor of the increments, or the smallest increment while a pool could hold
    all of them. A pool that takes 3 to 9 slots in each of six cycles gives six pieces of evidence, not 33.

    If each unit of the driver adds the same, the divisor only reflects the sizes of the cycles, so the batch is 1.
    """
    if constant_per_unit(data, factor):
        return 1.0
    size = batch_size(data.grown)
    if data.total > max(SLOW_POOL, data.pool):
        return size
    return max(size, min((value for value in data.grown if value > 0), default=1.0))


def benign_factors(data: TestedSeries, factor: str) -> list[str]:
    """Causes of growth that is not a leak of the streams. A reading adds only to counters inside the service."""
    inside = data.series.key.metric in ("memory", "mappings")
    return [name for name in BENIGN_FACTORS if name != factor and (inside or name != "reading")]


def constant_per_unit(data: TestedSeries, factor: str) -> bool:
    """Whether each unit of the driver adds the same in every cycle."""
    active = spans_with(data, factor)
    rate = math.fsum(value for value, _ in active) / math.fsum(amount for _, amount in active)
    return all(abs(value - rate * amount) <= max(1.0, MAX_SPREAD * abs(value)) for value, amount in active)


def concentrated_drivers(data: TestedSeries, after: int) -> list[str]:
    """The drivers that only some of the first ``after`` cycles have, in which most of the growth occurs and continues;
    best fit first. The best fit over all cycles may be another driver: a busy service has timeouts of its own besides
    those of a silent broker, so a leak per timeout of the broker does not follow their sum."""
    clients = data.series.column("connection")[:after]
    found: dict[str, float] = {}
    for _, factor, _ in DRIVERS:
        column = data.series.column(factor)
        active = [
            (value - granted, amount)
            for value, granted, amount in zip(data.grown[:after], data.offset, column, strict=False)
            if amount > 0
        ]
        others = sum(1 for amount, opened in zip(column, clients, strict=False) if opened > 0 and amount <= 0)
        if not active or not others:
            continue
        in_these = math.fsum(value for value, _ in active)
        in_others = max(0.0, data.total - in_these)
        # A pool gains the same with every burst, in cycles with and without this driver.
        denser = in_these / len(active) >= MIN_CONCENTRATION * in_others / others
        if in_these >= MIN_CONCENTRATED_SHARE * data.total and denser and continues(active):
            found[factor] = fit(data.grown, [column], data.offset).likelihood
    return sorted(found, key=found.__getitem__, reverse=True)
