"""Every count of a trial: the test of each (``one_count``), its retention (``retained``), and then all together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from harness.core.judge.assessed import Assessed
from harness.core.judge.ceiling import assess_at_ceiling
from harness.core.judge.certain_growth import MAX_UNEXPLAINED
from harness.core.judge.fallen_back import fallen_back
from harness.core.judge.following import (
    followed,
    without_brought_mappings,
    without_brought_objects,
    without_descriptors_of_workers,
    without_pooled_objects,
)
from harness.core.judge.idle_work import beside_growth, rule_out_cache
from harness.core.judge.limit import limited
from harness.core.judge.moment import Moment
from harness.core.judge.moments import Series, keys, level_of, moments, series
from harness.core.judge.one_count import FLOOR, UNITS_PER_STREAM, allowed, assess_one
from harness.core.judge.rates import beside_readings, interval
from harness.core.judge.restarted import merged, outlived
from harness.core.judge.retained import retained
from harness.core.judge.runtime_threads import bound_runtime_threads
from harness.core.judge.tested_series import MIN_GROWTH
from harness.core.judge.unnoticed import KINDS
from harness.core.judge.unserved import was_retried
from harness.core.metric import FIRST_CONSEQUENCE_RANK, Judged, Key, rank
from harness.core.record import Trial
from harness.core.segments import segments

# Share of the growth of one class of descriptors, without clients, by which all descriptors must have grown.
MIN_SHARE_OF_TOTAL = 0.5
# Mappings that each unit of another count must have brought to be part of the same leak: a thread brings a stack and a
# guard page, a buffer its own mapping. An allocator maps what it needs by the megabyte, so a few mappings beside
# thousands of tasks or objects (7 beside 3,900 goroutines, tests/sabotage) are memory, which is a metric of its own.
MIN_MAPPINGS_EACH = 0.5
CAPPED = ("fds", "threads", "processes", "tasks", "broker-peers")  # resources with a limit
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
            results[key] = bound_runtime_threads(trial, key, result, rises, one.peak)
    # First the results of single counts are related to each other, then each is checked for late releases. The order
    # matters: a count that grew in step with a certain one must be known before its release is judged.
    results = rule_out_cache(results)
    capped = limited(
        trial,
        seen,
        {key: allowed(trial.budget, key) for key in results if key.metric in CAPPED},
        lasting=was_retried(trial),
    )
    others, leaders = find_correlated_growth(results, read, seen)
    results = {**results, **others, **capped}
    kept = {
        key: fallen_back(seen, key, retained(trial, seen, key, one), trial.sensitivity)
        for key, one in results.items()
    }
    # A leak into a limit is certain by itself, so it keeps its result whatever its leader is.
    kept = {key: _cap_at_leader(one, kept.get(leaders[key])) if key in leaders and key not in capped else one
            for key, one in kept.items()}  # fmt: skip
    # Last come the rules that compare a count with what caused its growth.
    kept = without_changed_states(kept, read)
    kept = without_brought_objects(unserved(followed(seen, kept, FLOOR), capped), seen)
    kept = without_descriptors_of_workers(without_pooled_objects(kept), seen)
    return beside_growth(covered(without_brought_mappings(kept, seen)), seen)


def without_changed_states(
    results: Mapping[Key, Assessed], read: Mapping[Key, Series]
) -> dict[Key, Assessed]:
    """Leave undecided the growth of a class of descriptors over time, if all descriptors together grew by less than
    half as many without clients. Sockets of departed clients pass from one class to another until the service notices
    the departure: without this rule a healthy Go service that noticed it after 30 s was judged leaking."""

    def of(key: Key, one: Assessed) -> Assessed:
        total = read.get(Key(key.metric))
        certain = one.status in ("leaking", "suspected") and one.factor == "time"
        if not key.kind or key.metric != "fds" or not certain or total is None:
            return one
        if _without_clients(total) >= MIN_SHARE_OF_TOTAL * _without_clients(read[key]):
            return one
        why = "grew without clients while all descriptors together did not: they changed their state"
        return replace(one, status="undecided", growing=False, why=why)

    return {key: of(key, one) for key, one in results.items()}


def _without_clients(one: Series) -> float:
    """The growth of a count in the spans without clients."""
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
            # Memory has no levels while allocations are traced, so its series may be shorter.
            if len(led) != len(grown):
                both = series([moment for moment in seen if level_of(moment, key) is not None], leader)
                led = both.increments if both else []
            if (
                leader.judged is not Judged.EXACT
                # A consequence proves no cause.
                or rank(leader) > max(rank(key), FIRST_CONSEQUENCE_RANK - 1)
                or len(led) != len(grown)
                or sum(map(bool, led)) < MIN_GROWTH
            ):
                continue
            share = one.total / lead.total if lead.total > 0 else 0.0
            if key.metric == "mappings" and share < MIN_MAPPINGS_EACH:
                continue
            unexplained = math.fsum(abs(b - share * a) for a, b in zip(led, grown, strict=True))
            if share > 0 and unexplained <= MAX_UNEXPLAINED * one.total:
                rate, low, high = (
                    beside_readings(read[key], lead.factor, FLOOR[key.kind])
                    if key.kind in UNITS_PER_STREAM
                    else None
                ) or interval(grown, read[key].column(lead.factor))
                leaders[key] = leader
                found[key] = replace(
                    one, status="leaking", why=f"rose in proportion to {leader}", factor=lead.factor,
                    rivals=lead.rivals, rate=rate, low=low, high=high, growing=False, cache="",
                )  # fmt: skip
                break
    return found, leaders
