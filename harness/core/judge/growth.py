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
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from harness.core.judge.diagnose import MAX_TIE, MIN_ADVANTAGE, driver, per
from harness.core.judge.moments import DRIVERS, Series
from harness.core.judge.rates import MAX_SPREAD, batch_size, interval
from harness.core.judge.retention import IdleEvidence, Release
from harness.core.stats.distributions import correlated, median, poisson_interval, ranks
from harness.core.stats.evidence import evidence, excluded
from harness.core.stats.poisson import fit
from harness.core.units import counted

CERTAIN = math.log(1000)  # log of the e-value from which on growth is certain
CORRELATION_CHANCE = 0.003  # probability that growth occurred by chance in the cycles with much of the driver
RANK_CORRELATION_CHANCE = 0.05  # the same by ranks, which a single cycle cannot decide
MIN_GROWTH = 3.0  # units, and cycles with growth, below which nothing is called a leak
# Twice the largest slowly filling pool that was found: ThreadPoolExecutor has at most 32 threads.
SLOW_POOL = 64.0
BURST_POOL = 256.0  # slots of the largest default pool, Tomcat's 200 threads, rounded up to a power of two
# Times the smallest cycle that the largest must be, to distinguish growth per stream from growth per burst.
MIN_SIZE_RATIO = 1.5
MIN_RISES = 6  # cycles in which a count must have grown while all of it could be a pool
MIN_RISES_BATCHED = 8  # the same where it grows in batches, more unevenly than by chance
MAX_DISPERSION_SINGLE = 1.3  # Pearson dispersion up to which units come one by one, not in batches
MIN_IDLE_SHARE = 0.5  # share of its pace under load that growth over time has without clients
BOUND_MARGIN = 0.5  # measured growth passes only when its rate is at most half of the sensitivity
POOL_MULTIPLE = 40.0  # times the streams open at once: beyond any pool, whatever drives it
POOL_MULTIPLE_CYCLES = 5  # cycles that must all have grown for that
# Four times the largest default pool: so much is no pool either, however many streams were open at once, if it grew in
# each of MIN_RISES cycles. Objects are cached in larger numbers. State for each of a number of tenants is nearly
# complete once each of them has connected TENANT_STREAMS times on average.
BEYOND_DEFAULT_POOLS = 4 * BURST_POOL
TENANT_STREAMS = 5.0
POOLED = ("fds", "threads", "processes")
MIN_LAST_SHARE = (
    0.8  # share of its rate before that growth has in the last large cycle, unless it fills something up
)
MIN_UNEVEN_SHARE = 0.5  # the same however unevenly it grows
LARGE_CYCLE = 4.0  # times less of the driver than in the longest cycle, from which on a cycle is large
# Times fewer clients than in the longest cycle: so short a cycle may add nothing by chance.
SHORT_CYCLE = 10.0
MAX_UNEXPLAINED = 0.15  # share of the growth that a driver may leave unexplained
MAX_DISPERSION = 3.0  # Pearson dispersion up to which growth still follows its driver
BENIGN_FACTORS = ("cycle", "time", "reading")  # causes of growth that is not a leak of the streams
BOUND_EVIDENCE = math.log(20)  # an e-value of 20 against a larger rate: a bound at 95 %
NEARLY_ALL = 0.8  # share of the growth that makes one kind of cycle its likely cause
HALVINGS = 12  # bisection steps of the search for the bound: a precision of 1 in 4,096
# Share of the growth that occurs in the cycles with a driver that the others do not have.
MIN_CONCENTRATED_SHARE = 0.5
MIN_CONCENTRATION = 3.0  # times as much growth in such a cycle as in another one
MIN_REGULAR_SHARE = 0.8  # share of the bursts, or cycles of a driver, that add the same number each
# Expected units that all fail to appear with a probability of 1 %: growth has stopped.
EXPECTED_IF_CONTINUING = 4.6


@dataclass(frozen=True, slots=True)
class Allowed:
    """Growth that a budget grants, and the pool it declares."""

    connection: float = 0.0
    event: float = 0.0
    hour: float = 0.0
    pool: float = 0.0

    def of(self, span: dict[str, float]) -> float:
        """Units granted for one span."""
        time = span.get("time", 0.0) / 3600
        return (
            self.connection * span.get("connection", 0.0)
            + self.event * span.get("event", 0.0)
            + self.hour * time
        )


@dataclass(frozen=True, slots=True)
class Assessed:
    """The result of one test of one series.

    status: ``leaking`` | ``suspected`` (grows like a leak, but the retention time is not over) | ``bounded`` |
    ``undecided``. why: the reason, for people. exposure: answered streams. factor: the ledger sum that drives the
    growth, in whose units rate, low and high are; rivals: factors that explain it as well. at_most: largest rate per
    answered stream that could have remained undetected (95 %). total: net growth. growing: not certain, but it has
    grown and continues; the plan then investigates. cache: the reason of a leak that a filling cache would explain as
    well; "" if none would. per_burst: it grew by about the same in every burst of clients, as a pool does.
    idle_evidence: what readings without clients showed of how long the growth is retained, where that was checked.
    paused: it grew in fewer than three cycles, or has not grown for a time in which another unit was to be expected.
    Only more of its driver shows whether it has stopped. few: it grew in too few cycles to be certain without further
    load. batch: units that come at once, as far as the cycles show; the evidence counts them as one.
    constant: each unit of the driver added the same in every cycle.
    """

    status: str
    at_most: float
    why: str
    total: float = 0.0
    exposure: float = 0.0
    factor: str = "connection"
    rivals: tuple[str, ...] = ()
    rate: float = 0.0
    low: float = 0.0
    high: float = 0.0
    growing: bool = False
    cache: str = ""
    per_burst: bool = False
    idle_evidence: IdleEvidence | None = None
    paused: bool = False
    few: bool = False
    batch: float = 1.0
    constant: bool = False

    @property
    def release(self) -> Release | None:
        """The late release that readings without clients showed."""
        return self.idle_evidence.release if self.idle_evidence else None


@dataclass(frozen=True, slots=True)
class _TestedSeries:
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
    data = _TestedSeries(grown, offset, series, tolerance, granted.pool, total)
    exposure = math.fsum(series.column("answered"))
    if exposure <= 0:
        return Assessed("undecided", math.inf, "the service answered no stream in a completed cycle")
    if total >= MIN_GROWTH:
        factor, rivals = driver(grown, series, offset)
        finite = _clients_known(data, factor)
        why = (
            ""
            if finite
            else _why_certain_at_once(data, factor)
            or _why_certain_slowly(data, factor)
            or _why_beyond_any_pool(data)
        )
        if why:
            rate, low, high = _rate(data, factor)
            return Assessed(
                "leaking", high, why, total, exposure, factor, rivals, rate, low, high,
                constant=_constant_per_unit(data, factor),
            )  # fmt: skip
        for factor in [] if finite else _concentrated_drivers(data, len(grown)):
            concentrated = _only_cycles_with(data, factor)
            # Beside other growth, only a constant amount per unit of the driver shows which part the driver causes.
            if _mostly_constant_per_unit(concentrated, factor) and (
                why := _why_certain_at_once(concentrated, factor)
            ):
                rate, low, high = interval(concentrated.grown, series.column(factor))
                return Assessed("leaking", high, why, total, exposure, factor, (), rate, low, high)
    return _bounded_or_undecided(data, exposure, sensitivity)


def _rate(data: _TestedSeries, factor: str) -> tuple[float, float, float]:
    """Rate per unit of a driver, low and high."""
    read = data.series.for_rate(factor)
    grown = [value if abs(value) > data.tolerance else 0.0 for value in read.increments]
    return interval(grown, read.column(factor))


def _clients_known(data: _TestedSeries, factor: str) -> bool:
    """Whether growth followed distinct clients, all of which have connected: state per client, of a finite number."""
    new = [amount for amount, opened in zip(data.series.column("client"), data.series.column("connection"), strict=True)
           if opened > 0]  # fmt: skip
    return factor == "client" and bool(new) and new[-1] <= 0


def _spans_with(data: _TestedSeries, factor: str) -> list[tuple[float, float]]:
    column = data.series.column(factor)
    return [
        (value - granted, amount)
        for value, granted, amount in zip(data.grown, data.offset, column, strict=True)
        if amount > 0
    ]


def _continues(active: Sequence[tuple[float, float]]) -> bool:
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


def _grows_without_clients(data: _TestedSeries) -> bool:
    """Whether growth over time also occurs without clients, at about the same pace."""
    spans = list(zip(data.grown, data.series.column("time"), data.series.column("connection"), strict=True))
    idle = math.fsum(value for value, _, clients in spans if clients == 0)
    alone = math.fsum(seconds for _, seconds, clients in spans if clients == 0)
    whole = math.fsum(seconds for _, seconds, _ in spans)
    expected = math.fsum(value for value, _, _ in spans) * alone / whole if whole > 0 else 0.0
    return idle >= max(MIN_GROWTH, MIN_IDLE_SHARE * expected)


def _why_certain_at_once(data: _TestedSeries, factor: str) -> str:
    """Why the growth is certainly a leak: it follows its driver and exceeds any pool. Empty if it does not."""
    active = _spans_with(data, factor)
    total = math.fsum(value for value, _ in active)
    exposure = math.fsum(amount for _, amount in active)
    if len(active) < 2 or exposure <= 0 or not _continues(active):
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
    if _fills_up(active):
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


def _fills_up(active: Sequence[tuple[float, float]], dispersion: float = 1.0) -> bool:
    """Whether the last large cycle added less per unit of the driver than the others, as a pool does that fills up, or
    state for each of many tenants: less by 20 % and by three standard deviations of a count with this dispersion, or
    by half and by three of a Poisson count."""
    longest = max(amount for _, amount in active)
    last = max(index for index, (_, amount) in enumerate(active) if amount >= longest / LARGE_CYCLE)
    others = [pair for index, pair in enumerate(active) if index != last]
    if not others:
        return False
    rate = math.fsum(value for value, _ in others) / math.fsum(amount for _, amount in others)
    value, amount = active[last]
    mean = max(0.0, rate * amount)
    return any(
        value < share * mean - 3 * math.sqrt(spread * mean)
        for share, spread in ((MIN_LAST_SHARE, dispersion), (MIN_UNEVEN_SHARE, 1.0))
    )


def _beyond_bursts(data: _TestedSeries, factor: str, total: float) -> bool:
    """Whether growth differs from burst to burst. Cycles of different size show it. If all cycles were alike, only
    growth beyond the largest pool does. The same holds if the service limits the rate, because then the cycles hardly
    differ in their number of answered streams."""
    largest = max(data.pool, BURST_POOL)
    if total > max(largest, POOL_MULTIPLE * data.series.peak):
        return True
    amounts = [amount for _, amount in _spans_with(data, factor)]
    if max(amounts) < MIN_SIZE_RATIO * min(amounts):
        return total > largest
    if _evidence(data, factor) >= CERTAIN:
        return True
    limited = math.fsum(data.series.column("refused")) > 0 and len(amounts) >= MIN_RISES
    return limited and total > largest and _cycles_too_alike(data, factor)


def _cycles_too_alike(data: _TestedSeries, factor: str) -> bool:
    """Whether the cycles could not distinguish the driver from bursts and time, even if each unit added exactly the
    same."""
    column = data.series.column(factor)
    rate = (math.fsum(data.grown) - math.fsum(data.offset)) / math.fsum(column)
    exact = [granted + rate * amount for granted, amount in zip(data.offset, column, strict=True)]
    return _evidence(replace(data, grown=exact), factor) < CERTAIN


def _evidence(data: _TestedSeries, factor: str) -> float:
    """Log of the e-value against growth per cycle, per second and per reading, counted in batches."""
    # Units that come together are one event: two descriptors of a pipe, counted singly, would look twice as certain.
    size = _batch_units(data, factor)
    benign = [data.series.column(name) for name in _benign_factors(data, factor)]
    return evidence(
        [value / size for value in data.grown],
        data.series.column(factor),
        benign,
        [value / size for value in data.offset],
    )


def _batch_units(data: _TestedSeries, factor: str) -> float:
    """Units that come at once: the common divisor of the increments, or the smallest increment while a pool could hold
    all of them. A pool that takes 3 to 9 slots in each of six cycles gives six pieces of evidence, not 33.

    If each unit of the driver adds the same, the divisor only reflects the sizes of the cycles, so the batch is 1.
    """
    if _constant_per_unit(data, factor):
        return 1.0
    size = batch_size(data.grown)
    if data.total > max(SLOW_POOL, data.pool):
        return size
    return max(size, min((value for value in data.grown if value > 0), default=1.0))


def _benign_factors(data: _TestedSeries, factor: str) -> list[str]:
    """Causes of growth that is not a leak of the streams. A reading adds only to counters inside the service."""
    inside = data.series.key.metric in ("memory", "mappings")
    return [name for name in BENIGN_FACTORS if name != factor and (inside or name != "reading")]


def _constant_per_unit(data: _TestedSeries, factor: str) -> bool:
    """Whether each unit of the driver adds the same in every cycle."""
    active = _spans_with(data, factor)
    rate = math.fsum(value for value, _ in active) / math.fsum(amount for _, amount in active)
    return all(abs(value - rate * amount) <= max(1.0, MAX_SPREAD * abs(value)) for value, amount in active)


def _mostly_constant_per_unit(data: _TestedSeries, factor: str) -> bool:
    """Whether each unit of the driver adds the same in at least four of five cycles. A reply that comes too late is a
    reply for the broker and a timeout for its client, so a busy machine miscounts a cycle now and then."""
    active = _spans_with(data, factor)
    rate = median([value / amount for value, amount in active])
    same = sum(
        1 for value, amount in active if abs(value - rate * amount) <= max(1.0, MAX_SPREAD * abs(value))
    )
    return rate > 0 and same >= MIN_REGULAR_SHARE * len(active)


def _same_in_bursts(data: _TestedSeries) -> bool:
    """Whether nearly every burst of clients adds the same number, and the others nothing."""
    grown = [value for value, _ in _spans_with(data, "cycle")]
    rises = [value for value in grown if value > 0]
    return bool(rises) and len(rises) >= MIN_REGULAR_SHARE * len(grown) and max(rises) - min(rises) <= 1.0


def _counts_threads(data: _TestedSeries) -> bool:
    return data.series.key.metric == "threads" or data.series.key.kind == "java-thread"


def _proportional(data: _TestedSeries, factor: str) -> bool:
    """Whether the cycle in which the driver was strongest added as much per unit as the others, within a factor of two
    or by chance. A pool of threads grows with the width of a burst and with the load of the machine, so a large burst
    adds many times more, or less."""
    *rest, (value, amount) = sorted(_spans_with(data, factor), key=lambda pair: pair[1])
    others = math.fsum(amount_of_one for _, amount_of_one in rest)
    if others <= 0:
        return True
    _, low, high = poisson_interval(max(0.0, math.fsum(grown for grown, _ in rest)), others)
    least, most = low * amount, high * amount
    few = value < least / 2 and least - value > 4 * math.sqrt(least)
    many = value > 2 * most and value - most > 4 * math.sqrt(most)
    return not few and not many


def _why_beyond_any_pool(data: _TestedSeries) -> str:
    """Why the growth is a leak although no driver explains it well: no pool is that large. Empty if one could be."""
    active = _spans_with(data, "connection")
    far = POOL_MULTIPLE * data.series.peak
    tenants = TENANT_STREAMS * data.total > math.fsum(data.series.column("answered"))
    pooled = data.series.key.metric in POOLED
    if len(active) >= MIN_RISES and pooled and not tenants and not _fills_up(active):
        far = min(far, BEYOND_DEFAULT_POOLS)
    if len(active) < POOL_MULTIPLE_CYCLES or data.total <= max(data.pool, far):
        return ""
    # Beyond the largest pool of bursts a short cycle may add nothing by chance. A cleanup, or a pool that is full at
    # times, shows in the others.
    longest = max(amount for _, amount in active)
    short = longest / SHORT_CYCLE if data.total > max(data.pool, BURST_POOL) else 0.0
    paused = any(value < 0 or (value == 0 and amount >= short) for value, amount in active)
    if paused or not _continues(active):
        return ""
    return f"grew in each of {counted(len(active), 'cycle')} by {data.total:g} in all, far beyond any pool"


def _why_certain_slowly(data: _TestedSeries, factor: str) -> str:
    """Why the driver, and neither cycles nor time, explains slow growth. Empty if it does not."""
    column = data.series.column(factor)
    rises = sum(1 for value, amount in zip(data.grown, column, strict=True) if value > 0 and amount > 0)
    if rises < MIN_GROWTH:
        return ""
    if not _continues(_spans_with(data, factor)) or (factor == "time" and not _grows_without_clients(data)):
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
    size = _batch_units(data, factor)
    counts = [value / size for value in data.grown]
    offset = [value / size for value in data.offset]
    fitted = fit(
        counts, [*(data.series.column(name) for name in _benign_factors(data, factor)), column], offset
    )
    needed = MIN_RISES if fitted.dispersion <= MAX_DISPERSION_SINGLE else MIN_RISES_BATCHED
    if rises < needed and data.total <= max(SLOW_POOL, data.pool):
        return ""
    if _fills_up(_spans_with(data, factor), max(1.0, size * fitted.dispersion)):
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


def _bounded_or_undecided(data: _TestedSeries, exposure: float, sensitivity: float) -> Assessed:
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
        untested = since > 0 and _driver_rare_since(data, factor, after) and not _clients_known(data, factor)
        untested = untested or (
            since > 0 and _mostly_in_long_streams(data) and _driver_rare_since(data, "long", after)
        )
        if (
            since > 0
            and not untested
            and not _clients_known(data, factor)
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
    growing = data.total >= 2 and (untested or _continues(_spans_with(data, "connection")))
    if data.total >= 2 and data.total < MIN_GROWTH:
        factor, rivals = driver(data.grown, data.series, data.offset)
    if data.total >= 2 and _follows_bursts(data, factor):
        # In long bursts the same growth is much less per stream, so growth per burst may continue while growth per
        # stream seems to stop.
        per_burst = growing or _continues(_spans_with(data, "cycle"))
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
    return Assessed(
        "undecided", undetected, why, data.total, exposure, factor, rivals, growing=growing, per_burst=per_burst,
        paused=growing and _paused(data, since, exposure),
        few=_rises(data) < MIN_RISES and data.total <= max(SLOW_POOL, data.pool),
        batch=_batch_units(data, factor) if growing else 1.0,
    )  # fmt: skip


def _slow_per_unit(data: _TestedSeries, factor: str, rate: float) -> bool:
    """Whether the growth is slow per unit of its driver too, although the driver has hardly occurred since."""
    _, _, high = poisson_interval(max(0.0, data.total), math.fsum(data.series.column(factor)))
    return high <= rate


def _rises(data: _TestedSeries) -> int:
    """Cycles in which the count grew."""
    return sum(1 for value in data.grown if value > 0)


def _paused(data: _TestedSeries, since: float, exposure: float) -> bool:
    """Whether growth occurred in too few cycles to follow a driver, or one more unit was to be expected since."""
    return since > 0 and (_rises(data) < MIN_GROWTH or since * data.total >= exposure)


def _mostly_in_long_streams(data: _TestedSeries) -> bool:
    """Whether growth exceeds a pool, and nearly all of it is in cycles whose streams lasted for many events."""
    pairs = zip(data.grown, data.series.column("long"), strict=True)
    late = math.fsum(value for value, streams in pairs if streams > 0)
    return data.total > max(SLOW_POOL, data.pool, 2.0 * data.series.peak) and late >= NEARLY_ALL * data.total


def _follows_bursts(data: _TestedSeries, factor: str) -> bool:
    """Whether growth follows the bursts of clients better than the driver, as in a slowly filling pool."""
    by_burst = fit(data.grown, [data.series.column("cycle")], data.offset)
    by_driver = fit(data.grown, [data.series.column(factor)], data.offset)
    return by_burst.likelihood > by_driver.likelihood + MAX_TIE


def _largest_rate_beside_bursts(data: _TestedSeries) -> float:
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
    benign = [data.series.column(name) for name in _benign_factors(data, "answered") if name != "cycle"]

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


def _driver_rare_since(data: _TestedSeries, factor: str, after: int) -> bool:
    """Whether the driver has hardly occurred since the last growth: then the time without growth proves nothing."""
    column = data.series.column(factor)
    amount = math.fsum(column[:after])
    return amount > 0 and math.fsum(column[after:]) * data.total / amount < EXPECTED_IF_CONTINUING


def _concentrated_driver_rare_since(data: _TestedSeries, after: int) -> str:
    """The driver in whose cycles most of the growth occurred, if it has hardly occurred since; else empty."""
    return next(
        (factor for factor in _concentrated_drivers(data, after) if _driver_rare_since(data, factor, after)),
        "",
    )


def _concentrated_drivers(data: _TestedSeries, after: int) -> list[str]:
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
        if in_these >= MIN_CONCENTRATED_SHARE * data.total and denser and _continues(active):
            found[factor] = fit(data.grown, [column], data.offset).likelihood
    return sorted(found, key=found.__getitem__, reverse=True)


def _only_cycles_with(data: _TestedSeries, factor: str) -> _TestedSeries:
    """The same series with the growth of the other cycles removed."""
    column = data.series.column(factor)
    grown = [
        value if amount > 0 else granted
        for value, granted, amount in zip(data.grown, data.offset, column, strict=True)
    ]
    return replace(data, grown=grown, total=math.fsum(grown) - math.fsum(data.offset))
