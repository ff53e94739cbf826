"""Why growth of a count is certainly a leak: at once, slowly, or because no pool is that large.

``harness.core.judge.growth`` explains the three cases."""

from __future__ import annotations

import math
from dataclasses import replace

from harness.core.judge.rates import MAX_SPREAD
from harness.core.judge.slowing import fills_up, slows
from harness.core.judge.tested_series import (
    BURST_POOL,
    MIN_GROWTH,
    MIN_REGULAR_SHARE,
    MIN_RISES,
    SLOW_POOL,
    TestedSeries,
    batch_units,
    benign_factors,
    continues,
    spans_with,
)
from harness.core.stats.distributions import correlated, median, poisson_interval, ranks
from harness.core.stats.evidence import evidence
from harness.core.stats.poisson import fit
from harness.core.units import counted

CERTAIN = math.log(1000)  # log of the e-value from which on growth is certain
CORRELATION_CHANCE = 0.003  # probability that growth occurred by chance in the cycles with much of the driver
RANK_CORRELATION_CHANCE = 0.05  # the same by ranks, which a single cycle cannot decide
# Times the smallest cycle that the largest must be, to distinguish growth per stream from growth per burst.
MIN_SIZE_RATIO = 1.5
MIN_RISES_BATCHED = 8  # MIN_RISES where it grows in batches, more unevenly than by chance
MAX_DISPERSION_SINGLE = 1.3  # Pearson dispersion up to which units come one by one, not in batches
MIN_IDLE_SHARE = 0.5  # share of its pace under load that growth over time has without clients
POOL_MULTIPLE = 40.0  # times the streams open at once: beyond any pool, whatever drives it
POOL_MULTIPLE_CYCLES = 5  # cycles that must all have grown for that
# Four times the largest default pool: so much is no pool either, however many streams were open at once, if it grew in
# each of MIN_RISES cycles. Objects are cached in larger numbers. State for each of a number of tenants is nearly
# complete once each of them has connected TENANT_STREAMS times on average.
BEYOND_DEFAULT_POOLS = 4 * BURST_POOL
TENANT_STREAMS = 5.0
POOLED = ("fds", "threads", "processes")
# Times fewer clients than in the longest cycle: so short a cycle may add nothing by chance.
SHORT_CYCLE = 10.0
MAX_UNEXPLAINED = 0.15  # share of the growth that a driver may leave unexplained
MAX_DISPERSION = 3.0  # Pearson dispersion up to which growth still follows its driver


def _grows_without_clients(data: TestedSeries) -> bool:
    """Whether growth over time also occurs without clients, at about the same pace."""
    spans = list(zip(data.grown, data.series.column("time"), data.series.column("connection"), strict=True))
    idle = math.fsum(value for value, _, clients in spans if clients == 0)
    alone = math.fsum(seconds for _, seconds, clients in spans if clients == 0)
    whole = math.fsum(seconds for _, seconds, _ in spans)
    expected = math.fsum(value for value, _, _ in spans) * alone / whole if whole > 0 else 0.0
    return idle >= max(MIN_GROWTH, MIN_IDLE_SHARE * expected)


def why_certain_at_once(data: TestedSeries, factor: str) -> str:
    """Why the growth is certainly a leak: it follows its driver and exceeds any pool. Empty if it does not."""
    active = spans_with(data, factor)
    total = math.fsum(value for value, _ in active)
    exposure = math.fsum(amount for _, amount in active)
    if len(active) < 2 or exposure <= 0 or not continues(active):
        return ""
    rate = total / exposure
    peak = 2.0 * data.series.peak
    steep = rate >= 0.5 and factor != "time"
    if total <= max(data.pool, peak, 0.0 if steep else SLOW_POOL):
        return ""
    if factor == "time" and not _grows_without_clients(data):
        return ""
    if not _beyond_bursts(data, factor, total):
        return ""
    if fills_up(active):
        return ""
    # Two cycles leave hardly any residual to test a fit by, so their rates must agree and the growth must exceed
    # twice a pool.
    if len(active) == 2:
        agree = all(abs(value - rate * amount) <= MAX_SPREAD * value for value, amount in active)
        if not (agree and rate >= 1 and total > 2 * peak and not any(data.series.before[1:])):
            return ""
        return "rose by the same rate in both cycles, to more than twice what a pool would hold"
    column = data.series.column(factor)
    means = [granted + rate * amount for granted, amount in zip(data.offset, column, strict=True)]
    unexplained = math.fsum(abs(value - mean) for value, mean in zip(data.grown, means, strict=True))
    fitted = fit(data.grown, [column], data.offset)
    # Both are needed: the share is strict for large counts, the dispersion for small ones, which scatter by chance.
    if unexplained > MAX_UNEXPLAINED * total and fitted.dispersion > MAX_DISPERSION:
        return ""
    return f"rose with its driver in all {counted(len(active), 'cycle')}, beyond what a pool would hold"


def _beyond_bursts(data: TestedSeries, factor: str, total: float) -> bool:
    """Whether growth differs from burst to burst. Cycles of different size show it. If all cycles were alike, only
    growth beyond the largest pool does. The same holds if the service limits the rate, because then the cycles hardly
    differ in their number of answered streams."""
    largest = max(data.pool, BURST_POOL)
    if total > max(largest, POOL_MULTIPLE * data.series.peak):
        return True
    amounts = [amount for _, amount in spans_with(data, factor)]
    if max(amounts) < MIN_SIZE_RATIO * min(amounts):
        return total > largest
    if _evidence(data, factor) >= CERTAIN:
        return True
    limited = math.fsum(data.series.column("refused")) > 0 and len(amounts) >= MIN_RISES
    return limited and total > largest and _cycles_too_alike(data, factor)


def _cycles_too_alike(data: TestedSeries, factor: str) -> bool:
    """Whether the cycles could not distinguish the driver from bursts and time, even if each unit added exactly the
    same."""
    column = data.series.column(factor)
    rate = (math.fsum(data.grown) - math.fsum(data.offset)) / math.fsum(column)
    exact = [granted + rate * amount for granted, amount in zip(data.offset, column, strict=True)]
    return _evidence(replace(data, grown=exact), factor) < CERTAIN


def _evidence(data: TestedSeries, factor: str) -> float:
    """Log of the e-value against growth per cycle, per second and per reading, counted in batches."""
    # Units that come together are one event: two descriptors of a pipe, counted singly, would look twice as certain.
    size = batch_units(data, factor)
    benign = [data.series.column(name) for name in benign_factors(data, factor)]
    return evidence(
        [value / size for value in data.grown],
        data.series.column(factor),
        benign,
        [value / size for value in data.offset],
    )


def mostly_constant_per_unit(data: TestedSeries, factor: str) -> bool:
    """Whether each unit of the driver adds the same in at least four of five cycles. A reply that comes too late is a
    reply for the broker and a timeout for its client, so a busy machine miscounts a cycle now and then."""
    active = spans_with(data, factor)
    rate = median([value / amount for value, amount in active])
    same = sum(
        1 for value, amount in active if abs(value - rate * amount) <= max(1.0, MAX_SPREAD * abs(value))
    )
    return rate > 0 and same >= MIN_REGULAR_SHARE * len(active)


def _counts_threads(data: TestedSeries) -> bool:
    return data.series.key.metric == "threads" or data.series.key.kind == "java-thread"


def _proportional(data: TestedSeries, factor: str) -> bool:
    """Whether the cycle in which the driver was strongest added as much per unit as the others, within a factor of two
    or by chance. A pool of threads grows with the width of a burst and with the load of the machine, so a large burst
    adds many times more, or less."""
    *rest, (value, amount) = sorted(spans_with(data, factor), key=lambda pair: pair[1])
    others = math.fsum(amount_of_one for _, amount_of_one in rest)
    if others <= 0:
        return True
    _, low, high = poisson_interval(max(0.0, math.fsum(grown for grown, _ in rest)), others)
    least, most = low * amount, high * amount
    few = value < least / 2 and least - value > 4 * math.sqrt(least)
    many = value > 2 * most and value - most > 4 * math.sqrt(most)
    return not few and not many


def why_beyond_any_pool(data: TestedSeries) -> str:
    """Why the growth is a leak although no driver explains it well: no pool is that large. Empty if one could be."""
    active = spans_with(data, "connection")
    far = POOL_MULTIPLE * data.series.peak
    tenants = TENANT_STREAMS * data.total > math.fsum(data.series.column("answered"))
    pooled = data.series.key.metric in POOLED
    if len(active) >= MIN_RISES and pooled and not tenants and not fills_up(active):
        far = min(far, BEYOND_DEFAULT_POOLS)
    if slows(active):
        return ""
    if len(active) < POOL_MULTIPLE_CYCLES or data.total <= max(data.pool, far):
        return ""
    # Beyond the largest pool of bursts a short cycle may add nothing by chance. A cleanup, or a pool that is full at
    # times, shows in the others.
    longest = max(amount for _, amount in active)
    short = longest / SHORT_CYCLE if data.total > max(data.pool, BURST_POOL) else 0.0
    paused = any(value < 0 or (value == 0 and amount >= short) for value, amount in active)
    if paused or not continues(active):
        return ""
    return f"grew in each of {counted(len(active), 'cycle')} by {data.total:g} in all, far beyond any pool"


def why_certain_slowly(data: TestedSeries, factor: str) -> str:
    """Why the driver, and neither cycles nor time, explains slow growth. Empty if it does not."""
    column = data.series.column(factor)
    rises = sum(1 for value, amount in zip(data.grown, column, strict=True) if value > 0 and amount > 0)
    if rises < MIN_GROWTH:
        return ""
    if not continues(spans_with(data, factor)) or (factor == "time" and not _grows_without_clients(data)):
        return ""
    ratio = _evidence(data, factor)
    if ratio < CERTAIN:
        return ""
    largest = max(BURST_POOL, data.pool)
    # A pool of threads follows the most streams open at once, and a longer load on a busy machine has more of them.
    if _counts_threads(data) and (
        data.total <= 2.0 * data.series.peak
        or (data.total <= largest and (rises < MIN_RISES or not _proportional(data, factor)))
    ):
        return ""
    size = batch_units(data, factor)
    counts = [value / size for value in data.grown]
    offset = [value / size for value in data.offset]
    fitted = fit(
        counts, [*(data.series.column(name) for name in benign_factors(data, factor)), column], offset
    )
    needed = MIN_RISES if fitted.dispersion <= MAX_DISPERSION_SINGLE else MIN_RISES_BATCHED
    if rises < needed and data.total <= max(SLOW_POOL, data.pool):
        return ""
    if fills_up(spans_with(data, factor), max(1.0, size * fitted.dispersion)):
        return ""
    clients = data.series.column("connection")
    pairs = [
        (amount, count) for amount, count, opened in zip(column, counts, clients, strict=True) if opened > 0
    ]
    amounts, added = [amount for amount, _ in pairs], [count for _, count in pairs]
    if factor != "time" and correlated(amounts, added) > CORRELATION_CHANCE:
        return ""
    # One cycle that added far more than all others makes amounts correlate with whatever it had much of, but not ranks.
    if factor != "time" and correlated(ranks(amounts), ranks(added)) > RANK_CORRELATION_CHANCE:
        return ""
    # 20.7 is the logarithm of 1e9.
    odds = "more than 1e9" if ratio > 20.7 else f"{math.exp(ratio):.0f}"
    against = f"evidence {odds} to 1 against growth per cycle, per second or per reading"
    return f"grew over {counted(len(data.grown), 'cycle')} in proportion; {against}"
