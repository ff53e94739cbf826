"""Waiting without clients: growth that is certain may still be released, until the retention time is over.

Every wait costs time that loads could have used, so these rules decide when one begins, what comes before it, and
whether it is worth another load in between.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise, takewhile

from harness.core import design
from harness.core.cycle import CycleSpec, Observation, Phase
from harness.core.design import Goal, Search, Step, Stop
from harness.core.distinguish import PER_STREAM, distinguish_drivers
from harness.core.judge.assessed import Assessed
from harness.core.judge.caveat import JUDGED_ONLY_IF_CERTAIN
from harness.core.judge.limit import limit_of
from harness.core.judge.moments import answered, moments
from harness.core.judge.one_count import MAX_CACHE_ENTRIES, STEEP
from harness.core.judge.retained import LATE_NOTICE_SECONDS, retention_of
from harness.core.judge.retention import MARGIN, STILL_READINGS
from harness.core.judge.slowing import slower_in_second_half
from harness.core.judge.tested_series import BURST_POOL, MIN_GROWTH
from harness.core.judge.unserved import last_load, recovery, was_given_up, was_retried
from harness.core.metric import EXACT_MEMORY_KINDS, Judged, Key
from harness.core.record import Trial
from harness.core.stats.distributions import poisson_interval
from harness.core.time_left import (
    WAIT_SLACK,
    longest_retention,
    time_for_release,
    time_for_search,
    wait_fits_only_now,
)

# Expected leaks of the asked size in a pass at 95 %: the rule of three, and a few streams for those that fail.
EXPECTED_LEAKS_AT_95 = 3.2
# Answered streams for each unit of uneven growth before a wait begins, and their largest number.
STREAMS_PER_TENANT = 20.0
MAX_STREAMS = 10_000.0
# Answered streams before a wait for growth that slows down, or objects that fell now and then.
MAX_STREAMS_IF_SLOWING = 20_000.0
MAX_IDLE_CORES_FOR_SEARCH = 0.15  # cores that an idle service may use for a search to succeed
REQUEST_EVERY = 10.0  # seconds between two requests to a service that releases only when one comes
MAX_WAIT_LOST = 15.0  # seconds of a wait that slow growth may lose for another load
RELEASE_OVER_FACTOR = 1.25  # times the duration of the last release, after which no further fall is expected
# The last quarter of a wait: if a count fell within it, the wait goes on after the retention time.
RECENT_SHARE = 0.25
MIN_WATCH_SECONDS = 28.0  # seconds after which half of a release within a minute has happened


def confirm_retained(
    trial: Trial, goal: Goal, suspected: Mapping[Key, Assessed], releasing: Mapping[Key, Assessed]
) -> Step:
    """Growth is certain but may still be released. First run everything that needs clients, then leave the service
    alone until its oldest streams are older than the retention time."""
    # A service that reached a limit refuses more clients, so it can only be watched.
    if limit_of(trial):
        if not suspected and was_retried(trial):
            return Stop("it stopped serving")
        longest = longest_retention(trial, goal, {**suspected, **releasing})
        if design.idle_seconds(trial) < longest + 2 * MARGIN + LATE_NOTICE_SECONDS:
            return design.idle_reading(trial, goal)
        if suspected:
            return Stop("it stopped serving")
        return retry_or_stop(trial, goal) or design.short_dwell_cycle(trial, goal, Phase.LOAD)
    if not _wait_begun(trial):
        step = distinguish_drivers(trial, goal, list(suspected.values())) if goal.vary else None
        if step is not None:
            return step
        # The search comes before the large load, because tracing costs more the more the service retains. A service
        # that uses much CPU while idle does not answer its agent in time, so it is searched only for a certain leak.
        calm = design.idle_work(trial) <= MAX_IDLE_CORES_FOR_SEARCH
        if (
            goal.search
            and suspected
            and not trial.searched
            and calm
            and time_for_search(trial, goal, suspected)
        ):
            return Search()
        step = (
            design.certifying_load(trial, goal, _streams_before_wait(trial, suspected, releasing))
            if goal.vary
            else None
        )
        if goal.vary and not suspected and _loads_exceed_pool(trial, goal, releasing):
            step = design.certifying_load(trial, goal, math.inf)
        if step is None and goal.vary and _swept_away(trial, {**suspected, **releasing}):
            step = design.short_dwell_cycle(trial, goal, Phase.LOAD)
        # If the service refuses most streams, several loads are needed, and the wait must still fit after the last.
        if step and not wait_fits_only_now(trial, goal, step, {**suspected, **releasing}):
            return step
        return design.idle_reading(trial, goal)
    retention = max(retention_of(trial, key) for key in (*suspected, *releasing))
    idle = design.idle_seconds(trial)
    over = [one.release.over and one.idle_evidence.drained[-1] == len(moments(trial)) - 1 for one in releasing.values()
            if one.idle_evidence and one.release]  # fmt: skip
    longest = retention + 2 * MARGIN + (LATE_NOTICE_SECONDS if suspected else 0.0)
    # The remainder after a release could be a pool. If it is a leak, another load leaves as much again.
    again = (
        goal.vary and not suspected and idle < longest and _remainder_is_stable(trial, goal, releasing, idle)
    )
    if again and (step := design.certifying_load(trial, goal, math.inf)):
        return step
    releases = [one.release for one in releasing.values() if one.release]
    expiring = any(one.by_request for one in releases) and not all(over)
    if expiring or (idle < longest and (suspected or not all(over))):
        # Requests just before the retention time leave it open whether later ones release the last streams of the loads
        # or their own.
        soon = retention - REQUEST_EVERY < idle < retention + MARGIN
        if expiring and not soon and _unasked_seconds(trial) >= REQUEST_EVERY:
            more = design.further_requests(trial, goal) if idle >= retention + MARGIN else None
            return more or design.requests_during_wait(trial, goal)
        return design.idle_reading(trial, goal)
    if not suspected and idle >= longest and (request := request_after_wait(trial, goal, releasing)):
        return request
    # Another load shows whether what is left grows again.
    if not suspected and goal.vary and time_for_release(trial, goal, releasing):
        return design.certifying_load(trial, goal, math.inf) or Stop(
            "the service's ceilings leave no room for more"
        )
    if idle < longest and not all(one.status == "bounded" for one in releasing.values()):
        # The remainder may still be released.
        return design.idle_reading(trial, goal)
    if not suspected and _still_falling(trial, releasing, idle):
        # A pool that halves its idle part again and again is empty after the retention time.
        return design.idle_reading(trial, goal)
    return Stop(f"growth was watched for {idle:.0f} s after the last client, and remains undecided")


def request_after_wait(trial: Trial, goal: Goal, results: Mapping[Key, Assessed]) -> CycleSpec | None:
    """A few requests at the end of a wait: what expires without a timer is released only when the next request comes.
    Where they released nothing, more follow. None if they have come, or nothing that grows follows the clients."""
    lasting = any(one.factor != "time" for one in results.values())
    if not goal.vary or goal.retention <= 0 or limit_of(trial) or not lasting or not _wait_begun(trial):
        return None
    if not trial.observations[-1].ledger.opened:
        return design.requests_during_wait(trial, goal)
    # What many requests leave behind themselves is known only where a unit is what a stream opened. In the CPU time of
    # an idle service the end of such growth looked like a release once, and one object per 100 streams stayed open.
    counts = any(key.judged is Judged.EXACT and key.metric != "memory" for key in results)
    released = any(one.release for one in results.values())
    fell = any(_fell(trial, key) for key in results)
    if not counts or released or fell or len(_requests_at_last(trial)) > 1:
        return None
    return design.further_requests(trial, goal)


def _requests_at_last(trial: Trial) -> list[Observation]:
    """The requests that the last cycles sent, one after the other."""
    return list(takewhile(lambda seen: seen.ledger.opened > 0, reversed(trial.observations)))


def _unasked_seconds(trial: Trial) -> float:
    """Seconds since any client disconnected."""
    left = max((o.load_ended or o.ended for o in trial.observations if o.ledger.opened), default=0.0)
    return trial.observations[-1].ended - left


def _streams_before_wait(
    trial: Trial, suspected: Mapping[Key, Assessed], releasing: Mapping[Key, Assessed]
) -> float:
    """Answered streams after which a wait begins: enough for the 95 % bound. Growth that differs from cycle to cycle
    and never fell could also be state for each of many tenants, and then falls as more streams come. Objects that fell
    now and then could be the buffers of a JVM, which fill over thousands of streams. Objects that remain after a
    release could be in a cache until more streams were served than it has entries."""
    wanted = EXPECTED_LEAKS_AT_95 / trial.sensitivity
    if any(key.kind in EXACT_MEMORY_KINDS for key in releasing):
        wanted = max(wanted, MAX_CACHE_ENTRIES)
    uneven = {key: one for key, one in suspected.items() if not one.constant}
    tenants = {k: one for k, one in uneven.items() if one.factor in PER_STREAM and not _fell(trial, k)}
    moving = any(key.kind in EXACT_MEMORY_KINDS and _fell(trial, key) for key in uneven)
    if moving or any(_slower_in_second_half(trial, key) for key in tenants):
        return max(wanted, MAX_STREAMS_IF_SLOWING)
    most = STREAMS_PER_TENANT * max((one.total for one in tenants.values()), default=0.0)
    return max(wanted, min(MAX_STREAMS, most))


def _slower_in_second_half(trial: Trial, key: Key) -> bool:
    """Whether a count grew by less in the second half of the streams than in the first, by more than chance. State for
    3,500 tenants that connect by Zipf's law grew by 0.34 per stream at first, and by 0.12 after 10,000 streams."""
    streams, levels = list[float](), list[float]()
    for seen in trial.observations:
        if key not in seen.levels:
            continue
        if seen.spec.phase is Phase.WARMUP:
            streams, levels = [], []
        streams.append((streams[-1] if streams else 0.0) + answered(seen.ledger))
        levels.append(seen.levels[key])
    return len(levels) > 1 and slower_in_second_half(levels, streams)


def _fell(trial: Trial, key: Key) -> bool:
    """Whether a count was ever lower than before by more than jitter."""
    levels = [o.levels[key] for o in trial.observations if key in o.levels]
    return any(after < before - MIN_GROWTH for before, after in pairwise(levels))


def _still_falling(trial: Trial, releasing: Mapping[Key, Assessed], idle: float) -> bool:
    """Whether an undecided count fell within the last quarter of the wait."""
    recent = [o for o in trial.observations if o.ended >= trial.observations[-1].ended - RECENT_SHARE * idle]
    return any(
        recent[-1].levels.get(key, 0.0) < recent[0].levels.get(key, 0.0)
        for key, one in releasing.items()
        if one.status != "bounded"
    )


def retry_or_stop(trial: Trial, goal: Goal) -> Step | None:
    """What to do about a service that stopped serving during the last load: leave it alone for a while, and load it
    once more. None where it served that load, or has never answered anything: then it is slow, or not ready."""
    last = last_load(trial)
    if last is None or not was_given_up(last) or not any(answered(o.ledger) for o in trial.observations):
        return None
    if was_retried(trial):
        return Stop("it stopped serving")
    return (
        design.idle_reading(trial, goal)
        if design.idle_seconds(trial) < recovery(last)
        else design.short_dwell_cycle(trial, goal, Phase.LOAD)
    )


def _remainder_is_stable(trial: Trial, goal: Goal, releasing: Mapping[Key, Assessed], idle: float) -> bool:
    """Whether a second load should test the remainder of a release: it is small enough for a pool and no longer falls,
    and a load with a whole wait after it fits into the remaining time. True at most once a run."""
    waits = [index for index, o in enumerate(trial.observations) if o.spec.phase is Phase.RETENTION]
    loaded = any(map(design.is_load, trial.observations[waits[0] :])) if waits else False
    after = max((one.release.after for one in releasing.values() if one.release), default=0.0)
    if loaded or len(waits) < STILL_READINGS or not after or idle < RELEASE_OVER_FACTOR * after:
        return False
    last = trial.observations[-STILL_READINGS:]
    if any(o.levels.get(key) != last[0].levels.get(key) for o in last for key in releasing):
        return False
    remainders = [last[0].levels.get(key, 0.0) - trial.initial.get(key, 0.0) for key in releasing]
    if not any(MIN_GROWTH <= remainder <= BURST_POOL for remainder in remainders):
        # Nothing remains, or more than a pool holds.
        return False
    if goal.max_seconds is None:
        return True
    left = (
        goal.max_seconds
        - design.spent_seconds(trial)
        - longest_retention(trial, goal, releasing)
        - WAIT_SLACK
    )
    return left > design.expected_seconds(trial.observations, design.large_load(trial, goal, "fin"))


def _loads_exceed_pool(trial: Trial, goal: Goal, releasing: Mapping[Key, Assessed]) -> bool:
    """Whether what was left after a release, if it is a leak, will probably exceed any pool after as many loads as
    still fit in before a whole wait, and not surely without them: a wait for what a pool could hold decides nothing."""
    seen = trial.observations
    last = max((index for index, o in enumerate(seen) if o.spec.phase is Phase.RETENTION), default=0)
    if not last or goal.max_seconds is None:
        return False
    then = math.fsum(answered(o.ledger) for o in seen[:last])
    now = math.fsum(answered(o.ledger) for o in seen)
    step = design.large_load(trial, goal, "fin")
    left = (
        goal.max_seconds
        - design.spent_seconds(trial)
        - longest_retention(trial, goal, releasing)
        - WAIT_SLACK
    )
    loads = left // max(1.0, design.expected_seconds(seen, step))
    for key in releasing:
        rest = seen[last].levels.get(key, 0.0) - trial.initial.get(key, 0.0)
        _, least, _ = poisson_interval(max(0.0, rest), then)
        if rest < MIN_GROWTH or least * now > BURST_POOL:
            continue
        if rest / then * (now + loads * step.connections) > BURST_POOL:
            return True
    return False


def _swept_away(trial: Trial, growing: Mapping[Key, Assessed]) -> bool:
    """Whether every growing count is lower after the last load than before it: a sweep released it near the end of that
    load. A wait that begins now would see no release, and so would not distinguish a sweep at fixed times from a
    cleanup after a number of requests."""
    seen = trial.observations
    last = max((index for index, o in enumerate(seen) if design.is_load(o)), default=0)
    if not last:
        return False
    return all(seen[last].levels.get(key, 0.0) < seen[last - 1].levels.get(key, 0.0) for key in growing)


def must_continue_wait(trial: Trial, goal: Goal, results: Mapping[Key, Assessed]) -> bool:
    """Whether a wait that has begun must continue because something grows. Noise may hide the growth in one reading,
    and a load would restart the wait."""
    if not _wait_begun(trial):
        return False
    idle = design.idle_seconds(trial)
    growing = {
        key: one for key, one in results.items() if one.growing and key.metric not in JUDGED_ONLY_IF_CERTAIN
    }
    if _may_load_again(trial, goal, growing):
        return False
    return bool(growing) and idle < longest_retention(trial, goal, growing) + 2 * MARGIN


def _may_load_again(trial: Trial, goal: Goal, growing: Mapping[Key, Assessed]) -> bool:
    """Whether slow growth that is no longer certain gets another load. One reading of a noisy count during the wait may
    have lowered the evidence below its threshold, and waiting adds no evidence. Enough time to wait must remain."""
    slow = all(
        not one.cache and not one.per_burst and one.total < STEEP * one.exposure and one.factor != "time"
        for one in growing.values()
    )
    if not growing or not slow or not goal.vary or goal.max_seconds is None:
        return False
    idle = design.idle_seconds(trial)
    load = design.expected_seconds(trial.observations, design.large_load(trial, goal, "fin"))
    left = goal.max_seconds - design.spent_seconds(trial) - load
    whole_wait = max((retention_of(trial, key) for key in growing), default=goal.retention) + WAIT_SLACK
    return left >= whole_wait or (idle < MAX_WAIT_LOST and left >= MIN_WATCH_SECONDS + MAX_WAIT_LOST)


def _wait_begun(trial: Trial) -> bool:
    """Whether a wait continues: no client connected since; the control without clients may be a part of the wait."""
    for one in reversed(trial.observations):
        if one.spec.phase is Phase.RETENTION:
            return True
        if one.ledger.opened or one.spec.phase is not Phase.IDLE:
            return False
    return False


def must_wait_now(trial: Trial, goal: Goal, results: Mapping[Key, Assessed]) -> bool:
    """Whether slow growth is not certain yet, and another load would leave too little time to see that it is
    retained."""
    growing = [
        one for key, one in results.items() if one.growing and key.metric not in JUDGED_ONLY_IF_CERTAIN
    ]
    if not growing or not goal.vary or goal.max_seconds is None or goal.retention <= 0:
        return False
    if any(one.cache or one.per_burst or one.total >= STEEP * one.exposure for one in growing):
        return False
    if all(one.few for one in growing):
        # No wait makes it certain, and more clients may show that it has stopped.
        return False
    left = goal.max_seconds - design.spent_seconds(trial) - design.longest_cycle_seconds(trial.observations)
    return (
        left
        < min(goal.retention, MIN_WATCH_SECONDS)
        <= left + design.longest_cycle_seconds(trial.observations)
    )
