"""Every count of a trial through its test: exact ones by likelihood, those with noise by their trend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.core import growth, trend
from harness.core.budget import Budget
from harness.core.growth import LOOSE, MIN_GROWTH, Allowed, Assessed
from harness.core.metric import EXACT_MEMORY_KINDS, Judged, Key
from harness.core.moments import Moment, Series, keys, moments, series
from harness.core.rates import beside_readings, interval
from harness.core.record import Trial

# Growth per reading that means nothing: an interpreter or a C library maps an arena now and then. Of seven healthy
# servers six moved by at most 4 mappings a cycle after the third, Node's once by 70 (bench/traces).
TOLERANCE = {"mappings": 4.0}
# Noise of a runtime counter, measured (docs/detector.md): 4 blocks a reading are the reading's own, a heap moves by
# a page, and CPU at rest by up to 0.0019 cores.
FLOOR = {"objects": 2.0, "blocks": 4.0, "heap-bytes": 4096.0, "idle-cpu": 0.002}
# Smallest growth per connection that is called a leak in a counter whose readings have noise of their own.
FINEST = {"objects": 10.0, "blocks": 50.0, "heap-bytes": 1.28e5, "idle-cpu": 0.01}  # × trial.sensitivity
LEAST = {"objects": 10.0, "blocks": 20.0, "heap-bytes": 1048576.0, "idle-cpu": 0.02}
# Counters that are counts: how many of them a stream in a pool may hold.
COUNTED = {"objects": 5, "blocks": 5}
# A cache of one entry per request or event grows exactly like a leak until it is full, and a thousand or two are
# customary sizes; so memory alone proves nothing before so many. Descriptors, threads and tasks are not cached
# by the thousand, and nobody caches by the abort, by the stalled reader or by the timeout.
CACHE = 4096.0
TAIL = 0.8  # of its rate before, that a growth of one entry each keeps to the end; a cache that fills falls short
STEEP = 0.5  # growth per connection, or event, that no warming up will bend
ENTRIES = {
    "connection": "connection",
    "event": "event",
    "stream-second": "stream-second",
}  # driver → what is counted
# Metrics that must come back to the integer for a pass; the others speak up only when they grow.
CERTIFIED = frozenset({"fds", "threads", "processes", "tasks", "broker-peers"})


def assess_counts(trial: Trial, found: Sequence[Moment] | None = None) -> dict[Key, Assessed]:
    """key → result, for every count that was read at two settled moments."""
    seen = moments(trial) if found is None else found
    results: dict[Key, Assessed] = {}
    read: dict[Key, Series] = {}
    for key in [*keys(seen, Judged.EXACT), *(k for k in keys(seen) if k.metric == "idle-cpu")]:
        one = series(seen, key)
        if one:
            read[key] = one
            results[key] = assess_one(one, trial.sensitivity, allowed(trial.budget, key))
    return {**results, **companions(results, read)}


def companions(results: Mapping[Key, Assessed], read: Mapping[Key, Series]) -> dict[Key, Assessed]:
    """Counts not certain by themselves that grew in step with one that is: a part of the same leak."""
    found: dict[Key, Assessed] = {}
    certain = {key: one for key, one in results.items() if one.status == "leaking"}
    for key, one in results.items():
        if one.status != "undecided" or one.total < MIN_GROWTH or key.judged is not Judged.EXACT:
            continue
        grown = read[key].increments
        for leader, lead in certain.items():
            led = read[leader].increments
            if (
                leader.judged is not Judged.EXACT
                or len(led) != len(grown)
                or sum(map(bool, led)) < MIN_GROWTH
            ):
                continue
            share = one.total / lead.total if lead.total > 0 else 0.0
            missed = math.fsum(abs(b - share * a) for a, b in zip(led, grown, strict=True))
            if share > 0 and missed <= LOOSE * one.total:
                rate, low, high = (
                    beside_readings(read[key], lead.factor, FLOOR[key.kind]) if key.kind in COUNTED else None
                ) or interval(grown, read[key].column(lead.factor))
                found[key] = replace(
                    one, status="leaking", why=f"grew in step with {leader}", factor=lead.factor,
                    rivals=lead.rivals, rate=rate, low=low, high=high, growing=False, cache=False,
                )  # fmt: skip
                break
    return found


def assess_one(one: Series, sensitivity: float, granted: Allowed) -> Assessed:
    """One series through the test that suits it; memory that a cache could hold is not certain yet."""
    found = _tested(one, sensitivity, granted)
    counted = ENTRIES.get(found.factor)
    if counted is None or one.key.kind not in EXACT_MEMORY_KINDS:
        return found
    served = math.fsum(one.column(counted))
    steep = found.total >= STEEP * served
    if served >= CACHE and not (steep and _tails_off(one, counted)):
        return found
    if found.status != "leaking":
        return replace(found, cache=found.growing and steep) if served < CACHE else found
    why = f"{found.why}; a cache would too, until {CACHE:g} {counted}s, of which there were {served:g}"
    if served >= CACHE:
        why = f"{found.why}, but by less at the end, as a cache that has filled up"
    return replace(found, status="undecided", why=why, growing=True, cache=steep)


def _tails_off(one: Series, counted: str) -> bool:
    """The last cycle in which the driver acted added less for each than those before it."""
    acted = [
        (grown, amount) for grown, amount in zip(one.increments, one.column(counted), strict=True) if amount
    ]
    if len(acted) < 2:
        return False
    grown, amount = acted[-1]
    before = math.fsum(value for value, _ in acted[:-1]) / math.fsum(many for _, many in acted[:-1])
    return grown / amount < TAIL * before


def _tested(one: Series, sensitivity: float, granted: Allowed) -> Assessed:
    key = one.key
    name = key.kind if key.kind in EXACT_MEMORY_KINDS else key.metric
    if name in COUNTED:
        return trend.assess_moving(
            replace(one, peak=one.peak * COUNTED[name]),
            sensitivity=sensitivity * FINEST[name],
            allowed=granted,
            floor=FLOOR[name],
            least=LEAST[name],
            steps=True,
        )
    if name in FLOOR:
        return trend.assess(
            one,
            sensitivity=sensitivity * FINEST[name],
            allowed=granted,
            floor=FLOOR[name],
            least=LEAST[name],
            steps=name != "idle-cpu",
        )
    tolerance = TOLERANCE.get(key.metric, 0.0)
    if min(one.increments) < -tolerance:
        return trend.assess_moving(one, sensitivity=sensitivity, allowed=granted, tolerance=tolerance)
    return growth.assess(one, sensitivity=sensitivity, allowed=granted, tolerance=tolerance)


def allowed(budget: Budget, key: Key) -> Allowed:
    """What a budget grants this key; its own entry goes before its metric's, which is for kinds of the same
    unit: bytes of memory grant no live objects. What kinds are granted, their total is granted too."""
    alike = Key(key.metric).unit == key.unit

    def of(table: Mapping[str, float]) -> float:
        if key.kind:
            return table.get(str(key), table.get(key.metric, 0.0) if alike else 0.0)
        kinds = math.fsum(value for name, value in table.items() if name.startswith(f"{key.metric}/"))
        return max(table.get(key.metric, 0.0), kinds)

    return Allowed(of(budget.growth), of(budget.per_event), of(budget.per_hour), of(budget.pools))
