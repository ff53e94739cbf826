"""Applies to every count of a trial its test: exact counts by likelihood, noisy ones by their trend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

from harness.core.budget import Budget, retain_for
from harness.core.judge import growth, trend
from harness.core.judge.ceiling import assess_at_ceiling
from harness.core.judge.diagnose import per
from harness.core.judge.fallen_back import fallen_back
from harness.core.judge.following import followed, without_brought_mappings, without_brought_objects
from harness.core.judge.growth import BURST_POOL, LOOSE, MIN_GROWTH, Allowed, Assessed
from harness.core.judge.limit import limited
from harness.core.judge.moments import Moment, Series, keys, level_of, moments, series
from harness.core.judge.rates import beside_readings, interval
from harness.core.judge.restarted import merged, outlived
from harness.core.judge.retention import (
    FALLEN,
    FLAT,
    MARGIN,
    MISSING,
    TESTED,
    IdleEvidence,
    idle_evidence,
    swept_during_load,
)
from harness.core.judge.unnoticed import KINDS, unnoticed
from harness.core.metric import EXACT_MEMORY_KINDS, FIRST_CONSEQUENCE_RANK, Judged, Key, rank
from harness.core.record import Trial
from harness.core.segments import segments
from harness.core.stats.distributions import poisson_interval
from harness.core.units import bytes_text

# Growth per reading that is normal: an interpreter or a C library maps an arena now and then. Of seven healthy
# servers six moved by at most 4 mappings a cycle after the third, Node's once by 70 (bench/traces).
TOLERANCE = {"mappings": 4.0}
# Noise of a runtime counter, measured (docs/detector.md): a reading itself adds 4 blocks, a heap varies by a page, and
# idle CPU by up to 0.0019 cores.
FLOOR = {"objects": 2.0, "blocks": 4.0, "heap-bytes": 4096.0, "idle-cpu": 0.002}
# Smallest growth per connection that counts as a leak in a counter with noisy readings.
FINEST = {"objects": 10.0, "blocks": 50.0, "heap-bytes": 1.28e5, "idle-cpu": 0.01}  # × trial.sensitivity
MIN_GROWTH_OF = {"objects": 10.0, "blocks": 20.0, "heap-bytes": 1048576.0, "idle-cpu": 0.02}
# Counters of objects, with the number that a stream in a pool may hold.
COUNTED = {"objects": 5, "blocks": 5}
# A cache of one entry per request or event grows exactly like a leak until it is full, and a thousand or two are
# customary sizes. So memory alone proves nothing below this number. Descriptors, threads and tasks are not cached by
# the thousand, and no cache grows per abort, per stalled reader or per timeout.
CACHE = 4096.0
# Bytes left per answered stream after the first full release that are more than a warm-up: Node's heap keeps 170 bytes
# of the first clients, Go's 60.
# Mappings are an allocator's arenas: 3,000 threads left 340.
STEEP_LEFT = {"objects": 0.5, "blocks": 0.5, "heap-bytes": 1024.0, "mappings": 0.5}
# The same, below which the rest looks like a warm-up and only weakens the bound.
WARMED = {"heap-bytes": 256.0, "mappings": 0.2}
WARMER = 1.5  # times as much per stream as later streams that the first streams leave if it is a warm-up
TAIL = 0.8  # of its earlier rate that growth by one entry each keeps to the end, unlike a cache that fills up
STEEP = 0.5  # growth per connection, or event, that is too large for a warm-up
NOT_ONE = 3.0  # expected leaks that all fail to appear with a probability of 5 % (the rule of three)
MIN_RELEASE = 16.0  # units: a smaller fall without clients is jitter
RELEASED = {"objects": 200.0, "blocks": 200.0, "heap-bytes": 1048576.0, "idle-cpu": 0.05, "mappings": 64.0}
LONG_ENOUGH = 1.25  # times the retention time for which growth over time must have gone on
UNNOTICED = 12.0  # seconds: two heartbeats of up to 36 s, after which a write to a departed client fails
WORK = 0.05  # cores: a rise of idle CPU by this much is work for what is retained
SWEPT = 2.0  # times the largest fall that growth must exceed
SURELY = 0.9  # share of a small growth whose release must have been observable
# Threads that a runtime starts by itself, to compile, or when all of its threads wait in the kernel, as on a busy
# machine: on two cores Go went from 5 to 8 and stayed there, once from 11 to 22 in one cycle of 2,200 streams that each
# opened a file; a JVM went from 24 to 32. Python starts none.
OF_RUNTIME = {"go": 8.0, "jvm": 16.0, "node": 8.0}
STAYED = (
    0.5  # share of the growth of a class of descriptors without clients that their total must have grown by
)
FEW = 2  # cycles; growth per stream at this rate would occur in more of them
THREADS = (Key("threads"), Key("tasks", "java-thread"))
CAPPED = ("fds", "threads", "processes", "tasks", "broker-peers")  # resources with a limit
ENTRIES = {
    "connection": "connection",
    "answered": "answered",
    "event": "event",
    "stream-second": "stream-second",
}  # driver → what is counted
# Metrics that must return to the same integer for a pass; the others matter only when they grow.
CERTIFIED = frozenset({"fds", "threads", "processes", "tasks", "broker-peers"})


def assess_counts(trial: Trial, found: Sequence[Moment] | None = None) -> dict[Key, Assessed]:
    """key → result, for every count that was read at two settled moments."""
    seen = moments(trial) if found is None else found
    if len(parts := segments(trial)) > 1:
        return _assess_processes(trial, seen, parts)
    results: dict[Key, Assessed] = {}
    read: dict[Key, Series] = {}
    for key in [*keys(seen, Judged.EXACT), *(k for k in keys(seen) if k.metric == "idle-cpu")]:
        one = series(seen, key)
        if one:
            read[key] = one
            granted = allowed(trial.budget, key)
            test = partial(assess_one, sensitivity=trial.sensitivity, granted=granted)
            result = assess_at_ceiling(seen, key, trial.target.limits, test(one), granted, test)
            rises = sum(1 for value in one.increments if value > 0)
            results[key] = _bound_runtime_threads(trial, key, result, rises, one.peak)
    results = rule_out_cache_by_idle_cpu(results)
    capped = limited(
        trial, seen, {key: allowed(trial.budget, key) for key in results if key.metric in CAPPED}
    )
    others, leaders = find_correlated_growth(results, read, seen)
    results = {**results, **others, **capped}
    kept = {
        key: fallen_back(seen, key, retained(trial, seen, key, one), trial.sensitivity)
        for key, one in results.items()
    }
    kept = {key: _cap_at_leader(one, kept.get(leaders[key])) if key in leaders and key not in capped else one
            for key, one in kept.items()}  # fmt: skip
    kept = without_changed_states(kept, read)
    kept = without_brought_objects(unserved(followed(seen, kept, FLOOR), capped), seen)
    return covered(without_brought_mappings(kept))


def without_changed_states(
    results: Mapping[Key, Assessed], read: Mapping[Key, Series]
) -> dict[Key, Assessed]:
    """Growth of one class of descriptors over time is none where all of them together did not grow, without clients,
    by half as many: departed clients that a slow service has not noticed pass from one class of socket to another
    while all of them wait. A healthy Go of 30 s was called leaking."""

    def of(key: Key, one: Assessed) -> Assessed:
        total = read.get(Key(key.metric))
        certain = one.status in ("leaking", "suspected") and one.factor == "time"
        if not key.kind or key.metric != "fds" or not certain or total is None:
            return one
        if _without_clients(total) >= STAYED * _without_clients(read[key]):
            return one
        why = "grew without clients while all descriptors together did not: they changed their state"
        return replace(one, status="undecided", growing=False, why=why)

    return {key: of(key, one) for key, one in results.items()}


def _without_clients(one: Series) -> float:
    """By how much a count grew in the spans without clients."""
    spans = zip(one.increments, one.column("connection"), strict=True)
    return math.fsum(value for value, clients in spans if clients <= 0)


def unserved(results: Mapping[Key, Assessed], capped: Mapping[Key, Assessed]) -> dict[Key, Assessed]:
    """Bound the sockets of clients that waited after the service had reached a limit. They are a consequence of the
    limit, and change their state when the clients disconnect, so they are not growth of their own."""
    if not capped:
        return dict(results)
    return {
        key: replace(one, status="undecided", growing=False, why="held since the service stopped serving")
        if key in KINDS and key not in capped and one.status in ("leaking", "suspected")
        else one
        for key, one in results.items()
    }


def _assess_processes(trial: Trial, found: Sequence[Moment], parts: Sequence[Trial]) -> dict[Key, Assessed]:
    """The results of a resumed trial: of each process alone, and of growth that only all of them together show."""
    each = [(moments(part), assess_counts(part)) for part in parts]
    results: dict[Key, Assessed] = {}
    for key in sorted({key for _, assessed in each for key in assessed}):
        read = [(seen, assessed[key]) for seen, assessed in each if key in assessed]
        ones = [one for _, one in read]
        result = merged(ones, sensitivity=trial.sensitivity, certified=key.metric in CERTIFIED)
        joined = series(found, key)
        if joined and result.status != "leaking" and key.judged is Judged.EXACT:
            whole = assess_one(joined, trial.sensitivity, allowed(trial.budget, key))
            stays = [retained(trial, seen, key, replace(whole, total=one.total)) for seen, one in read]
            result = outlived(whole, stays) or result
        results[key] = result
    return covered(results)


def covered(results: Mapping[Key, Assessed]) -> dict[Key, Assessed]:
    """Bound classes whose levels only fluctuate, such as sockets that change their state, by the bound of their
    total."""

    def of(key: Key, one: Assessed) -> Assessed:
        total = results.get(Key(key.metric))
        if not key.kind or not total or total.status != "bounded" or key.metric not in CERTIFIED:
            return one
        if one.status != "undecided" or one.growing:
            return one
        return replace(
            one, status="bounded", at_most=total.at_most, why=f"bounded with all {key.metric}: {total.why}"
        )

    return {key: of(key, one) for key, one in results.items()}


def _bound_runtime_threads(trial: Trial, key: Key, one: Assessed, rises: int, peak: int) -> Assessed:
    """Attribute threads that follow no driver to the runtime, once as many streams as a pass needs were answered: a few
    threads, or at most one for each stream open at once if they appeared in FEW cycles. rises: cycles in which their
    number rose. peak: most streams open at once."""
    most = OF_RUNTIME.get(trial.target.runtime, 0.0) if runs_threads(trial, key) else 0.0
    if most and rises <= FEW:
        most = max(most, float(peak))
    if one.status != "undecided" or not 0 < one.total <= most or one.exposure * trial.sensitivity < NOT_ONE:
        return one
    _, _, high = poisson_interval(one.total, one.exposure)
    why = f"grew by {one.total:g}, as threads of the {trial.target.runtime} runtime itself do"
    return replace(one, status="bounded", at_most=high, why=why, growing=False)


def runs_threads(trial: Trial, key: Key) -> bool:
    """Whether the key counts threads that the runtime starts by itself."""
    return key in THREADS and trial.target.runtime in OF_RUNTIME


def retained(trial: Trial, found: Sequence[Moment], key: Key, one: Assessed) -> Assessed:
    """The result once the retention time is taken into account (``harness.core.judge.retention``)."""
    retention = retention_of(trial, key)
    if retention <= 0 or one.status == "bounded":
        return one
    moments_, levels = _read(found, key)
    name = key.kind if key.kind in EXACT_MEMORY_KINDS else key.metric
    noise = FLOOR.get(name, 1.0)
    least, close = RELEASED.get(name, MIN_RELEASE), FLAT if name in FLOOR else 0.0
    seen = idle_evidence(moments_, key, levels, retention, noise, least, close)
    if (swept := swept_during_load(moments_, levels, one.factor)) is not None:
        seen = replace(seen, age=min(seen.age, max(0.0, moments_[-1].at - swept)))
    if seen.release:
        left = _after_release(trial, moments_, levels, key, one, seen, retention)
        return _bound_runtime_threads(trial, key, left, FEW + 1, 0)
    if one.status != "leaking":
        return one
    if (
        one.total <= SWEPT * seen.swept
    ):  # a cleanup that runs after a number of requests has freed as much at once
        return replace(
            one,
            status="undecided",
            growing=True,
            idle_evidence=seen,
            why=f"{one.why}; {seen.swept:g} fell at once",
        )
    margin = MARGIN + (UNNOTICED if _departures_unnoticed(found) else 0.0)
    if (
        one.factor == "time"
    ):  # growth over time that outlasts the retention time has nothing left that could expire
        late = seen.age >= retention * LONG_ENOUGH
    else:
        batch = noise if key.metric == "idle-cpu" else batch_size_of(one)  # CPU time has no smallest unit
        needed = max(min(TESTED * batch, SURELY * one.total), FALLEN * one.total)
        late = (
            seen.age >= retention + margin and seen.tested >= needed and seen.fallen <= MISSING * seen.tested
        )
    if late:
        return replace(one, idle_evidence=seen)
    return replace(one, status="suspected", growing=True, idle_evidence=seen)


def _departures_unnoticed(found: Sequence[Moment]) -> bool:
    """Whether sockets of departed clients have accumulated. A service that notices a departure only at its second write
    may close them a little later than the retention time."""
    held = [unnoticed(moment.levels) for moment in found if moment.levels]
    streams = found[-1].done.get("answered", 0.0)
    return bool(held) and held[-1] - min(held) > max(2.0, 0.02 * streams)


def retention_of(trial: Trial, key: Key) -> float:
    """Seconds for which this key may be retained: by the budget of the key, of its metric, of all, or by the trial."""
    return retain_for(trial.budget.retain, str(key), trial.retention)


def _read(found: Sequence[Moment], key: Key) -> tuple[list[Moment], list[float]]:
    """The moments and the level of the key at each; where it was not read, that of the next reading."""
    known: list[float | None] = [level_of(moment, key) for moment in found]
    following: float | None = None
    for index in range(len(known) - 1, -1, -1):
        following = known[index] if known[index] is not None else following
        known[index] = following
    kept = [(moment, level) for moment, level in zip(found, known, strict=True) if level is not None]
    return [moment for moment, _ in kept], [level for _, level in kept]


def _after_release(
    trial: Trial, found: Sequence[Moment], levels: Sequence[float], key: Key, one: Assessed, seen: IdleEvidence,
    retention: float,
) -> Assessed:  # fmt: skip
    """Judge what was left each time after everything that is ever released had been released."""
    assert seen.release
    said = seen.release.text()
    open_ = replace(
        one, status="undecided", why=f"{said}; not yet all of it", growing=True, idle_evidence=seen
    )
    if len(seen.drained) < 2:
        return open_
    drained = _warm(found, levels, seen.drained, trial.sensitivity)
    at = [found[index] for index in drained]
    left = [levels[index] for index in drained]
    inside = key.kind in EXACT_MEMORY_KINDS
    spans = tuple(_between(a, b) for a, b in pairwise(at))
    rest = Series(key, tuple(left), spans, max(moment.peak for moment in found))
    streams = math.fsum(rest.column("answered"))
    total = left[-1] - left[0]
    if streams <= 0:
        return open_
    noisy = inside or key.metric == "idle-cpu"
    fine = trial.sensitivity * FINEST.get(key.kind if inside else key.metric, 0.0) * streams
    if total <= max(FLOOR.get(key.kind, 1.0), FLAT * seen.fallen if noisy else 0.0, fine):
        at_most = (3.0 + max(0.0, total)) / streams
        enough = at_most <= trial.sensitivity * FINEST.get(key.kind, 1.0) or inside
        why = f"{said}; nothing was left of {streams:,.0f} answered streams"
        return Assessed(
            "bounded" if enough else "undecided", at_most, why, max(0.0, total), streams, idle_evidence=seen
        )
    if seen.idle < retention + MARGIN:
        return replace(open_, why=f"{said}; {_amount(key, total)} remained after {seen.idle:.0f} s")
    granted = allowed(trial.budget, key)
    beyond = total - math.fsum(granted.of(dict(span)) for span in spans)
    arenas = FLAT * seen.fallen if noisy or key.metric == "mappings" else 0.0
    largest = max(granted.pool, BURST_POOL * COUNTED.get(key.kind, 1), 2 * rest.peak, arenas)
    if not math.isclose(seen.fallen, 0.0) and seen.release.after == 0.0:
        largest = max(largest, SWEPT * seen.swept)
    own = one.status == "leaking" and one.factor not in ENTRIES and any(rest.column(one.factor))
    factor = one.factor if own else "answered"
    rate, low, high = interval(rest.increments, rest.column(factor))
    others = "the rest was " if seen.release.over else ""
    why = f"{_amount(key, total)} remained {seen.idle:.0f} s after the last client; {others}{said}"
    name = key.kind if inside else key.metric
    least = (
        MIN_GROWTH_OF.get(name, 0.0) if at[0].done.get("connection") else STEEP_LEFT.get(name, 0.0) * streams
    )
    if beyond > max(largest, least) and not (inside and streams < CACHE):
        return replace(
            one, status="leaking", why=why, total=total, exposure=streams, factor=factor, rivals=(), rate=rate,
            low=low, high=high, at_most=high, growing=False, idle_evidence=seen,
        )  # fmt: skip
    at_most = high * math.fsum(rest.column(factor)) / streams
    warm = not at[0].done.get("connection") and total <= WARMED.get(name, 0.0) * streams
    small = beyond > max(largest, least)  # too few streams for what else would be certain
    holds = until_full("answered stream", streams) if small else "a pool could hold that"
    return replace(
        open_,
        why=f"{why}; {holds}",
        total=total,
        exposure=streams,
        at_most=at_most,
        growing=not warm,
    )


def _warm(
    found: Sequence[Moment], levels: Sequence[float], drained: tuple[int, ...], sensitivity: float
) -> tuple[int, ...]:
    """The drained moments, without the one before the first client once enough streams came after the first full
    release. The first clients leave a warm-up behind, which is neither a pool nor a leak. If each later stream leaves
    as much, it was not a warm-up."""
    if found[drained[0]].peak or found[drained[0]].done.get("connection", 0.0) or len(drained) < 3:
        return drained
    first = _between(found[drained[0]], found[drained[1]]).get("answered", 0.0)
    streams = _between(found[drained[1]], found[drained[-1]]).get("answered", 0.0)
    grown, later = levels[drained[1]] - levels[drained[0]], levels[drained[-1]] - levels[drained[1]]
    alike = later > MIN_GROWTH and grown * streams <= WARMER * later * first
    return drained[1:] if streams * sensitivity >= NOT_ONE and not alike else drained


def _between(before: Moment, after: Moment) -> dict[str, float]:
    return {name: max(0.0, amount - before.done.get(name, 0.0)) for name, amount in after.done.items()}


def batch_size_of(one: Assessed) -> float:
    """The smallest step by which growth occurs: growth of several units per stream has no smaller steps."""
    return max(1.0, one.rate) if one.factor != "time" else 1.0


def rule_out_cache_by_idle_cpu(results: Mapping[Key, Assessed]) -> dict[Key, Assessed]:
    """Memory that a cache could hold is a leak if the idle service uses more CPU the more it retains: a service does no
    work for the entries of a cache."""
    cpu = results.get(Key("idle-cpu"))
    busy = cpu is not None and cpu.total >= WORK and (cpu.growing or cpu.status == "leaking")
    return {
        key: replace(one, status="leaking", growing=False, cache="", why=_worked(one.cache, cpu))
        if busy and one.cache and one.rate > 0
        else one
        for key, one in results.items()
    }


def _worked(growth: str, cpu: Assessed | None) -> str:
    cores = f"{cpu.total:.2g}" if cpu else "0"
    return f"{growth}; idle CPU rose by {cores} cores with it, so it is not a cache"


def _cap_at_leader(part: Assessed, leader: Assessed | None) -> Assessed:
    """The result of a count that grew in step with ``leader``, which can be no more certain than its leader."""
    if part.status == "leaking" and leader is not None and leader.status == "suspected":
        return replace(part, status="suspected", growing=True)
    return part


def find_correlated_growth(
    results: Mapping[Key, Assessed], read: Mapping[Key, Series], seen: Sequence[Moment]
) -> tuple[dict[Key, Assessed], dict[Key, Key]]:
    """Find counts that are not certain by themselves but grew in step with a certain one: a part of the same leak.
    Returns the results, and the leader of each such count."""
    found: dict[Key, Assessed] = {}
    leaders: dict[Key, Key] = {}
    certain = {key: one for key, one in results.items() if one.status == "leaking"}
    for key, one in results.items():
        if one.status != "undecided" or one.total < MIN_GROWTH or key.judged is not Judged.EXACT:
            continue
        grown = read[key].increments
        for leader, lead in certain.items():
            led = read[leader].increments
            if len(led) != len(grown):  # there are no levels of memory while allocations are traced
                both = series([moment for moment in seen if level_of(moment, key) is not None], leader)
                led = both.increments if both else []
            if (
                leader.judged is not Judged.EXACT
                or rank(leader) > max(rank(key), FIRST_CONSEQUENCE_RANK - 1)  # a consequence proves no cause
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
                leaders[key] = leader
                found[key] = replace(
                    one, status="leaking", why=f"rose in proportion to {leader}", factor=lead.factor,
                    rivals=lead.rivals, rate=rate, low=low, high=high, growing=False, cache="",
                )  # fmt: skip
                break
    return found, leaders


def assess_one(one: Series, sensitivity: float, granted: Allowed) -> Assessed:
    """Apply the test of its metric to one series. Memory that a cache could hold is not certain yet."""
    found = _tested(one, sensitivity, granted)
    counted = ENTRIES.get(found.factor)
    if counted is None or one.key.kind not in EXACT_MEMORY_KINDS:
        return found
    served = math.fsum(one.column(counted))
    steep = found.total >= STEEP * served
    if served >= CACHE and not (steep and _tails_off(one, counted)):
        return found
    if found.status != "leaking":
        cache = found.why if found.growing and steep else ""
        return replace(found, cache=cache) if served < CACHE else found
    why = f"{found.why}; {until_full(per(counted), served)}"
    if served >= CACHE:
        why = f"{found.why}, but by less at the end, as a cache that has filled up"
    return replace(found, status="undecided", why=why, growing=True, cache=found.why if steep else "")


def until_full(unit: str, served: float) -> str:
    """Why growth that a cache could hold is not certain yet, and what is missing."""
    return f"a cache also grows until it is full: only {CACHE:,g} {unit}s rule one out, and there were {served:,.0f}"


def _amount(key: Key, total: float) -> str:
    """A total in the unit of its metric: ``39,134``, ``3.9 MB``."""
    if key.metric == "memory" and key.kind not in ("objects", "blocks"):
        return bytes_text(total)
    return f"{total:,.0f}" if total >= 1 else f"{total:.2g}"


def _tails_off(one: Series, counted: str) -> bool:
    """Whether the last cycle with the driver added less per unit than the cycles before."""
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
            least=MIN_GROWTH_OF[name],
            steps=True,
        )
    if name in FLOOR:
        return trend.assess(
            one,
            sensitivity=sensitivity * FINEST[name],
            allowed=granted,
            floor=FLOOR[name],
            least=MIN_GROWTH_OF[name],
            steps=name != "idle-cpu",
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
