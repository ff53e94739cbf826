"""Whether the time that is left after a certain leak goes to what also grows over time.

A run would end with the first certain leak. A service may have a second cause: a run of a service with two pipes per
connection and an eventfd a second ended after 79 of 120 s, and no finding had the eventfds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile

from harness.core import design
from harness.core.cycle import CycleSpec, Phase
from harness.core.design import Goal
from harness.core.judge.assessed import Assessed
from harness.core.judge.idle_growth import idle_growth
from harness.core.judge.moment import Moment
from harness.core.metric import Key
from harness.core.record import Trial


def reading_for_second_cause(
    trial: Trial, goal: Goal, results: Mapping[Key, Assessed], found: Sequence[Moment]
) -> CycleSpec | None:
    """A reading without clients while another count grows over time, beside a leak that is certain. None once that is
    certain as well, or if nothing else grows or no time is left."""
    # A count that leaks with the streams has its finding already.
    others = [key for key in idle_growth(results, found) if results[key].status != "leaking"]
    if not goal.vary or goal.max_seconds is None or not others:
        return None
    step = design.idle_reading(trial, goal)
    left = goal.max_seconds - design.spent_seconds(trial)
    return step if design.expected_seconds(trial.observations, step) <= left else None


def was_asked(trial: Trial) -> bool:
    """Whether this wait has had its requests already, and readings without clients since."""
    wait = list(takewhile(lambda seen: seen.spec.phase is Phase.RETENTION, reversed(trial.observations)))
    return any(seen.ledger.opened for seen in wait) and not wait[0].ledger.opened
