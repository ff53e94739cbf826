"""The result of a count once the retention time is taken into account: what is released late is no leak."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from harness.core.budget import retain_for
from harness.core.cycle import Phase
from harness.core.judge.assessed import Assessed
from harness.core.judge.ceiling import AT_CEILING_SHARE, ceiling_of
from harness.core.judge.expiry import least_release
from harness.core.judge.filled_early import filled_early
from harness.core.judge.limit import limit_of
from harness.core.judge.moment import Moment
from harness.core.judge.moments import Series, level_of
from harness.core.judge.one_count import (
    ENTRIES,
    FLOOR,
    MAX_CACHE_ENTRIES,
    MIN_GROWTH_OF,
    SMALLEST_LEAK,
    UNITS_PER_STREAM,
    allowed,
    name_of,
    smallest_leak,
    unit_of,
    until_full,
)
from harness.core.judge.rates import interval, rate_of_streams
from harness.core.judge.retention import (
    MARGIN,
    MAX_NOISE_SHARE,
    MAX_WARM_UP_SHARE,
    MIN_RELEASED_SHARE,
    MIN_TESTED,
    IdleEvidence,
    idle_evidence,
)
from harness.core.judge.runtime_threads import (
    MAX_RISING_CYCLES,
    MIN_EXPECTED_LEAKS,
    THREADS,
    bound_runtime_threads,
)
from harness.core.judge.stopped_classes import stopped_classes
from harness.core.judge.swept_loads import swept_during_load
from harness.core.judge.tested_series import BURST_POOL, MIN_GROWTH
from harness.core.judge.unnoticed import unnoticed
from harness.core.metric import EXACT_MEMORY_KINDS, Key
from harness.core.record import Trial
from harness.core.stats.distributions import NO_GROWTH
from harness.core.units import bytes_text

# Units left per answered stream after the first full release that are more than a warm-up. Node's heap keeps 170 bytes
# of each of the first clients, Go's 60. Mappings are an allocator's arenas: 3,000 threads left 340.
STEEP_LEFT = {"objects": 0.5, "blocks": 0.5, "heap-bytes": 1024.0, "external-bytes": 1024.0, "mappings": 0.5}
# Units left per answered stream up to which the rest looks like a warm-up, and only weakens the bound.
WARM_UP_LEFT = {"heap-bytes": 256.0, "mappings": 0.2}
# A warm-up: the first streams leave more than this many times as much per stream as later ones.
WARM_UP_FACTOR = 1.5
OUTLIVED_FACTOR = 1.25  # times the retention time for which growth over time must have gone on
# Seconds: two heartbeats of up to 36 s, after which a write to a departed client fails.
LATE_NOTICE_SECONDS = 12.0
SWEEP_FACTOR = 2.0  # times the largest fall during a load that a leak must exceed
# Share of all growth in a counter of a JVM that may fall in small cycles and still be no release.
MAX_MOVED_SHARE = 0.75
MAX_BUSY_SHARE = 0.1  # the same in large cycles, in which a sweep falls too
# Seconds after the last client in which a JVM collects what a large load needed. In three of four runs of a healthy
# Jetty 700 to 3,300 objects went 2 to 5 s after it, and nothing for a minute afterwards.
COLLECTED_SECONDS = 6.0
SMALL_SHARE = 0.25  # of the streams of the cycle before, up to which a cycle of a JVM only collects
MIN_OBSERVABLE_SHARE = 0.9  # of a small growth whose release must have been observable


def retained(trial: Trial, found: Sequence[Moment], key: Key, one: Assessed) -> Assessed:
    """The result once the retention time is taken into account (``harness.core.judge.retention``)."""
    retention = retention_of(trial, key)
    if retention <= 0 or one.status == "bounded":
        return one
    readable, levels = _read(found, key)
    name = name_of(key)
    noise = FLOOR.get(name, 1.0)
    least, close = least_release(key), MAX_WARM_UP_SHARE if name in FLOOR else 0.0
    moved = trial.target.runtime == "jvm" and key.kind in EXACT_MEMORY_KINDS
    seen = idle_evidence(readable, key, levels, retention, noise, least, close, moved=moved)
    if (swept := _swept(trial, key, readable, levels, one.factor)) is not None:
        seen = replace(seen, age=min(seen.age, max(0.0, readable[-1].at - swept)))
    if seen.release and not (moved and _moves_with_use(key, one, seen, readable, levels)):
        left = _after_release(trial, readable, levels, key, one, seen, retention)
        return bound_runtime_threads(trial, key, left, MAX_RISING_CYCLES + 1, 0)
    if one.status != "leaking":
        return one
    # A cleanup that runs after a number of requests has freed about as much at once, and may do so again.
    if one.total <= SWEEP_FACTOR * seen.swept:
        return replace(
            one,
            status="undecided",
            growing=True,
            idle_evidence=seen,
            why=f"{one.why}; {seen.swept:g} fell at once",
        )
    margin = MARGIN + (LATE_NOTICE_SECONDS if _departures_unnoticed(found) else 0.0)
    # Growth over time has no streams that could expire, so its age alone decides.
    if one.factor == "time":
        outlived = seen.age >= retention * OUTLIVED_FACTOR
    else:
        # CPU time has no smallest unit; its noise stands for one.
        batch = noise if key.metric == "idle-cpu" else batch_size_of(one)
        needed = max(
            min(MIN_TESTED * batch, MIN_OBSERVABLE_SHARE * one.total), MIN_RELEASED_SHARE * one.total
        )
        # A pool reuses its threads, so that each use delays their end. Only growth that is the same for each stream
        # shows that none was reused. Without this rule a cached pool of Java, whose threads end when they have been
        # idle for 60 s, was judged leaking 25 s after the last client.
        reused = key in THREADS and not one.constant
        tested = seen.tested
        if one.constant and key.kind == "objects" and not seen.fallen:
            tested = max(tested, _kept_during_loads(readable, levels, retention + margin))
        outlived = (
            seen.age >= retention + margin
            and (not reused or seen.idle >= retention + margin)
            and tested >= needed
            and seen.fallen <= MAX_NOISE_SHARE * seen.tested
        )
    if outlived:
        return replace(one, idle_evidence=seen)
    return replace(one, status="suspected", growing=True, idle_evidence=seen)


def _moves_with_use(
    key: Key,
    one: Assessed,
    seen: IdleEvidence,
    found: Sequence[Moment],
    levels: Sequence[float],
) -> bool:
    """Whether a counter of a JVM fell only in small cycles after large ones, or soon after them, and each time by less
    than most of its growth (in a large cycle by hardly any of it).

    The buffers that a large load needed are collected when a few streams use them again, so objects fall with the next
    cycle, or in the first seconds after the load, and not later while nobody connects. A wait for the rest decided
    nothing: a healthy Jetty had another 55 seconds without clients, and no time for the loads that show that its
    objects no longer grow. A sweep falls whenever its time has come, and by everything that it may release."""
    assert seen.release
    if seen.release.after > COLLECTED_SECONDS or seen.release.by_request:
        return False
    streams = [0.0, *(moment.answered_since(before) for before, moment in pairwise(found))]
    large = 0.0
    for index, moment in enumerate(found):
        fall = levels[index - 1] - levels[index] if index else 0.0
        if fall >= least_release(key):
            busy = moment.peak and streams[index] > SMALL_SHARE * large
            if fall >= (MAX_BUSY_SHARE if busy else MAX_MOVED_SHARE) * (levels[index - 1] - levels[0]):
                return False
        large = streams[index] if moment.peak else large
    return seen.fallen < MAX_MOVED_SHARE * (one.total + seen.fallen)


def _kept_during_loads(found: Sequence[Moment], levels: Sequence[float], seconds: float) -> float:
    """The units that streams of more than ``seconds`` ago had left, while loads went on.

    Where each stream adds the same number of objects in every cycle, none of these was released: a later cycle would
    have added fewer. Objects are suspected only after the 4,096 streams of a cache. With an event every half second, as
    in a FastAPI service whose queues stayed subscribed, those took 90 of 120 seconds, and no wait fitted in after them.
    """
    before = [
        level for moment, level in zip(found, levels, strict=True) if moment.left <= found[-1].at - seconds
    ]
    return max(0.0, before[-1] - levels[0]) if before else 0.0


def _swept(
    trial: Trial, key: Key, found: Sequence[Moment], levels: Sequence[float], factor: str
) -> float | None:
    """The time of a sweep during a load, in seconds; None without one. Loads that reached a ceiling of the kernel,
    or a service that had stopped serving, are left out: they added less because of that."""
    bound, limit = ceiling_of(key, trial.target.limits), limit_of(trial)
    served = trial.observations[limit.cycle].started if limit else math.inf
    below = [
        (moment, level)
        for moment, level in zip(found, levels, strict=True)
        # ``_read`` fills a gap with the next reading, so the load after it would seem to add nothing, and so would the
        # second of two searches, because the first is a gap.
        if level_of(moment, key) is not None
        and (moment.phase is not Phase.SEARCH or moment is found[-1])
        and moment.at <= served
        and (bound is None or level < AT_CEILING_SHARE * bound[1])
    ]
    return swept_during_load([moment for moment, _ in below], [level for _, level in below], factor)


def _departures_unnoticed(found: Sequence[Moment]) -> bool:
    """Whether sockets of departed clients have accumulated. A service that notices a departure only at its second write
    may close them a little later than the retention time."""
    held = [unnoticed(moment.levels) for moment in found if moment.levels]
    streams = found[-1].done.get("answered", 0.0)
    return bool(held) and held[-1] - min(held) > max(2.0, 0.02 * streams)


def retention_of(trial: Trial, key: Key) -> float:
    """Seconds for which this key may be retained: by the budget of the key, of its metric or of all, else by the
    trial."""
    return retain_for(trial.budget.retain, str(key), trial.retention)


def _read(found: Sequence[Moment], key: Key) -> tuple[list[Moment], list[float]]:
    """The moments, and the level of the key at each; a gap has the level of the next reading. So has a search: a
    service whose allocations are traced finishes its work late, which is no late release."""
    last = len(found) - 1
    known: list[float | None] = [
        None if moment.phase is Phase.SEARCH and index < last else level_of(moment, key)
        for index, moment in enumerate(found)
    ]
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
    release = seen.release.text()
    open_ = replace(
        one, status="undecided", why=f"{release}; not yet all of it", growing=True, idle_evidence=seen
    )
    if len(seen.drained) < 2:
        return open_
    drained = _warm(found, levels, seen.drained, trial.sensitivity)
    at = [found[index] for index in drained]
    left = [levels[index] for index in drained]
    inside = key.kind in EXACT_MEMORY_KINDS
    spans = tuple(_between(before, after) for before, after in pairwise(at))
    rest = Series(key, tuple(left), spans, max(moment.peak for moment in found))
    streams = math.fsum(rest.column("answered"))
    total = left[-1] - left[0]
    if streams <= 0:
        return open_
    noisy = name_of(key) in SMALLEST_LEAK
    asked = smallest_leak(key, trial.sensitivity)
    fine = asked * streams if noisy else 0.0
    # What later requests may have released as well only counts as far as the level is not below that of the start.
    unsure = min(at[-1].unsure.get(key, 0.0), max(0.0, total + at[-1].unsure.get(key, 0.0)))
    if total <= max(FLOOR.get(name_of(key), 1.0), MAX_WARM_UP_SHARE * seen.fallen if noisy else 0.0, fine):
        at_most = (NO_GROWTH * unit_of(key) + max(0.0, total) + unsure) / streams
        enough = at_most <= asked or (inside and not unsure and total <= fine)
        rest_text = f"at most {_amount(key, unsure)} was left" if unsure else "nothing was left"
        why = f"{release}; {rest_text} of {streams:,.0f} answered streams"
        return Assessed(
            "bounded" if enough else "undecided",
            at_most,
            why,
            max(0.0, total),
            streams,
            idle_evidence=seen,
            growing=noisy and total > fine,
        )
    if seen.idle < retention + MARGIN:
        return replace(open_, why=f"{release}; {_amount(key, total)} remained after {seen.idle:.0f} s")
    granted = allowed(trial.budget, key)
    beyond = total - math.fsum(granted.of(dict(span)) for span in spans)
    arenas = MAX_WARM_UP_SHARE * seen.fallen if noisy or key.metric == "mappings" else 0.0
    largest = max(granted.pool, BURST_POOL * UNITS_PER_STREAM.get(key.kind, 1), 2 * rest.peak, arenas)
    if not math.isclose(seen.fallen, 0.0) and seen.release.after == 0.0:
        largest = max(largest, SWEEP_FACTOR * seen.swept)
    own = one.status == "leaking" and one.factor not in ENTRIES and any(rest.column(one.factor))
    factor, (rate, low, high) = (
        (one.factor, interval(rest.increments, rest.column(one.factor))) if own else rate_of_streams(rest)
    )
    others = "the rest was " if seen.release.over else ""
    why = f"{_amount(key, total)} remained {seen.idle:.0f} s after the last client; {others}{release}"
    name = name_of(key)
    least = (
        MIN_GROWTH_OF.get(name, 0.0) if at[0].done.get("connection") else STEEP_LEFT.get(name, 0.0) * streams
    )
    stopped = stopped_classes(found, key, drained[0], drained[-1]) or filled_early(
        found, levels, drained[0], drained[-1], seen.release
    )
    if stopped:
        return replace(open_, why=f"{why}; {stopped}", total=total, exposure=streams, at_most=high)
    if beyond > max(largest, least) and not (inside and streams < MAX_CACHE_ENTRIES):
        return replace(
            one, status="leaking", why=why, total=total, exposure=streams, factor=factor, rivals=(), rate=rate,
            low=low, high=high, at_most=high, growing=False, idle_evidence=seen,
        )  # fmt: skip
    at_most = high * math.fsum(rest.column(factor)) / streams
    warm = not at[0].done.get("connection") and total <= WARM_UP_LEFT.get(name, 0.0) * streams
    # The rest exceeds any pool, but too few streams were served to exclude a cache.
    small = beyond > max(largest, least)
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
    """The drained moments. The one before the first client is left out once enough streams came after the first full
    release: what the first clients leave is a warm-up, neither a pool nor a leak. It stays if each later stream leaves
    as much, because then it was no warm-up."""
    if found[drained[0]].peak or found[drained[0]].done.get("connection", 0.0) or len(drained) < 3:
        return drained
    first = _between(found[drained[0]], found[drained[1]]).get("answered", 0.0)
    streams = _between(found[drained[1]], found[drained[-1]]).get("answered", 0.0)
    grown, later = levels[drained[1]] - levels[drained[0]], levels[drained[-1]] - levels[drained[1]]
    alike = later > MIN_GROWTH and grown * streams <= WARM_UP_FACTOR * later * first
    return drained[1:] if streams * sensitivity >= MIN_EXPECTED_LEAKS and not alike else drained


def _between(before: Moment, after: Moment) -> dict[str, float]:
    return {name: max(0.0, amount - before.done.get(name, 0.0)) for name, amount in after.done.items()}


def batch_size_of(one: Assessed) -> float:
    """The smallest step by which growth occurs: growth of several units per stream has no smaller steps."""
    return max(1.0, one.rate) if one.factor != "time" else 1.0


def _amount(key: Key, total: float) -> str:
    """A total in the unit of its metric: ``39,134``, ``3.9 MB``."""
    if key.metric == "memory" and key.kind not in ("objects", "blocks"):
        return bytes_text(total)
    return f"{total:,.0f}" if total >= 1 else f"{total:.2g}"
