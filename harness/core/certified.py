"""When a pass is certified: nothing grew, over so many connections that a leak would hardly be missed."""

from __future__ import annotations

import math
from collections.abc import Mapping

from harness.core import design
from harness.core.cycle import Phase
from harness.core.design import Goal
from harness.core.judge.assessed import Assessed
from harness.core.judge.bounded_growth import BOUND_MARGIN
from harness.core.judge.caveat import JUDGED_ONLY_IF_CERTAIN
from harness.core.judge.counts import CERTIFIED
from harness.core.judge.runtime_threads import runs_threads
from harness.core.judge.tested_series import MIN_GROWTH
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.stats.distributions import NO_GROWTH, poisson_interval
from harness.core.time_left import any_late_release

MIN_STILL_LOADS = 2  # loads without growth after which growth has ended
EXPECTED_LEAKS_CERTIFIED = 6.5  # expected leaks of the asked size in a certified pass: one miss in 600


def is_certified(trial: Trial, goal: Goal, results: Mapping[Key, Assessed], memory: Assessed | None) -> bool:
    """Whether nothing grew over so many connections that a leak of the asked size would hardly be missed. After half of
    the time the 95 % bound is enough."""
    if memory and memory.status in ("undecided", "suspected"):
        return False
    return counts_certified(trial, goal, results)


def counts_certified(trial: Trial, goal: Goal, results: Mapping[Key, Assessed]) -> bool:
    """Whether no exact count grew, over enough connections."""
    if not any(key.metric in CERTIFIED for key in results):
        return False
    for key, result in results.items():
        if key.metric in JUDGED_ONLY_IF_CERTAIN:
            continue
        if result.growing or (key.metric in CERTIFIED and result.status != "bounded"):
            return False
        if goal.vary and key.metric in CERTIFIED and _paused_in_one_load(trial, key, result):
            return False
    if not goal.vary:
        return True
    # If something is released late, every further load needs another wait, so the weaker bound is enough.
    late = (
        goal.max_seconds is not None and design.spent_seconds(trial) > goal.max_seconds / 2
    ) or any_late_release(results)
    return all(
        # After M connections without growth ``at_most`` is NO_GROWTH / M, so this asks for M of at least
        # EXPECTED_LEAKS_CERTIFIED / sensitivity.
        result.at_most * EXPECTED_LEAKS_CERTIFIED <= NO_GROWTH * trial.sensitivity
        or (late and (result.total <= 0 or runs_threads(trial, key)))
        or (result.release is not None)
        or (late and result.per_burst)
        for key, result in results.items()
        if key.metric in CERTIFIED
    )


def _paused_in_one_load(trial: Trial, key: Key, result: Assessed) -> bool:
    """Whether a count that had grown has been still in one load only. A single load does not show that growth has
    ended, however large it is: where the rate differs from load to load, it may just have been low. In simulation one
    of 60 leaks of 0.1 per stream passed, because its last load, of 9,851 streams, added nothing."""
    if result.total < MIN_GROWTH or result.release or result.per_burst:
        return False
    _, _, largest = poisson_interval(result.total, max(1.0, result.exposure))
    if largest <= BOUND_MARGIN * trial.sensitivity:
        # It passes because all of its growth is slow, whether it has ended or not.
        return False
    seen = [o for o in trial.observations if key in o.levels]
    highest, since = -math.inf, 0
    for observation in seen:
        if observation.levels[key] > highest:
            highest, since = observation.levels[key], 0
        elif observation.spec.phase is Phase.LOAD:
            since += 1
    return since < MIN_STILL_LOADS
