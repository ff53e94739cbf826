"""Whether the time that is left is enough: for another load, for a whole wait, for the next release, for a search.

``harness.core.waiting`` decides from this when to wait, and ``harness.core.plan`` when to load again.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.core import design
from harness.core.cycle import CycleSpec
from harness.core.design import Goal
from harness.core.judge.assessed import Assessed
from harness.core.judge.caveat import JUDGED_ONLY_IF_CERTAIN
from harness.core.judge.retained import retention_of
from harness.core.judge.retention import NEXT_RELEASE_FACTOR
from harness.core.metric import Key
from harness.core.record import Trial

MAX_SEARCH = 20.0  # seconds of a search for the place in the source
WAIT_SLACK = 8.0  # seconds that a wait may take longer than the retention time


def any_late_release(results: Mapping[Key, Assessed]) -> bool:
    """Whether something is released late: after another load the plan has to wait again."""
    return any(one.release for one in results.values())


def sweep_unknown(results: Mapping[Key, Assessed]) -> bool:
    """Whether a sweep was seen whose interval is not known yet."""
    return any(
        one.idle_evidence and one.release and one.release.at_once and one.release.every is None
        for one in results.values()
    )


def time_for_load(trial: Trial, goal: Goal, results: Mapping[Key, Assessed]) -> bool:
    """Whether what another load leaves behind could still be released. What is released within the length of a load
    does not accumulate, so it needs no more than that. Neither does what was seen to be released completely: a Go
    service that wrote every 5 s released everything within 10 s, and its run ended after 53 of 120 s. Everything else
    needs a whole wait, because memory would still be held for it."""
    late = {
        key: one for key, one in results.items() if one.release and key.metric not in JUDGED_ONLY_IF_CERTAIN
    }
    if all(map(_released_soon, late.values())):
        return time_for_release(trial, goal, late)
    return time_for_wait(trial, goal, late)


def _released_soon(one: Assessed) -> bool:
    """Whether it is known how long a release takes, or it took no longer than a load."""
    assert one.release
    return one.release.over or one.status == "bounded" or one.release.after <= design.MAX_LOAD


def time_for_wait(trial: Trial, goal: Goal, results: Mapping[Key, Assessed]) -> bool:
    """Whether a whole wait fits into the remaining time."""
    if goal.max_seconds is None:
        return True
    return (
        goal.max_seconds - design.spent_seconds(trial) > longest_retention(trial, goal, results) + WAIT_SLACK
    )


def wait_fits_only_now(trial: Trial, goal: Goal, step: CycleSpec, results: Mapping[Key, Assessed]) -> bool:
    """Whether the wait fits into the remaining time now, but would not after one more load."""
    if goal.max_seconds is None:
        return False
    left = (
        goal.max_seconds - design.spent_seconds(trial) - longest_retention(trial, goal, results) - WAIT_SLACK
    )
    return 0 < left <= design.expected_seconds(trial.observations, step)


def time_for_release(trial: Trial, goal: Goal, releasing: Mapping[Key, Assessed]) -> bool:
    """Whether a release after another load would fit into the remaining time, judging by the releases so far. True
    where nothing is released late."""
    late = [one.release.after for one in releasing.values() if one.release]
    if goal.max_seconds is None or not late:
        return True
    wait = (
        min(longest_retention(trial, goal, releasing), NEXT_RELEASE_FACTOR * max(late))
        + design.MAX_LOAD
        + WAIT_SLACK
    )
    return goal.max_seconds - design.spent_seconds(trial) > wait


def time_for_search(trial: Trial, goal: Goal, suspected: Mapping[Key, Assessed]) -> bool:
    """Whether the search for the place, and the wait that follows it, fit into the remaining time."""
    if goal.max_seconds is None:
        return True
    return (
        goal.max_seconds - design.spent_seconds(trial)
        > MAX_SEARCH + longest_retention(trial, goal, suspected) + WAIT_SLACK
    )


def longest_retention(trial: Trial, goal: Goal, results: Mapping[Key, Assessed]) -> float:
    """The longest retention time of the metrics that grow; each may have its own."""
    times = [retention_of(trial, key) for key, one in results.items() if one.growing or one.idle_evidence]
    return max(times, default=goal.retention)
