"""Judges a service that stops serving once a resource is exhausted, by the cycles before.

A leak that reaches a limit (a cap of its own, a pool that is exhausted, RLIMIT_NOFILE answered by 5xx) stops growing,
because the service serves nothing any more. The growth up to that point then decides, relative to the answered
streams, and the finding names what happened at the limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from harness.core.cycle import Ledger, Phase
from harness.core.judge.assessed import Allowed, Assessed
from harness.core.judge.moment import Moment
from harness.core.judge.moments import level_of, served_streams
from harness.core.judge.rates import TIE_SHARE, interval, roughness
from harness.core.metric import Key
from harness.core.record import Trial

MAX_ANSWERED_SHARE = 0.02  # share of a cycle's streams that a service which has given up may answer
# The same after a limit: a C service with 400 descriptors answered 9 of 302 and 10 of 300 more.
MAX_SERVED_SHARE = 0.05
MAX_UNEXPLAINED_SHARE = 0.15  # share of the growth that the answered streams may leave unexplained
MIN_RATE = 0.3  # units per answered stream: a leak that reaches a limit within minutes is not rare
# The same for a service that still served nothing after it had been left alone: no pool that is merely busy does that.
# 150 workers, of which every twelfth request blocked one for ever, lasted for 1,450 streams.
MIN_RATE_LASTING = 0.02
MIN_UNITS = 16.0  # of growth before the limit
# Steps of TIE_SHARE by which a rate may differ from a whole number if only one cycle shows it.
MAX_ROUGHNESS = 3
MIN_RETAINED_SHARE = 0.9  # share of the growth that is retained once nothing is served
REFUSED = "connections were refused"
NO_ANSWER = "no stream was answered any more"
NO_EVENT = "no stream got an event any more"
NAMED = {"answered": "answered", "served": "answered", "accepted": "connection", "connection": "connection"}
# served: answered streams that got an event. accepted: includes requests reset before their answer. connection:
# includes those in the queue for a worker.
FACTORS = ("answered", "served", "accepted", "connection")


@dataclass(frozen=True, slots=True)
class Limit:
    """The service stopped serving. cycle: index of the first observation that was hardly answered at all.
    happened: what clients met from then on."""

    cycle: int
    happened: str


def limit_of(trial: Trial) -> Limit | None:
    """The cycle in which the service stopped serving; None if it still serves, never served, or limits the rate."""
    loads = [
        (index, o)
        for index, o in enumerate(trial.observations)
        if o.ledger.opened and o.complete and o.spec.phase is not Phase.SEARCH
    ]
    # Only the cycles after the last one that was served count: earlier failures were followed by answers.
    served = [index for index, o in loads if served_streams(o) > MAX_SERVED_SHARE * o.ledger.opened]
    after = [(index, o.ledger) for index, o in loads if not served or index > served[-1]]
    if not served or not after:
        return None
    total: dict[str, int] = {}
    for _, ledger in after:
        for name, count in failures(ledger).items():
            total[name] = total.get(name, 0) + count
    if not total:
        return None
    happened = max(total.items(), key=lambda item: (item[1], item[0]))[0]
    mute = sum(ledger.unanswered for _, ledger in after) * 2 < sum(ledger.stalls for _, ledger in after)
    return Limit(after[0][0], NO_EVENT if happened == NO_ANSWER and mute else happened)


def failures(ledger: Ledger) -> dict[str, int]:
    """The failures that clients got instead of an answer, in words. Resets by the client and rate limits are not
    failures."""
    # A rate limit is a 429.
    statuses = {code: count for code, count in ledger.statuses.items() if code >= 500}
    found = {f"only status {code}": count for code, count in statuses.items()}
    silent = ledger.unanswered + ledger.stalls
    if silent:
        found[NO_ANSWER] = silent
    refused = sum(count for cause, count in ledger.causes.items() if "refused" in cause or "reset" in cause)
    if refused and not statuses:
        found[REFUSED] = refused
    return found


def assess_limited(
    found: Sequence[Moment], key: Key, happened: str, granted: Allowed, before: int, rare: float = MIN_RATE
) -> Assessed | None:
    """Growth in step with the answered streams, or with the connections, until the limit; None where there is none.

    happened: what followed at the limit. before: number of the moments of ``found`` that were read before it. rare:
    units per answered stream below which growth is no leak into a limit.
    """
    read = [(moment, level) for moment in found if (level := level_of(moment, key)) is not None]
    until = [pair for pair in read if any(pair[0] is moment for moment in found[:before])]
    # A load that was cut off makes the rate too low, so it counts only where those before it are not enough.
    whole = _without_cut_load(until)
    one = _in_step(key, whole, granted, rare, cut=True) if len(whole) < len(until) else None
    one = one or _in_step(key, until, granted, rare, cut=False)
    # Growth that was released once nothing was served has another cause.
    if one is None or read[-1][1] - until[0][1] < MIN_RETAINED_SHARE * one.total:
        return None
    reached = f"{max(level for _, level in read):g}, then {happened}"
    return replace(one, why=f"{one.why} until {reached}", reached=reached)


def _in_step(
    key: Key, until: Sequence[tuple[Moment, float]], granted: Allowed, rare: float, *, cut: bool
) -> Assessed | None:
    """Growth in step with what the clients did, of these readings; None for any other. cut: they end before the load
    that reached the limit, so none of them was the last that could grow."""
    # A single cycle decides only if it is compared with the level before the first client.
    if len(until) < 3 and not (len(until) == 2 and not until[0][0].peak and not cut):
        return None
    grown = [after - level for (_, level), (_, after) in pairwise(until)]
    columns = {name: [_units_between(a, b, name) for (a, _), (b, _) in pairwise(until)] for name in FACTORS}
    factor = _simplest_factor(grown, columns)
    column = columns[factor]
    total, streams = math.fsum(grown), math.fsum(column)
    active = [(value, amount) for value, amount in zip(grown, column, strict=True) if amount > 0]
    if len(until) == 2 and not _one_each(total, streams, until[1][0].peak + _waiting(key, *until)):
        return None
    spans = 1 if len(until) == 2 else 2
    if streams <= 0 or len(active) < spans or total < max(MIN_UNITS, rare * streams) or total <= granted.pool:
        return None
    # Growth that does not follow the streams has another cause.
    if _unexplained(grown, column) > MAX_UNEXPLAINED_SHARE * total:
        return None
    _, low, high = interval(grown, column)
    what = {"answered": "answered streams", "served": "streams that got an event"}.get(factor, "connections")
    why = f"in step with the {what}"
    return Assessed("leaking", high, why, total, streams, NAMED[factor], (), total / streams, low, high)


def _without_cut_load(until: Sequence[tuple[Moment, float]]) -> Sequence[tuple[Moment, float]]:
    """The readings without the load in which the limit was reached, if its rate differs from that of the loads before.

    It is lower when growth stops in the middle of the load: a C service with 400 descriptors answered 52 streams more
    than it could open files for. It is higher when clients wait in a queue at its end: a service with 150 workers held
    303 sockets of waiting clients."""
    last = max(
        (n for n, ((_, level), (_, after)) in enumerate(pairwise(until), 1) if after > level), default=0
    )
    before = until[:last]
    if not before:
        return until
    streams = _units_between(before[0][0], before[-1][0], "answered")
    more = _units_between(before[-1][0], until[last][0], "answered")
    expected = (before[-1][1] - before[0][1]) * more / streams if streams else 0.0
    added = until[last][1] - before[-1][1]
    return before if added < expected or added > (1 + MAX_UNEXPLAINED_SHARE) * expected else until


def _one_each(total: float, streams: float, busy: float) -> bool:
    """Whether a single cycle, in which everything was used up, added the same whole number for each stream, and more
    than were busy at once: a pool that is sized by its load holds no more than those."""
    return streams > 0 and total > busy and roughness(total / streams) <= MAX_ROUGHNESS


def _waiting(key: Key, start: tuple[Moment, float], end: tuple[Moment, float]) -> float:
    """The requests of a cycle that were never answered, and may keep a thread or task waiting although their clients
    have left. A server with 100 threads of which one at a time held a lock had 99 more after 4 answers: they are no
    leak of 24.75 per answer."""
    if key.metric not in ("threads", "tasks"):
        return 0.0
    return _units_between(start[0], end[0], "connection") - _units_between(start[0], end[0], "accepted")


def _simplest_factor(grown: Sequence[float], columns: Mapping[str, Sequence[float]]) -> str:
    """The factor that leaves least unexplained. Among several that are about as good, the one with the roundest rate:
    one descriptor for each request is more likely than 1.25 for each answer."""
    missed = {name: _unexplained(grown, column) for name, column in columns.items()}
    least, total = min(missed.values()), math.fsum(grown)
    alike = [name for name in FACTORS if missed[name] <= least + TIE_SHARE * total and any(columns[name])]
    return min(alike or FACTORS, key=lambda name: roughness(total / max(1.0, math.fsum(columns[name]))))


def _units_between(before: Moment, after: Moment, factor: str) -> float:
    return max(0.0, after.done.get(factor, 0.0) - before.done.get(factor, 0.0))


def _unexplained(grown: Sequence[float], column: Sequence[float]) -> float:
    """Units that a constant rate leaves unexplained."""
    amount = math.fsum(column)
    rate = math.fsum(grown) / amount if amount else 0.0
    return math.fsum(abs(value - rate * each) for value, each in zip(grown, column, strict=True))


def moments_before(found: Sequence[Moment], trial: Trial, limit: Limit) -> int:
    """The number of moments that were read before the service stopped serving, the last partly answered cycle
    included."""
    started = trial.observations[limit.cycle].started
    return sum(1 for moment in found if moment.at <= started)


def limited(
    trial: Trial, found: Sequence[Moment], granted: Mapping[Key, Allowed], *, lasting: bool = False
) -> dict[Key, Assessed]:
    """The keys whose growth reached a limit. lasting: the service served nothing even after it had been left alone."""
    limit = limit_of(trial)
    if limit is None:
        return {}
    before = moments_before(found, trial, limit)
    results = {
        key: assess_limited(
            found, key, limit.happened, allowed, before, MIN_RATE_LASTING if lasting else MIN_RATE
        )
        for key, allowed in granted.items()
    }
    return {key: one for key, one in results.items() if one is not None}
