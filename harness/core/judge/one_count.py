"""The test of one count, by its metric: exact counts by likelihood, noisy ones by their trend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate

from harness.core.budget import Budget
from harness.core.judge import growth, trend
from harness.core.judge.assessed import Allowed, Assessed
from harness.core.judge.diagnose import per
from harness.core.judge.moments import Series
from harness.core.judge.slowing import halves, slower_in_second_half
from harness.core.metric import EXACT_MEMORY_KINDS, Key
from harness.core.stats.distributions import drawdown
from harness.core.units import counted

# Growth per reading that is normal: an interpreter or a C library maps an arena now and then. Of seven healthy
# servers six moved by at most 4 mappings a cycle after the third, Node's once by 70 (bench/traces).
TOLERANCE = {"mappings": 4.0}
# Noise of a runtime counter, measured (docs/detector.md): a reading itself adds 4 blocks, a heap varies by a page, and
# idle CPU by up to 0.0019 cores.
FLOOR = {"objects": 2.0, "blocks": 4.0, "heap-bytes": 4096.0, "external-bytes": 4096.0, "idle-cpu": 0.002}
# Smallest growth per connection that counts as a leak in a counter with noisy readings, as a multiple of the
# trial's sensitivity.
SMALLEST_LEAK = {
    "objects": 10.0,
    "blocks": 50.0,
    "heap-bytes": 1.28e5,
    "external-bytes": 1.28e5,
    "idle-cpu": 0.01,
}
MIN_GROWTH_OF = {
    "objects": 10.0,
    "blocks": 20.0,
    "heap-bytes": 1048576.0,
    "external-bytes": 1048576.0,
    "idle-cpu": 0.02,
}
# Counters of objects, with the number that a stream in a pool may hold.
UNITS_PER_STREAM = {"objects": 5, "blocks": 5}
# A cache of one entry per request or event grows exactly like a leak until it is full, and a thousand or two are
# customary sizes. So memory alone proves nothing below this number. Descriptors, threads and tasks are not cached by
# the thousand, and no cache grows per abort, per stalled reader or per timeout.
MAX_CACHE_ENTRIES = 4096.0
# Share of its earlier rate that growth by one entry each keeps to the end, unlike a cache that fills up.
MIN_LATE_RATE = 0.8
MIN_LATE_CYCLES = 3  # cycles at the end that show growth which what came before hides
STEEP = 0.5  # growth per connection, or event, that is too large for a warm-up
# Driver → the sum whose units a cache would have one entry for.
ENTRIES = {
    "connection": "connection",
    "answered": "answered",
    "event": "event",
    "stream-second": "stream-second",
}


def smallest_leak(key: Key, sensitivity: float) -> float:
    """The smallest leak that must be found: units of the key per answered stream. sensitivity: of descriptors, threads
    and the like; objects come by the ten, bytes by the hundred thousand, and CPU time by a hundredth of a core."""
    return sensitivity * SMALLEST_LEAK.get(name_of(key), 1.0)


def unit_of(key: Key) -> float:
    """The amount that stands for one where a count is treated as a number of units: one of what is counted. Bytes and
    CPU time have no units of their own, so what their readings scatter by stands for one."""
    name = name_of(key)
    return 1.0 if name in UNITS_PER_STREAM else FLOOR.get(name, 1.0)


def name_of(key: Key) -> str:
    """The name by which the noise and the smallest leak of a count are known."""
    return key.kind if key.kind in EXACT_MEMORY_KINDS else key.metric


def assess_one(one: Series, sensitivity: float, granted: Allowed) -> Assessed:
    """Apply the test of its metric to one series. Memory that a cache could hold is not certain yet."""
    return _with_rate_of_second_half(one, _assess_one(one, sensitivity, granted))


def _with_rate_of_second_half(one: Series, found: Assessed) -> Assessed:
    """The result. Where the second half of the driver added less than the first, the interval includes its rate, and
    that without what may still fill: as much as went away from the first half to the second. What falls now and then
    may be in the level at either end.

    Without this the intervals of leaks beside the buffers of a JVM contained the true rate in 75 to 83 % of the
    runs."""
    entries = ENTRIES.get(found.factor)
    if found.status != "leaking" or entries is None or one.key.kind not in UNITS_PER_STREAM:
        return found
    amounts = list(accumulate(one.column(entries), initial=0.0))
    if amounts[-1] <= 0:
        return found
    (first, second), half = halves(one.levels, amounts), amounts[-1] / 2
    if first - second <= math.sqrt(max(0.0, first + second)):
        return found
    fall = drawdown(one.levels)
    low, high = (
        min(found.low, (second - (first - second) - fall) / half),
        max(found.high, (second + fall) / half),
    )
    return replace(found, low=max(0.0, low), high=high, at_most=max(found.at_most, high))


def _assess_one(one: Series, sensitivity: float, granted: Allowed) -> Assessed:
    """The same, with the interval of the whole series."""
    whole = _assess_whole(one, sensitivity, granted)
    late = _late(one) if whole.status == "undecided" and one.key.kind in UNITS_PER_STREAM else None
    if late is None:
        return whole
    # A pool of threads that fills at first, with 490 objects each in Tomcat, makes a steady leak seem to slow down:
    # eight more objects for each of 11,000 streams were undecided, and one more passed in simulation.
    if sum(1 for amount in late.column("answered") if amount > 0) >= MIN_LATE_CYCLES:
        found = _assess_whole(late, sensitivity, granted)
        if found.status == "leaking" and found.factor in ENTRIES:
            return found
    if whole.growing:
        return whole
    grown, served = late.levels[-1] - late.levels[0], math.fsum(late.column("answered"))
    recently = f"{grown:,.0f} during the last {counted(served, 'answered stream', ',.0f')}"
    return replace(whole, growing=True, why=f"grew by {recently}; {whole.why}")


def _late(one: Series) -> Series | None:
    """The last cycles with half of the streams, and as many as a cache has entries, if they have grown by STEEP for
    each; else None. The noise of a JVM hides what fewer streams leave: 3 of 40 simulated leaks of 10 objects each
    passed."""
    served, enough = 0.0, max(MAX_CACHE_ENTRIES, math.fsum(one.column("answered")) / 2)
    for span in range(len(one.spans) - 1, 0, -1):
        served += one.spans[span].get("answered", 0.0)
        if served >= enough:
            late = one.since(span)
            return late if late.levels[-1] - late.levels[0] >= STEEP * served else None
    return None


def _assess_whole(one: Series, sensitivity: float, granted: Allowed) -> Assessed:
    found = _tested(one, sensitivity, granted)
    entries = ENTRIES.get(found.factor)
    if entries is None or one.key.kind not in EXACT_MEMORY_KINDS:
        return found
    # A cache of one entry per stream grows like a leak until it is full, so the number of streams decides.
    served = math.fsum(one.column(entries))
    steep = found.total >= STEEP * served
    slower = (steep and _tails_off(one, entries)) or slower_in_second_half(
        one.levels, list(accumulate(one.column(entries), initial=0.0))
    )
    if served >= MAX_CACHE_ENTRIES and not slower:
        return found
    if found.status != "leaking":
        cache = found.why if found.growing and steep else ""
        return replace(found, cache=cache) if served < MAX_CACHE_ENTRIES else found
    why = f"{found.why}; {until_full(per(entries), served)}"
    if served >= MAX_CACHE_ENTRIES:
        why = f"{found.why}, but by less at the end, as a cache that has filled up"
    return replace(found, status="undecided", why=why, growing=True, cache=found.why if steep else "")


def until_full(unit: str, served: float) -> str:
    """Why growth that a cache could hold is not certain yet, and what is missing."""
    return (
        f"a cache also grows until it is full: only {MAX_CACHE_ENTRIES:,g} {unit}s rule one out, and there were "
        f"{served:,.0f}"
    )


def _tails_off(one: Series, counted: str) -> bool:
    """Whether the last cycle with the driver added less per unit than the cycles before."""
    acted = [
        (grown, amount) for grown, amount in zip(one.increments, one.column(counted), strict=True) if amount
    ]
    if len(acted) < 2:
        return False
    grown, amount = acted[-1]
    before = math.fsum(value for value, _ in acted[:-1]) / math.fsum(many for _, many in acted[:-1])
    return grown / amount < MIN_LATE_RATE * before


def _tested(one: Series, sensitivity: float, granted: Allowed) -> Assessed:
    key = one.key
    name = name_of(key)
    if name in UNITS_PER_STREAM:
        return trend.assess_moving(
            replace(one, peak=one.peak * UNITS_PER_STREAM[name]),
            sensitivity=smallest_leak(key, sensitivity),
            allowed=granted,
            floor=FLOOR[name],
            least=MIN_GROWTH_OF[name],
            readings_add=True,
        )
    if name in FLOOR:
        return trend.assess(
            one,
            sensitivity=smallest_leak(key, sensitivity),
            allowed=granted,
            floor=FLOOR[name],
            least=MIN_GROWTH_OF[name],
            readings_add=name != "idle-cpu",
        )
    tolerance = TOLERANCE.get(key.metric, 0.0)
    if min(one.increments) < -tolerance:
        return trend.assess_moving(one, sensitivity=sensitivity, allowed=granted, tolerance=tolerance)
    return growth.assess(one, sensitivity=sensitivity, allowed=granted, tolerance=tolerance)


def allowed(budget: Budget, key: Key) -> Allowed:
    """The growth that a budget grants this key. The entry of the key takes precedence over that of its metric, which
    holds only for kinds of the same unit. What is granted to kinds is granted to their total too."""
    alike = Key(key.metric).unit == key.unit

    def of(table: Mapping[str, float]) -> float:
        if key.kind:
            return table.get(str(key), table.get(key.metric, 0.0) if alike else 0.0)
        kinds = math.fsum(value for name, value in table.items() if name.startswith(f"{key.metric}/"))
        return max(table.get(key.metric, 0.0), kinds)

    return Allowed(of(budget.growth), of(budget.per_event), of(budget.per_hour), of(budget.pools))
